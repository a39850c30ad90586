"""A deploy on the Docker runtime beside a bare `docker run` of the same app in the same image, until each answers."""
import http.client, os, re, shutil, signal, statistics, subprocess, tempfile, threading, time

from cases import SERVER, tiny_app, visit
from platform_ import Platform, free_port

IMAGE = "gigalixir/debian-12"
ROUNDS = 15


def docker(*args):
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout.strip()


def until_it_answers(port):
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            return connection.getresponse().read()
        except OSError:
            time.sleep(0.002)


def bare_run(folder):
    port = free_port()
    start = time.perf_counter()
    name = docker("run", "-d", "-m", "500m", "-e", "PORT=4000", "-p", f"127.0.0.1:{port}:4000", "-v", f"{folder}:/app", "-w", "/app",
                  "-u", "1000:1000", IMAGE, "python3", "-S", "-E", "server.py")
    until_it_answers(port)
    took = time.perf_counter() - start
    docker("rm", "-f", name)
    return took


def deploy(platform, folder, text):
    """A change of the config: the slug is there, as the bare run's files are. The greeting is in the environment."""
    start = time.perf_counter()
    changing = subprocess.Popen([platform.binary, "config:set", f"GREETING={text}"], env=platform.env, cwd=folder,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while visit(platform, "dock") != text:
        time.sleep(0.002)
    took = time.perf_counter() - start
    changing.wait()
    return took


def docker_deploy(binary):
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode != 0:
        subprocess.run([binary, "stacks:build", "debian-12"], check=True)
    platform = Platform(binary, {"GIGALIXIR_RUNTIME": "docker"})
    folder = tiny_app(platform, "dock", greeting="os.environ.get('GREETING', '').encode()")
    bare = tempfile.mkdtemp(prefix="bare-bench-")
    os.chmod(bare, 0o755)
    shutil.copy(SERVER, bare + "/server.py")
    open(bare + "/greeting.txt", "w").write("bare")
    ours, theirs = [], []
    for n in range(ROUNDS):
        theirs.append(bare_run(bare))
        ours.append(deploy(platform, folder, f"text{n}"))
    platform.stop()
    shutil.rmtree(bare)
    a, b = statistics.median(ours), statistics.median(theirs)
    yield "deploy on Docker until the new release answers", f"{a:.3f} s", f"{b:.3f} s (bare `docker run` until the port answers)", f"{a / b:.2f}", "≤ 1.5"


APPS, RUNNING = 200, 60


def many_apps(binary):
    """200 apps of which 60 run, one replica each: what a server needs to know them all again, and its memory."""
    settings = {"GIGALIXIR_RUNTIME": "docker", "GIGALIXIR_LIMITS_APPS_PER_ACCOUNT": str(APPS), "GIGALIXIR_BUILDER_SANDBOX": "bubblewrap"}
    platform = Platform(binary, settings)
    folder = tiny_app(platform, "app-0")

    def make(numbers):
        for number in numbers:
            name = f"app-{number}"
            platform.client("create", "-n", name)
            if number >= RUNNING:
                platform.client("ps:scale", "-a", name, "web=0")
            subprocess.run(["git", "push", "-q", f"http://{platform.api}/{name}.git", "HEAD:refs/heads/master"], cwd=folder,
                           env=platform.env, check=True)

    makers = [threading.Thread(target=make, args=(range(1 + first, APPS, 4),)) for first in range(4)]
    [maker.start() for maker in makers], [maker.join() for maker in makers]
    running = len(docker("ps", "-q", "--filter", "name=^app-").split())
    platform.process.send_signal(signal.SIGKILL)
    platform.process.wait()
    begun = time.perf_counter()
    again = subprocess.Popen([binary, "server", "--data-dir", platform.folder + "/data", "--api", platform.api, "--http", platform.http,
                              "--https", platform.https, "--ssh", platform.ssh, "--stop-apps-on-exit"],
                             env={"PATH": os.environ["PATH"], "HOME": platform.home} | settings, stderr=subprocess.PIPE, text=True)
    for line in again.stderr:
        if '"api.address"' in line:
            break
    took = time.perf_counter() - begun
    threading.Thread(target=lambda: [None for _ in again.stderr], daemon=True).start()
    time.sleep(5)
    memory = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{again.pid}/status").read()).group(1)) / 1024
    platform.process = again
    platform.stop()
    yield f"{APPS} apps on Docker, {running} of them running: a killed server's successor knows them all", f"{took:.2f} s", "–", "–", "–"
    yield "its resident memory", f"{memory:.0f} MB", "–", "–", "–"
