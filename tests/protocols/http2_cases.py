"""Frames that HTTP/2 forbids, one by one, and floods: HTTPS-PORT ROOT HOST. After each the server serves others as before.

The sections are RFC 9113's. What is allowed as an answer is what the RFC says, or the end of the connection, which it always
allows; a request that is malformed may also be answered 400. Not among them: a preface without settings (3.4), which the library
that we use forgives.
"""
import socket, ssl, struct, sys, time

from hpack import Decoder, Encoder

port, root, host = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
context.set_alpn_protocols(["h2"])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 5, 6, 7, 9, 11
END_STREAM, END_HEADERS, PADDED, PRIORITISED, ACK = 1, 4, 8, 32, 1


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(*more, method="GET", without=(), first=()):
    """A header block; each with a coder of its own, for connections that send one."""
    pairs = [(":method", method), (":scheme", "https"), (":path", "/case"), (":authority", f"{host}:{port}")]
    return Encoder().encode(list(first) + [pair for pair in pairs if pair[0] not in without] + list(more), huffman=False)


def get(stream=1, flags=END_STREAM | END_HEADERS, block=None):
    return frame(HEADERS, flags, stream, request() if block is None else block)


def long(block, stream=1):
    """In as many frames as it takes."""
    parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
    rest = [frame(CONTINUATION, END_HEADERS * (part is parts[-1]), stream, part) for part in parts[1:]]
    return frame(HEADERS, END_STREAM | END_HEADERS * (len(parts) == 1), stream, parts[0]) + b"".join(rest)


class Line:
    def __init__(self, preface=PREFACE + frame(SETTINGS)):
        self.wire = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 20), server_hostname=host)
        assert self.wire.selected_alpn_protocol() == "h2"
        self.buffer, self.ended = b"", False
        self.send(preface)

    def send(self, sent):
        try:
            self.wire.sendall(sent)
        except OSError:
            self.ended = True

    def frames(self, seconds):
        """What comes within a time, or until the end."""
        end = time.time() + seconds
        while not self.ended and time.time() < end:
            while len(self.buffer) >= 9 and len(self.buffer) >= 9 + (length := int.from_bytes(self.buffer[:3], "big")):
                kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
                payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
                yield kind, flags, stream, payload
            self.wire.settimeout(max(0.05, end - time.time()))
            try:
                part = self.wire.recv(65536)
                self.ended = not part
                self.buffer += part
            except TimeoutError:
                return
            except OSError:
                self.ended = True


def status(payload):
    """Of the first block of a connection."""
    return dict(Decoder().decode(payload)).get(":status")


def outcome(sent, wanted, seconds=5, preface=PREFACE + frame(SETTINGS)):
    """What became of it: ("goaway", code), ("reset", code), ("status", text), "end" or "nothing"."""
    line, seen = Line(preface), []
    line.send(sent)
    for kind, flags, stream, payload in line.frames(seconds):
        if kind == GOAWAY:
            seen.append(("goaway", int.from_bytes(payload[4:8], "big")))
        elif kind == RST:
            seen.append(("reset", int.from_bytes(payload[:4], "big")))
        elif kind == HEADERS:
            seen.append(("status", str(status(payload))))
        if any(one in wanted for one in seen):
            break
    if line.ended:
        seen.append("end")
    line.wire.close()
    return seen or ["nothing"]


def connection_error(*codes):
    return [("goaway", code) for code in codes] + ["end"]


def stream_error(*codes):
    return [("reset", code) for code in codes] + connection_error(*codes)


malformed = stream_error(PROTOCOL) + [("status", "400"), ("status", "431")]
padded = END_HEADERS | END_STREAM | PADDED
CASES = [
    ("3.4 no preface", b"", connection_error(PROTOCOL), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 24),
    ("4.2 a frame longer than allowed", get(flags=END_HEADERS) + frame(DATA, END_STREAM, 1, bytes(16385)), stream_error(SIZE)),
    ("4.2 a header block longer than allowed", frame(HEADERS, END_HEADERS, 1, bytes(16385)), connection_error(SIZE)),
    ("4.3 a block that is none", get(block=b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), connection_error(COMPRESSION)),
    ("4.3 an index beyond the table", get(block=b"\xfe"), connection_error(COMPRESSION)),
    ("5.1 DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), connection_error(PROTOCOL)),
    ("5.1 RST_STREAM on an idle stream", frame(RST, 0, 1, bytes(4)), connection_error(PROTOCOL)),
    ("5.1 WINDOW_UPDATE on an idle stream", frame(WINDOW, 0, 1, b"\0\0\0\1"), connection_error(PROTOCOL)),
    ("5.1 CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, request()), connection_error(PROTOCOL)),
    ("5.1 DATA after the end", get() + frame(DATA, END_STREAM, 1, b"x"), stream_error(CLOSED, PROTOCOL)),
    ("5.1 HEADERS after the end", get() + get(), stream_error(CLOSED, PROTOCOL)),
    ("5.1 CONTINUATION after the end", get() + frame(CONTINUATION, END_HEADERS, 1, request()), connection_error(CLOSED, PROTOCOL)),
    ("5.1.1 an even stream", get(stream=2), connection_error(PROTOCOL)),
    ("5.1.1 a stream below the last", get(stream=5) + get(stream=3), connection_error(PROTOCOL, CLOSED) + stream_error(CLOSED)),
    ("6.1 DATA on stream 0", frame(DATA, END_STREAM, 0, b"x"), connection_error(PROTOCOL)),
    ("6.1 more padding than DATA", get(flags=END_HEADERS) + frame(DATA, END_STREAM | PADDED, 1, b"\x06abc"), connection_error(PROTOCOL)),
    ("6.2 HEADERS on stream 0", get(stream=0), connection_error(PROTOCOL)),
    ("6.2 more padding than HEADERS", frame(HEADERS, padded, 1, b"\xff" + request()), connection_error(PROTOCOL)),
    ("6.2 PRIORITY within a block", get(flags=END_STREAM) + frame(PRIORITY, 0, 1, bytes(5)), connection_error(PROTOCOL)),
    ("6.2 HEADERS of another within a block", get(flags=END_STREAM) + get(stream=3), connection_error(PROTOCOL)),
    ("6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\1\0"), connection_error(PROTOCOL)),
    ("6.3 PRIORITY of another length", get(flags=END_HEADERS) + frame(PRIORITY, 0, 1, bytes(4)), stream_error(SIZE)),
    ("6.4 RST_STREAM on stream 0", frame(RST, 0, 0, bytes(4)), connection_error(PROTOCOL)),
    ("6.4 RST_STREAM of another length", get(flags=END_HEADERS) + frame(RST, 0, 1, bytes(3)), connection_error(SIZE)),
    ("6.5 SETTINGS that acknowledge and set", frame(SETTINGS, ACK, 0, bytes(6)), connection_error(SIZE)),
    ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), connection_error(PROTOCOL)),
    ("6.5 SETTINGS of another length", frame(SETTINGS, 0, 0, bytes(5)), connection_error(SIZE)),
    ("6.5.2 ENABLE_PUSH neither 0 nor 1", frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), connection_error(PROTOCOL)),
    ("6.5.2 too large a window", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), connection_error(FLOW)),
    ("6.5.2 too small a frame", frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 16383)), connection_error(PROTOCOL)),
    ("6.5.2 too large a frame", frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1 << 24)), connection_error(PROTOCOL)),
    ("6.6 PUSH_PROMISE of a client", get(flags=END_HEADERS) + frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + request()), connection_error(PROTOCOL)),
    ("6.7 PING on a stream", frame(PING, 0, 1, bytes(8)), connection_error(PROTOCOL)),
    ("6.7 PING of another length", frame(PING, 0, 0, bytes(6)), connection_error(SIZE)),
    ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), connection_error(PROTOCOL)),
    ("6.9 WINDOW_UPDATE by 0", frame(WINDOW, 0, 0, bytes(4)), connection_error(PROTOCOL)),
    ("6.9 WINDOW_UPDATE by 0 of a stream", get(flags=END_HEADERS) + frame(WINDOW, 0, 1, bytes(4)), stream_error(PROTOCOL)),
    ("6.9 WINDOW_UPDATE of another length", frame(WINDOW, 0, 0, bytes(3)), connection_error(SIZE)),
    ("6.9.1 a window beyond its bound", frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2, connection_error(FLOW)),
    ("6.9.1 a stream's beyond its bound", get(flags=END_HEADERS) + frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff") * 2, stream_error(FLOW)),
    ("6.10 CONTINUATION of another stream", get(flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 3, request()), connection_error(PROTOCOL)),
    ("6.10 DATA within a block", get(flags=0) + frame(DATA, END_STREAM, 1, b"x"), connection_error(PROTOCOL)),
    ("8.1 a second block that does not end", get(flags=END_HEADERS) + frame(HEADERS, END_HEADERS, 1, Encoder().encode([("a", "b")])), malformed),
    ("8.1.1 less than announced", get(flags=END_HEADERS, block=request(("content-length", "9"), method="POST")) + frame(DATA, END_STREAM, 1, b"x"), malformed),
    ("8.1.1 more than announced", get(flags=END_HEADERS, block=request(("content-length", "1"), method="POST")) + frame(DATA, END_STREAM, 1, b"xyz"), malformed),
    ("8.2.1 a capital letter", get(block=request(("X-Test", "1"))), malformed),
    ("8.2.1 a line end in a value", get(block=request(("x-test", "a\r\nx-smuggled: 1"))), malformed),
    ("8.2.1 a NUL in a value", get(block=request(("x-test", "a\0b"))), malformed),
    ("8.2.1 a blank in a name", get(block=request(("x test", "a"))), malformed),
    ("8.2.1 a colon in a name", get(block=request(("x:test", "a"))), malformed),
    ("8.2.2 Connection", get(block=request(("connection", "keep-alive"))), malformed),
    ("8.2.2 Transfer-Encoding", get(flags=END_HEADERS, block=request(("transfer-encoding", "chunked"), method="POST")) + frame(DATA, END_STREAM, 1, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), malformed),
    ("8.2.2 Upgrade", get(block=request(("upgrade", "websocket"))), malformed),
    ("8.2.2 TE that is not trailers", get(block=request(("te", "gzip"))), malformed),
    ("8.3 an unknown pseudo header", get(block=request((":test", "1"))), malformed),
    ("8.3 an answer's pseudo header", get(block=request((":status", "200"))), malformed),
    ("8.3 a pseudo header behind others", get(block=request((":method", "GET"), first=[("a", "b")], without=[":method"])), malformed),
    ("8.3.1 no method", get(block=request(without=[":method"])), malformed),
    ("8.3.1 no scheme", get(block=request(without=[":scheme"])), malformed),
    ("8.3.1 no path", get(block=request(without=[":path"])), malformed),
    ("8.3.1 an empty path", get(block=request(("a", "b"), first=[(":path", "")], without=[":path"])), malformed),
    ("8.3.1 two methods", get(block=request(first=[(":method", "GET")])), malformed),
    ("8.3.1 two paths", get(block=request(first=[(":path", "/")])), malformed),
    ("8.3.1 a line end in the path", get(block=request(first=[(":path", "/ HTTP/1.1\r\nHost: a\r\n\r\n")], without=[":path"])), malformed),
    ("8.3.1 a blank in the method", get(block=request(method="GET /smuggled")), malformed),
    ("8.3.1 two lengths", get(flags=END_HEADERS, block=request(("content-length", "1"), ("content-length", "2"), method="POST")) + frame(DATA, END_STREAM, 1, b"x"), malformed),
    ("10.5.1 a long list of headers", long(request(*((f"x-{n}", "y" * 1000) for n in range(40)))), [("status", "200")]),
    ("10.5.1 too long a list of headers", long(request(*((f"x-{n}", "y" * 1000) for n in range(90)))), stream_error(PROTOCOL, CALM) + [("status", "431")]),
]
FLOODS = {
    "10.5 CONTINUATION without end": get(flags=END_STREAM) + frame(CONTINUATION, 0, 1, b"\0\1a\x7f\x81\x07" + b"x" * 262) * 20_000,
    "10.5 streams that are reset at once": b"".join(get(stream=n) + frame(RST, 0, n, b"\0\0\0\x08") for n in range(1, 20_001, 2)),
    "10.5 pings": frame(PING, 0, 0, bytes(8)) * 50_000,
    "10.5 settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 50_000,
    "10.5 empty DATA": get(flags=END_HEADERS, block=request(method="POST")) + frame(DATA, 0, 1) * 50_000,
    "10.5 the whole window and no end": get(flags=END_HEADERS, block=request(method="POST")) + frame(DATA, 0, 1, bytes(16384)) * 40,
}


def serves():
    line = Line()
    line.send(get())
    return any(kind == HEADERS and status(payload) == "200" for kind, _, _, payload in line.frames(20))


failed = []
assert serves(), "it does not serve at all"
for name, sent, wanted, *preface in CASES:
    seen = outcome(sent, wanted, preface=preface[0] if preface else PREFACE + frame(SETTINGS))
    if not any(one in wanted for one in seen) or not serves():
        failed.append(f"{name}: {seen}, and not one of {wanted}")
line = Line()
line.send(frame(PING, 0, 0, b"8 bytes!"))
if not any((kind, flags, payload) == (PING, ACK, b"8 bytes!") for kind, flags, _, payload in line.frames(5)):
    failed.append("6.7 a ping is not answered")
for name, flood in FLOODS.items():
    line, begun = Line(), time.time()
    line.wire.settimeout(10)
    for at in range(0, len(flood), 1 << 16):
        line.send(flood[at:at + (1 << 16)])
        if line.ended:
            break
    if not serves():
        failed.append(f"{name}: nobody else is served")
    line.wire.close()
    print(f"{name}: {'ended' if line.ended else 'taken'} after {time.time() - begun:.1f} s")
print("\n".join(failed) or f"done: {len(CASES)} cases, {len(FLOODS)} floods")
sys.exit(bool(failed))
