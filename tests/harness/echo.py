"""A web app in one file that also speaks WebSocket: every message comes back, with the greeting in front of the first."""
import base64, hashlib, os, signal, socket, struct, threading

greeting = open("greeting.txt").read().strip()
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def read(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def sockets(stream, connection):
    while True:
        first, second = read(stream, 2)
        length = second & 127
        if length == 126:
            length = struct.unpack(">H", read(stream, 2))[0]
        mask = read(stream, 4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(read(stream, length)))
        if first & 15 == 8:
            connection.sendall(bytes([0x88, len(data)]) + data)
            return
        head = bytes([first, length]) if length < 126 else bytes([first, 126]) + struct.pack(">H", length)
        connection.sendall(head + data)


def serve(connection):
    stream = connection.makefile("rb")
    try:
        while True:
            lines = []
            while (line := stream.readline().strip()):
                lines.append(line.decode("latin-1"))
            if not lines:
                return
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            key = headers.get("sec-websocket-key")
            if key:
                accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
                connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                   f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
                return sockets(stream, connection)
            read(stream, int(headers.get("content-length", 0)))
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(greeting)}\r\n\r\n{greeting}".encode())
    except (OSError, EOFError):
        pass
    finally:
        stream.close()
        connection.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.stack_size(256 * 1024)
listener = socket.create_server(("0.0.0.0", int(os.environ["PORT"])), backlog=1024)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
