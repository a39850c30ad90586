"""Debian's nginx, haproxy and caddy in front of the same app, with one worker each; `pid` is that of the process that works."""
import os, subprocess, tempfile, time

from platform_ import free_port

FOLDERS = "".join(f"{name}_temp_path %(folder)s/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
HEADERS = {"Host": "$host", "X-Forwarded-For": "$remote_addr", "X-Forwarded-Proto": "$scheme", "X-Forwarded-Host": "$host",
           "X-Forwarded-Port": "$server_port", "X-Request-Id": "$request_id", "X-Request-Start": "$msec"}
NGINX = """worker_processes 1; daemon off; pid %(folder)s/pid; error_log %(folder)s/log;
events { worker_connections 16384; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 600; """ + FOLDERS + """
  upstream app { server %(upstream)s; keepalive 256; keepalive_requests 100000000; }
  upstream sockets { server %(sockets)s; }
  server { listen 127.0.0.1:%(port)d; listen 127.0.0.1:%(tls)d ssl; ssl_certificate %(folder)s/cert; ssl_certificate_key %(folder)s/key;
    ssl_protocols TLSv1.3; ssl_session_cache off;
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; %(headers)s }
    location /socket { proxy_pass http://sockets; proxy_http_version 1.1; proxy_read_timeout 600;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; %(headers)s } } }
"""
HAPROXY = """global
  nbthread 1
  maxconn 9500
  tune.ssl.cachesize 0
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  timeout tunnel 600s
frontend in
  bind 127.0.0.1:%(port)d
  bind 127.0.0.1:%(tls)d ssl crt %(folder)s/pem ssl-min-ver TLSv1.3
  option forwardfor
  unique-id-format %%{+X}o\\ %%ci:%%cp_%%fi:%%fp_%%Ts_%%rt:%%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Host %%[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %%[dst_port]
  http-request set-header X-Request-Start %%[date]
  use_backend sockets if { path /socket }
  default_backend app
backend app
  http-reuse always
  server one %(upstream)s pool-max-conn 256
backend sockets
  server one %(sockets)s
"""
CADDY = """{
  admin off
  auto_https off
}
(app) {
  reverse_proxy /socket %(sockets)s
  reverse_proxy %(upstream)s {
    header_up X-Request-Id {http.request.uuid}
  }
}
http://front.localhost:%(port)d, http://127.0.0.1:%(port)d {
  import app
}
https://front.localhost:%(tls)d {
  tls %(folder)s/cert %(folder)s/key
  import app
}
"""


class Peer:
    """One of them; `stop()` leaves nothing behind."""

    def __init__(self, name, upstream, sockets):
        self.name, self.folder, self.port, self.tls = name, tempfile.mkdtemp(prefix="peer-"), free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=front.localhost", "-addext", "subjectAltName=DNS:front.localhost", "-keyout", self.folder + "/key",
                        "-out", self.folder + "/cert"], check=True, capture_output=True)
        headers = " ".join(f"proxy_set_header {name} {value};" for name, value in HEADERS.items())
        names = {"folder": self.folder, "upstream": upstream, "sockets": sockets, "port": self.port, "tls": self.tls, "headers": headers}
        text, command = {"nginx": (NGINX, ["/usr/sbin/nginx", "-c"]), "haproxy": (HAPROXY, ["/usr/sbin/haproxy", "-db", "-f"]),
                         "caddy": (CADDY, ["caddy", "run", "--adapter", "caddyfile", "--config"])}[name]
        open(self.folder + "/conf", "w").write(text % names)
        with open(self.folder + "/pem", "w") as both:
            both.write(open(self.folder + "/cert").read() + open(self.folder + "/key").read())
        env = os.environ | {"GOMAXPROCS": "1", "HOME": self.folder}
        self.process = subprocess.Popen([*command, self.folder + "/conf"], env=env, stderr=open(self.folder + "/errors", "w"))
        time.sleep(1.5)
        if self.process.poll() is not None:
            raise SystemExit(f"{name} does not start:\n" + open(self.folder + "/errors").read())
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        self.pid = int(children[0]) if name == "nginx" else self.process.pid

    def stop(self):
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.folder])


class Ours:
    """The platform's router, measured as a peer is."""

    def __init__(self, platform):
        self.name, self.pid = "gigalixir", platform.process.pid
        self.port, self.tls = (int(address.rsplit(":", 1)[1]) for address in (platform.http, platform.https))


def pin(pid, core):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {core})


def cpu(pid):
    """Seconds that a process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
