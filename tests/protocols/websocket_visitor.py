"""A WebSocket client's checks, plain and over TLS: HTTP-PORT HTTPS-PORT ROOT HOST."""
import os, socket, ssl, sys, threading

from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.client import connect

http, https, root, host = sys.argv[1:]
context = ssl.create_default_context(cafile=root)


def opened(secure, subprotocols=("chat.v1", "other"), **more):
    port, tls = (https, {"ssl": context, "server_hostname": host}) if secure else (http, {})
    scheme = "wss" if secure else "ws"
    wire = socket.create_connection(("127.0.0.1", int(port)), 20)
    return connect(f"{scheme}://{host}:{port}/echo", sock=wire, subprotocols=subprotocols, max_size=None, proxy=None, **tls, **more)


for secure in [False, True]:
    for compression in [None, "deflate"]:
        with opened(secure, compression=compression) as line:
            assert line.subprotocol == "chat.v1", line.subprotocol
            assert bool(line.protocol.extensions) == bool(compression), "permessage-deflate is the app's to agree on"
            # Every form of length (RFC 6455 5.2), text and binary.
            for size in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20]:
                for message in ["x" * size, os.urandom(size)]:
                    line.send(message)
                    assert line.recv(20) == message, f"{size} bytes"
            line.send("Grüße 🙂")
            assert line.recv(20) == "Grüße 🙂"
    with opened(secure) as line:
        large = os.urandom(24 << 20)
        threading.Thread(target=line.send, args=(large,)).start()
        assert line.recv(60) == large, "24 MiB in one message"
        line.send(iter(["a", "b", "c" * 70_000]))
        assert line.recv(20) == "ab" + "c" * 70_000, "fragments of ours"
        line.send("fragments")
        assert [part for part in line.recv_streaming() if part] == ["one ", "two ", "three"], "fragments of theirs stay fragments"
        assert line.ping(b"x" * 125).wait(20), "our ping"
        line.send("ping abc")
        assert line.recv(20) == "pong", "their ping"
        for n in range(500):
            line.send(str(n))
        assert [line.recv(20) for _ in range(500)] == [str(n) for n in range(500)], "in order"
    for code in [1000, 1001, 1003, 1008, 1011, 1012, 3000, 3999, 4000, 4999]:
        with opened(secure) as line:
            line.send(f"close {code} because {code}")
            try:
                line.recv(20)
                raise AssertionError("it stayed open")
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, f"because {code}"), closed
        with opened(secure) as line:
            line.close(code, "ours")
            assert (line.close_code, line.close_reason) == (code, "ours"), (line.close_code, code)
    # A client that breaks the protocol is told so by the app (1002, 1007), and the router carries that back.
    for sent, code in [(b"\x83\x80\0\0\0\0", 1002), (b"\x81\x82\0\0\0\0\xff\xff", 1007), (b"\xc1\x80\0\0\0\0", 1002), (b"\x09\x80\0\0\0\0", 1002)]:
        with opened(secure, compression=None) as line:
            line.socket.sendall(sent)
            try:
                line.recv(20)
                raise AssertionError("it stayed open")
            except ConnectionClosed as closed:
                assert closed.rcvd and closed.rcvd.code == code, (sent, closed)
print("done")
