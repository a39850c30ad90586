"""A web app in one file, for tests. Knobs by environment: SLOW_START seconds, CRASH=1, SILENT=1 (never listens)."""
import os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

greeting = open("greeting.txt").read().strip()
print("booting", greeting, flush=True)
if os.environ.get("CRASH") or greeting == "crash":
    print("about to crash", file=sys.stderr, flush=True)
    sys.exit(3)
time.sleep(float(os.environ.get("SLOW_START", "0")))
if os.environ.get("SILENT") or greeting == "silent":
    time.sleep(3600)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/env/"):
            body = os.environ.get(self.path[5:], "")
        elif self.path == "/headers":
            body = str(self.headers)
        elif self.path == "/die":
            os._exit(7)
        elif self.path == "/eat":
            hog = [bytearray(50_000_000) for _ in range(1000)]
            body = str(len(hog))
        elif self.path.startswith("/sleep/"):
            time.sleep(float(self.path[7:]))
            body = greeting
        else:
            body = f"{greeting} {os.environ.get('SOURCE_VERSION', '')} {os.environ.get('HOST_INDEX', '')}"
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, fmt, *args):
        print("request", self.path, flush=True)


ThreadingHTTPServer.request_queue_size = 128
server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
print("bye", flush=True)
