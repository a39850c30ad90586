"""Echoes WebSocket messages as they come; "close CODE REASON" and "ping TEXT" are done, "fragments" is answered in three."""
import os, signal

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def echo(socket):
    try:
        for message in socket:
            verb, _, rest = message.partition(" ") if isinstance(message, str) else ("", "", "")
            if verb == "close":
                code, _, reason = rest.partition(" ")
                return socket.close(int(code), reason)
            if verb == "ping":
                socket.send("pong" if socket.ping(rest).wait(10) else "no pong")
            elif verb == "fragments":
                socket.send(iter(["one ", "two ", "three"]))
            else:
                socket.send(message)
    except ConnectionClosed:
        pass


server = serve(echo, "0.0.0.0", int(os.environ["PORT"]), max_size=None, subprotocols=["chat.v2", "chat.v1"])
signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
server.serve_forever()
