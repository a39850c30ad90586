"""Visitors who only come, and those who stay: what a handshake and an idle connection cost."""
import multiprocessing, re, resource, socket, ssl, time

from peers import cpu

MANY = 5000


def raise_limits():
    """For everything that is started from here on."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, max(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))


def trusting():
    context = ssl._create_unverified_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def shake(port, host, count):
    """So many handshakes, none of which resumes another."""
    context = trusting()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as wire, context.wrap_socket(wire, server_hostname=host) as line:
            assert not line.session_reused and line.version() == "TLSv1.3"


def handshakes(side, host="front.localhost", count=3000):
    """CPU microseconds for each."""
    before = cpu(side.pid)
    workers = [multiprocessing.Process(target=shake, args=(side.tls, host, count // 2)) for _ in range(2)]
    [worker.start() for worker in workers], [worker.join() for worker in workers]
    if any(worker.exitcode for worker in workers):
        raise SystemExit(f"{side.name}: a handshake failed")
    time.sleep(0.2)
    return (cpu(side.pid) - before) / count * 1e6


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def idle(side, secure, websocket):
    """KiB of resident memory, more than it had when it was fresh, for each of many connections that have been used once (or are
    WebSockets) and say nothing."""
    host, path = ("sockets.localhost", "/socket") if websocket else ("front.localhost", "/1k")
    if side.name != "gigalixir":
        host = "front.localhost"
    lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    ask = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines if websocket else ''}\r\n".encode()
    context, held = trusting(), []
    for _ in range(MANY):
        line = socket.create_connection(("127.0.0.1", side.tls if secure else side.port))
        if secure:
            line = context.wrap_socket(line, server_hostname=host)
        line.sendall(ask)
        answer = line.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101" if websocket else b"HTTP/1.1 200"), (side.name, answer)
        held.append(line)
    time.sleep(1)
    grown = (resident(side.pid) - side.fresh) / MANY
    [line.close() for line in held]
    time.sleep(1)
    return grown
