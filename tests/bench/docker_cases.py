"""A deploy on the Docker runtime beside a bare `docker run` of the same app in the same image, until each answers."""
import http.client, os, shutil, statistics, subprocess, tempfile, time

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
