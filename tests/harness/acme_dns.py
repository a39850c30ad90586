"""acme-dns' API as its documentation tells it, over a name server that takes updates.

acme_dns.py PORT DNS-PORT TSIG-KEY ZONE: accounts write TXT records of SUBDOMAIN.auth.ZONE; the last two of each are kept.
"""
import json, subprocess, sys, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, dns, key, zone = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
accounts, texts = {}, {}


def update(subdomain):
    name = f"{subdomain}.auth.{zone}."
    lines = [f"server 127.0.0.1 {dns}", f"zone {zone}", f"update delete {name} TXT"]
    lines += [f'update add {name} 1 TXT "{text}"' for text in texts[subdomain]] + ["send", ""]
    subprocess.run(["nsupdate", "-y", f"hmac-sha256:gigalixir:{key}"], check=True, input="\n".join(lines), text=True)


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/register":
            account = {name: str(uuid.uuid4()) for name in ["username", "subdomain"]} | {"password": uuid.uuid4().hex, "allowfrom": []}
            accounts[account["username"]] = account | {"fulldomain": f"{account['subdomain']}.auth.{zone}"}
            return self.answer(201, accounts[account["username"]])
        if self.path != "/update":
            return self.answer(404, {"error": "not_found"})
        wish, account = json.loads(body), accounts.get(self.headers.get("X-Api-User"), {})
        if (account.get("password"), account.get("subdomain")) != (self.headers.get("X-Api-Key"), wish.get("subdomain")):
            return self.answer(401, {"error": "forbidden"})
        if len(wish.get("txt", "")) != 43:
            return self.answer(400, {"error": "bad_txt"})
        texts[wish["subdomain"]] = (texts.get(wish["subdomain"], []) + [wish["txt"]])[-2:]
        update(wish["subdomain"])
        self.answer(200, {"txt": wish["txt"]})

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
