"""The smallest web app that starts fast: one thread per connection, keep-alive, answers greeting.txt."""
import os, signal, socket, _thread

body = open("greeting.txt", "rb").read()
answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def serve(connection):
    buffer = b""
    try:
        while True:
            while b"\r\n\r\n" not in buffer:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                buffer += chunk
            _, buffer = buffer.split(b"\r\n\r\n", 1)
            connection.sendall(answer)
    except OSError:
        pass
    finally:
        connection.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.create_server(("0.0.0.0", int(os.environ["PORT"])), backlog=1024)
while True:
    _thread.start_new_thread(serve, (listener.accept()[0],))
