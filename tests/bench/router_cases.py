"""The router beside Debian's nginx, haproxy and caddy: the same upstream (an app that is nginx), the same core, turn by turn.

CPU time is what counts: it moves least when others use the machine.
"""
import os, re, shutil, statistics, subprocess, tempfile

from cases import git
from crowds import handshakes, idle, raise_limits, resident
from peers import FOLDERS, Ours, Peer, cpu, pin
from platform_ import Platform

UPSTREAM = """worker_processes 1; daemon off; pid /tmp/nginx.pid; error_log /tmp/nginx.log;
events { worker_connections 16384; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 600; open_file_cache max=10; %s
  server { listen PORT; root FOLDER; location /where { return 200 "$server_addr:$server_port"; } } }
""" % (FOLDERS % {"folder": "/tmp"})
# Takes any number of WebSockets and says nothing.
SOCKETS = '''import asyncio, base64, hashlib, os, resource
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\\r\\n") if b": " in line)
        if b"upgrade" not in lines:
            where = "%s:%d" % writer.get_extra_info("sockname")[:2]
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(where) + where.encode())
            return await writer.drain()
        key = next(line.split(b": ", 1)[1] for line in head.split(b"\\r\\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
        await reader.read()
    except (OSError, EOFError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()
asyncio.run(main())
'''


def deploy(platform, app, files):
    """Where the app listens, as the apps themselves see it."""
    folder = tempfile.mkdtemp(dir=platform.folder)
    # What apps see of the machine has no /usr/sbin.
    shutil.copy("/usr/sbin/nginx", folder)
    for name, text in files.items():
        open(f"{folder}/{name}", "w").write(text)
    for args in [("init", "-q", "-b", "master"), ("add", "-A"), ("commit", "-q", "-m", app)]:
        git(platform.env, folder, *args)
    platform.client("create", "-n", app, cwd=folder)
    git(platform.env, folder, "push", "gigalixir", "master")
    where = subprocess.check_output(["curl", "-sS", "-H", f"Host: {app}.localhost", f"http://{platform.http}/where"], text=True)
    return where


def nginx_app(platform):
    procfile = 'web: sed "s|PORT|$PORT|; s|FOLDER|$PWD|" nginx.conf >/tmp/nginx.conf && exec $PWD/nginx -c /tmp/nginx.conf\n'
    where = deploy(platform, "front", {"Procfile": procfile, "nginx.conf": UPSTREAM, "1k": "x" * 1024, "100k": "x" * 102400})
    master = subprocess.check_output(["pgrep", "-f", "nginx -c /tmp/nginx.conf"], text=True).split()
    children = [subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True).stdout.split() for pid in master]
    [pin(int(pid), 1) for pid in master + sum(children, [])]
    return where


def load(side, scheme, path, hosts):
    """CPU microseconds a request, requests per second, p50 and p99 in ms."""
    before = cpu(side.pid)
    url = f"{scheme}://front.localhost:{side.tls if scheme == 'https' else side.port}{path}"
    # Names are led to this machine in a namespace of wrk's own: over TLS a name is needed, and wrk takes it from the URL.
    script = 'mount --bind "$0" /etc/hosts && exec taskset -c 1 wrk -t1 -c32 -d5s --latency -H "Host: front.localhost" "$1"'
    text = subprocess.check_output(["unshare", "-m", "sh", "-c", script, hosts, url], text=True)
    used = cpu(side.pid) - before
    if re.search("Non-2xx|Socket errors", text):
        raise SystemExit(f"{side.name}, {url}:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    units = {"us": 1e-3, "ms": 1, "s": 1e3}
    p50, p99 = (float(number) * units[unit] for number, unit in (re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", text).groups() for part in (50, 99)))
    return used / requests * 1e6, requests / 5, p50, p99


def beside(sides, what, values, unit, asked):
    """A row: ours, the others', and the ratio to nginx."""
    ours, others = values[0], ", ".join(f"{value:.1f} {side.name}" for side, value in zip(sides[1:], values[1:]))
    return what, f"{ours:.1f}{unit}", others, f"{ours / max(values[1], 0.05):.2f}", asked


def router(binary):
    raise_limits()
    platform = Platform(binary)
    upstream = nginx_app(platform)
    sockets = deploy(platform, "sockets", {"Procfile": "web: exec python3 -S app.py\n", "app.py": SOCKETS})
    sides = [Ours(platform), *(Peer(name, upstream, sockets) for name in ("nginx", "haproxy", "caddy"))]
    hosts = platform.folder + "/hosts"
    open(hosts, "w").write("127.0.0.1 localhost front.localhost sockets.localhost\n")
    for side in sides:
        pin(side.pid, 0)
        side.fresh = resident(side.pid)
    try:
        # Before any load: what that leaves behind in a heap is used again.
        for name, secure, socket in [("keep-alive connections", False, False), ("keep-alive connections, TLS", True, False),
                                     ("WebSockets", False, True), ("WebSockets, TLS", True, True)]:
            values = [idle(side, secure, socket) for side in sides]
            yield beside(sides, f"router, 5,000 idle {name}: memory for each", values, " KiB", "≤ 2")
        for name, path, scheme in [("1 kB", "/1k", "http"), ("100 kB", "/100k", "http"), ("1 kB, TLS 1.3", "/1k", "https")]:
            runs = [[load(side, scheme, path, hosts) for side in sides] for _ in range(5)]
            medians = [[statistics.median(run[side][what] for run in runs) for side in range(len(sides))] for what in range(4)]
            yield beside(sides, f"router, keep-alive, {name}: CPU a request", medians[0], " µs", "≤ 1.0")
            yield beside(sides, f"router, keep-alive, {name}: requests per second", medians[1], "", "–")
            yield beside(sides, f"router, keep-alive, {name}: p50", medians[2], " ms", "–")
            yield beside(sides, f"router, keep-alive, {name}: p99", medians[3], " ms", "≤ 1.2")
        values = [statistics.median(column) for column in zip(*([handshakes(side) for side in sides] for _ in range(3)))]
        yield beside(sides, "router, full TLS 1.3 handshakes: CPU for each", values, " µs", "≤ 1.1")
    finally:
        [side.stop() for side in sides[1:]], platform.stop()


def deploys_visitors(_binary):
    """The suite's own test, longer and with more visitors."""
    env = os.environ | {"GIGALIXIR_BENCH_SECONDS": "60", "GIGALIXIR_BENCH_SOCKETS": "500"}
    command = ["cargo", "test", "--locked", "--test", "integration", "--", "--nocapture", "--exact", "router::deploys_in_a_row_lose_no_visitor"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    told = re.search(r"\d+ deploys in .*", done.stdout)
    if not told:
        raise SystemExit(done.stdout + done.stderr)
    yield "a deploy a second under HTTP/1.1, HTTP/2 and 500 WebSockets", told.group(0), "–", "–", "0 failures"
