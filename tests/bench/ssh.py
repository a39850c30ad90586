"""ssh into a replica beside OpenSSH's own sshd on the same machine, by the same client."""
import os, pwd, shutil, statistics, subprocess, tempfile, threading, time

from cases import tiny_app
from platform_ import PeakAnon, Platform, free_port

BULK = 256 << 20
SESSIONS = 500


class Sshd:
    """Debian's sshd on a loopback port, without PAM; root comes in by a key, to an empty home: what root's own `.bashrc` does
    is no cost of sshd's."""

    def __init__(self, public_key):
        self.folder, self.port = tempfile.mkdtemp(prefix="sshd-bench-"), free_port()
        os.makedirs("/run/sshd", exist_ok=True)
        open(self.folder + "/keys", "w").write(public_key)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder + "/host"], check=True)
        open(self.folder + "/config", "w").write(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/keys\nStrictModes no\n"
            f"UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nMaxStartups 1000\nLogLevel QUIET\n")
        os.mkdir(self.folder + "/home")
        start = f"mount --bind {self.folder}/home $HOME && exec /usr/sbin/sshd -D -f {self.folder}/config"
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", start], env=os.environ | {"HOME": pwd.getpwuid(0).pw_dir})
        time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Both:
    """A platform with an app and an sshd, and how each is reached."""

    def __init__(self, binary):
        self.platform = Platform(binary)
        tiny_app(self.platform, "hello")
        key = self.platform.home + "/id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        public = open(key + ".pub").read()
        self.platform.client("account:ssh_keys:add", public.strip())
        self.sshd = Sshd(public)
        options = ["ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        self.ours = [*options, "-p", self.platform.ssh.rsplit(":", 1)[1], "hello@127.0.0.1"]
        self.peers = [*options, "-p", str(self.sshd.port), "root@127.0.0.1"]

    def stop(self):
        self.platform.stop()
        self.sshd.stop()


def timed(command, **streams):
    start = time.perf_counter()
    subprocess.run(command, check=True, **streams)
    return time.perf_counter() - start


def row(what, ours, peer, unit, ratio, asked):
    return [what, f"{ours:.3f} {unit}", f"{peer:.3f} {unit}, sshd", f"{ratio:.2f}", asked]


def ssh(binary):
    both = Both(binary)
    try:
        ours, peer = [], []
        for _ in range(25):
            ours.append(timed([*both.ours, "true"], stdin=subprocess.DEVNULL))
            peer.append(timed([*both.peers, "true"], stdin=subprocess.DEVNULL))
        a, b = statistics.median(ours), statistics.median(peer)
        yield row("`ssh APP@host true`", a, b, "s", a / b, "at most 1.5")
        yield from bulk(both)
        yield from crowd(both)
    finally:
        both.stop()


def bulk(both):
    file = both.platform.folder + "/bulk"
    with open(file, "wb") as out:
        for _ in range(BULK >> 20):
            out.write(os.urandom(1 << 20))
    down = f"head -c {BULK} /dev/zero"
    for what, command in [("to the replica", "cat >/dev/null"), ("from the replica", down)]:
        speeds = {"ours": [], "peer": []}
        for _ in range(5):
            for name, reach in [("ours", both.ours), ("peer", both.peers)]:
                with open(file, "rb") as data:
                    streams = {"stdin": data if command != down else subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
                    speeds[name].append(BULK / 1e6 / timed([*reach, command], **streams))
        a, b = (statistics.median(speeds[name]) for name in ("ours", "peer"))
        yield row(f"{BULK >> 20} MiB by ssh {what}", a, b, "MB/s", a / b, "at least 0.8")


def crowd(both):
    """Sessions that all run a program at the same time: how many got in, and what they cost the server alone."""
    pid = both.platform.process.pid
    both.platform.client("ps:scale", "-a", "hello", "--size", "4")
    own = lambda: float(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("RssAnon"))) / 1024
    before, running, places = own(), [], threading.Semaphore(40)
    counted = []

    def one():
        client = subprocess.Popen([*both.ours, "echo in; exec sleep 600"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        running.append(client)
        counted.append(client.stdout.readline() == b"in\n")
        places.release()

    for _ in range(SESSIONS):
        places.acquire()
        threading.Thread(target=one).start()
    while len(counted) < SESSIONS:
        time.sleep(0.1)
    after, whole = own(), PeakAnon.now(pid)
    for client in running:
        client.kill()
        client.wait()
    yield [f"{SESSIONS} sessions at once", f"{sum(counted)} in; server {before:.0f} → {after:.0f} MB, all its processes {whole:.0f} MB", "–", "–",
           "none refused"]
