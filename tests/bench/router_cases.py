"""The router beside Debian's nginx: the same upstream (an app that is nginx), the same core, turn by turn."""
import os, re, resource, socket, statistics, subprocess, tempfile, time

from cases import git
from platform_ import Platform, free_port

FOLDERS = "".join(f"{name}_temp_path /tmp/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
UPSTREAM = """worker_processes 1; daemon off; pid /tmp/nginx.pid; error_log /tmp/nginx.log;
events { worker_connections 16384; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=10; %s
  server { listen PORT; root FOLDER; location /where { return 200 "$server_addr:$server_port"; } } }
""" % FOLDERS
HEADERS = {"Host": "$host", "X-Forwarded-For": "$remote_addr", "X-Forwarded-Proto": "$scheme", "X-Forwarded-Host": "$host",
           "X-Forwarded-Port": "$server_port", "X-Request-Id": "$request_id", "X-Request-Start": "$msec"}
PEER = """worker_processes 1; daemon off; pid %(folder)s/pid; error_log %(folder)s/log;
events { worker_connections 16384; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 600;
  %(folders)s
  upstream app { server %(upstream)s; keepalive 256; keepalive_requests 100000000; }
  server { listen 127.0.0.1:%(port)d; listen 127.0.0.1:%(tls)d ssl; ssl_certificate %(folder)s/cert; ssl_certificate_key %(folder)s/key;
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; %(headers)s } } }
"""


class Peer:
    """nginx in front of the same app; `pid` is that of its one worker."""

    def __init__(self, upstream):
        self.folder, self.port, self.tls = tempfile.mkdtemp(prefix="peer-"), free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=peer.localhost", "-keyout", self.folder + "/key", "-out", self.folder + "/cert"], check=True, capture_output=True)
        headers = " ".join(f"proxy_set_header {name} {value};" for name, value in HEADERS.items())
        folders = FOLDERS.replace("/tmp/", self.folder + "/")
        text = PEER % {"folder": self.folder, "folders": folders, "upstream": upstream, "port": self.port, "tls": self.tls, "headers": headers}
        open(self.folder + "/conf", "w").write(text)
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", self.folder + "/conf"], stderr=subprocess.DEVNULL)
        time.sleep(1)
        self.pid = int(subprocess.check_output(["pgrep", "-P", str(self.process.pid)]).split()[0])

    def stop(self):
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.folder])


def nginx_app(platform):
    """Deploys it; where the app listens."""
    folder = tempfile.mkdtemp(dir=platform.folder)
    open(folder + "/Procfile", "w").write('web: sed "s|PORT|$PORT|; s|FOLDER|$PWD|" nginx.conf >/tmp/nginx.conf && exec /usr/sbin/nginx -c /tmp/nginx.conf\n')
    open(folder + "/nginx.conf", "w").write(UPSTREAM)
    for name, size in [("1k", 1024), ("100k", 102400)]:
        open(f"{folder}/{name}", "w").write("x" * size)
    for args in [("init", "-q", "-b", "master"), ("add", "-A"), ("commit", "-q", "-m", "nginx")]:
        git(platform.env, folder, *args)
    platform.client("create", "-n", "front", cwd=folder)
    git(platform.env, folder, "push", "gigalixir", "master")
    return subprocess.check_output(["curl", "-sS", "-H", "Host: front.localhost", f"http://{platform.http}/where"], text=True)


def pin(pid, core):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {core})


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(pid, url, hosts):
    """CPU microseconds a request, requests per second, p99 in ms."""
    before = cpu(pid)
    # Names are led to this machine in a namespace of wrk's own: over TLS a name is needed, and wrk takes it from the URL.
    script = 'mount --bind "$0" /etc/hosts && exec taskset -c 1 wrk -t1 -c32 -d5s --latency -H "Host: front.localhost" "$1"'
    text = subprocess.check_output(["unshare", "-m", "sh", "-c", script, hosts, url], text=True)
    used = cpu(pid) - before
    if re.search("Non-2xx|Socket errors", text):
        raise SystemExit(f"{url}:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return used / requests * 1e6, requests / 5, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def router(binary):
    platform = Platform(binary)
    peer = Peer(nginx_app(platform))
    ours = platform.process.pid
    hosts = platform.folder + "/hosts"
    open(hosts, "w").write("127.0.0.1 localhost front.localhost\n")
    pin(ours, 0), pin(peer.pid, 0)
    for name, path, tls in [("1 kB", "/1k", False), ("100 kB", "/100k", False), ("1 kB, TLS 1.3", "/1k", True)]:
        scheme = "https" if tls else "http"
        port = platform.https.rsplit(":", 1)[1] if tls else platform.http.rsplit(":", 1)[1]
        sides = [(ours, f"{scheme}://front.localhost:{port}{path}"), (peer.pid, f"{scheme}://front.localhost:{peer.tls if tls else peer.port}{path}")]
        runs = [[load(pid, url, hosts) for pid, url in sides] for _ in range(3)]
        (a, b), (more, less), (slow, slower) = [[statistics.median(run[side][what] for run in runs) for side in (0, 1)] for what in range(3)]
        yield f"router, keep-alive, {name}: CPU a request", f"{a:.1f} µs", f"{b:.1f} µs (nginx)", f"{a / b:.2f}", "≤ 1.0"
        yield f"router, keep-alive, {name}: requests per second", f"{more:.0f}", f"{less:.0f} (nginx)", f"{more / less:.2f}", "–"
        yield f"router, keep-alive, {name}: p99", f"{slow:.1f} ms", f"{slower:.1f} ms (nginx)", f"{slow / slower:.2f}", "≤ 1.2"
    yield from idle_connections(ours, platform.http, peer)
    peer.stop(), platform.stop()


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def idle_connections(ours, address, peer):
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, max(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    grown = []
    for pid, port in [(ours, int(address.rsplit(":", 1)[1])), (peer.pid, peer.port)]:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (20000, 20000))
        before, held = resident(pid), []
        for _ in range(5000):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"GET /where HTTP/1.1\r\nHost: front.localhost\r\n\r\n")
            connection.recv(4096)
            held.append(connection)
        grown.append((resident(pid) - before) / 5000)
        [connection.close() for connection in held]
        time.sleep(1)
    a, b = grown
    yield "router, 5,000 idle keep-alive connections: memory for each", f"{a:.1f} KiB", f"{b:.1f} KiB (nginx)", f"{a / max(b, 0.1):.2f}", "≤ 2"


def deploys_visitors(_binary):
    """The suite's own test, longer and with more visitors."""
    env = os.environ | {"GIGALIXIR_BENCH_SECONDS": "60", "GIGALIXIR_BENCH_SOCKETS": "500"}
    command = ["cargo", "test", "--locked", "--test", "integration", "--", "--nocapture", "--exact", "router::deploys_in_a_row_lose_no_visitor"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    told = re.search(r"\d+ deploys in .*", done.stdout)
    if not told:
        raise SystemExit(done.stdout + done.stderr)
    yield "a deploy a second under HTTP/1.1, HTTP/2 and 500 WebSockets", told.group(0), "–", "–", "0 failures"
