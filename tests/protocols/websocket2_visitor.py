"""WebSockets over HTTP/2 (RFC 8441), several in one connection: HTTPS-PORT ROOT HOST."""
import os, socket, ssl, sys

import h2.config, h2.connection, h2.events, h2.settings
import wsproto, wsproto.events as ws

port, root, host = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
context.set_alpn_protocols(["h2"])
wire = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 20), server_hostname=host)
assert wire.selected_alpn_protocol() == "h2"
http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
http.initiate_connection()
http.increment_flow_control_window(1 << 24)
streams, status, ended = {}, {}, set()


def turn():
    """Sends what waits, reads once."""
    wire.sendall(http.data_to_send())
    for event in http.receive_data(wire.recv(65536)):
        if isinstance(event, h2.events.ResponseReceived):
            status[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.data:
                streams[event.stream_id].receive_data(event.data)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            ended.add(event.stream_id)
    wire.sendall(http.data_to_send())


def opened():
    stream = http.get_next_available_stream_id()
    http.send_headers(stream, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/echo"),
                               (":authority", f"{host}:{port}"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat.v1")])
    streams[stream] = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
    while stream not in status:
        turn()
    assert status[stream][":status"] == "200" and status[stream]["sec-websocket-protocol"] == "chat.v1", status[stream]
    return stream


def say(stream, event):
    data = streams[stream].send(event)
    while data:
        room = min(http.local_flow_control_window(stream), http.max_outbound_frame_size, len(data))
        if room == 0:
            turn()
            continue
        http.send_data(stream, data[:room])
        data = data[room:]
    wire.sendall(http.data_to_send())


def hear(stream):
    """One message, whole."""
    parts = []
    while True:
        for event in streams[stream].events():
            if isinstance(event, ws.Ping):
                say(stream, event.response())
            elif isinstance(event, (ws.TextMessage, ws.BytesMessage)):
                parts.append(event.data)
                if event.message_finished:
                    return parts[0][:0].join(parts)
            else:
                return event
        turn()


while not http.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL):
    turn()
three = [opened() for _ in range(3)]
for n, stream in enumerate(three):
    say(stream, ws.Message(f"socket {n}"))
for n, stream in reversed(list(enumerate(three))):
    assert hear(stream) == f"socket {n}"
for size in [0, 125, 126, 65_535, 65_536, 1 << 20]:
    data = os.urandom(size)
    say(three[0], ws.BytesMessage(data))
    assert hear(three[0]) == data, f"{size} bytes"
say(three[1], ws.Message("ping abc"))
assert hear(three[1]) == "pong"
for stream, code in [(three[0], 4001), (three[1], 1000)]:
    say(stream, ws.Message(f"close {code} because"))
    closed = hear(stream)
    assert isinstance(closed, ws.CloseConnection) and (closed.code, closed.reason) == (code, "because"), closed
    say(stream, closed.response())
    while stream not in ended:
        turn()
say(three[2], ws.CloseConnection(code=1001, reason="ours"))
assert hear(three[2]).code == 1001
print("done")
