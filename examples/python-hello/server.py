"""One page on $PORT, with Python's own HTTP server: a thread for each connection, kept alive, stopped gently."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    # Stopping waits for the threads, that is for answers under way and for idle connections to time out.
    daemon_threads = False


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self):
        body = f"Hello from Python on {socket.gethostname()}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


server = Server(("", int(os.environ.get("PORT", "4000"))), Page)
# `shutdown` waits for the loop below, so it cannot run in the thread that is in it.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on port {server.server_port}")
server.serve_forever()
server.server_close()
print("stopped")
