"""What happens between a CA and its clients: everything is passed on, but for what it is told to do otherwise.

weather.py PORT CA-PORT CERT KEY LOG [BEHAVIOUR…]
  429=SECONDS   the first new order is told to come again so much later; so is, by 503=SECONDS, whoever asks then
  ari           renewal information (RFC 9773): what is asked about first shall be renewed now, all others in a month
  mute          what an order replaces is not said back, which the RFC wants
Each request is a line in LOG, JSON: when, its path and what a signed one says.
"""
import base64, http.client, json, ssl, sys, threading, time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, ca, cert, key, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], open(sys.argv[5], "a", buffering=1)
behaviours = dict((text.split("=") + [""])[:2] for text in sys.argv[6:])
trusting = ssl._create_unverified_context()
lock, first = threading.Lock(), {}
HOPS = {"connection", "transfer-encoding", "content-length", "date", "server"}


def payload(body):
    try:
        text = json.loads(body)["payload"]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"null")
    except (ValueError, KeyError, TypeError):
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def passed_on(self, body):
        upstream = http.client.HTTPSConnection("127.0.0.1", ca, context=trusting, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOPS}
        upstream.request(self.command, self.path, body=body or None, headers=headers)
        answer = upstream.getresponse()
        return answer.status, [pair for pair in answer.getheaders() if pair[0].lower() not in HOPS], answer.read()

    def problem(self, status, kind, seconds):
        body = json.dumps({"type": f"urn:ietf:params:acme:error:{kind}", "status": status, "detail": "not now"}).encode()
        self.answer(status, [("Content-Type", "application/problem+json"), ("Retry-After", str(seconds))], body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        log.write(json.dumps({"at": time.time(), "path": self.path, "says": payload(body)}) + "\n")
        if self.path.startswith("/renewal-info/"):
            with lock:
                now = first.setdefault("certificate", self.path) == self.path
            start = datetime.now(timezone.utc) + (timedelta(hours=-2) if now else timedelta(days=30))
            window = {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "end": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
            return self.answer(200, [("Content-Type", "application/json"), ("Retry-After", "3600")], json.dumps({"suggestedWindow": window}).encode())
        if self.path == "/order-plz":
            for status, kind in [("429", "rateLimited"), ("503", "serverInternal")]:
                with lock:
                    due = status in behaviours and status not in first
                    first[status] = True
                if due:
                    return self.problem(int(status), kind, behaviours[status])
        try:
            status, headers, answer = self.passed_on(body)
        except OSError:
            return self.answer(502, [], b"")
        says = payload(body) if self.path == "/order-plz" and "mute" not in behaviours else None
        if status == 201 and says and "replaces" in says:
            answer = json.dumps(json.loads(answer) | {"replaces": says["replaces"]}).encode()
        if self.path == "/dir" and "ari" in behaviours:
            answer = json.dumps(json.loads(answer) | {"renewalInfo": f"https://{self.headers['Host']}/renewal-info"}).encode()
        self.answer(status, headers, answer)

    do_GET = do_POST = do_HEAD = handle_any

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
