"""The cases of measure.py."""
import http.client, os, random, re, statistics, subprocess, tempfile, threading, time

from platform_ import Backend, PeakAnon, Platform, git_env

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")


def git(env, cwd, *args):
    done = subprocess.run(["git", *args], env=env, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"git {' '.join(args)} failed:\n{done.stderr}")


def visit(platform, app):
    try:
        connection = http.client.HTTPConnection(platform.http, timeout=5)
        connection.request("GET", "/", headers={"Host": f"{app}.localhost"})
        return connection.getresponse().read().decode()
    except OSError:
        return ""


def tiny_app(platform, app, greeting=None):
    """A one-file Procfile app, deployed once; it answers its greeting.txt, or what the Python expression says."""
    folder = tempfile.mkdtemp(dir=platform.folder)
    open(folder + "/Procfile", "w").write("web: exec python3 -S -E server.py\n")
    code = open(SERVER).read()
    open(folder + "/server.py", "w").write(code.replace('open("greeting.txt", "rb").read()', greeting) if greeting else code)
    open(folder + "/greeting.txt", "w").write("zero")
    git(platform.env, folder, "init", "-q", "-b", "master")
    git(platform.env, folder, "add", "-A")
    git(platform.env, folder, "commit", "-q", "-m", "zero")
    platform.client("create", "-n", app, cwd=folder)
    git(platform.env, folder, "push", "gigalixir", "master")
    return folder


def commit(env, folder, text):
    open(folder + "/greeting.txt", "w").write(text)
    git(env, folder, "commit", "-q", "-am", text)


def push_to_live(binary):
    platform, backend = Platform(binary), Backend()
    folder = tiny_app(platform, "live")
    git(platform.env, folder, "remote", "add", "bare", backend.repository("live"))
    git(platform.env, folder, "push", "bare", "master")
    ours, bare = [], []
    for n in range(15):
        commit(platform.env, folder, f"text{n}")
        start = time.perf_counter()
        git(platform.env, folder, "push", "bare", "master")
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        pushing = threading.Thread(target=git, args=(platform.env, folder, "push", "gigalixir", "master"))
        pushing.start()
        while not visit(platform, "live").startswith(f"text{n}"):
            time.sleep(0.002)
        ours.append(time.perf_counter() - start)
        pushing.join()
    a, b = statistics.median(ours), statistics.median(bare)
    platform.stop(), backend.stop()
    yield "push-to-live, one-file commit", f"{a:.3f} s", f"{b:.3f} s (bare push, git http-backend)", f"{a / b:.1f}", "≤ 10"


def big_repository(folder, objects=50_000, megabytes=200):
    """About `objects` objects and `megabytes` MB of pack, half of the blobs near-copies of others."""
    os.mkdir(folder)
    env = git_env(folder)
    git(env, folder, "init", "-q", "-b", "master")
    feed = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, env=env, stdin=subprocess.PIPE)
    chance, write = random.Random(1), feed.stdin.write
    files, commits = int(objects * 0.85), 100
    size = megabytes * 1_000_000 * 2 // files
    previous = b""
    for n in range(files):
        data = chance.randbytes(size) if n % 2 == 0 else previous + b"%d" % n
        previous = data
        write(b"blob\nmark :%d\ndata %d\n" % (n + 1, len(data)) + data + b"\n")
    for c in range(commits):
        write(b"commit refs/heads/master\ncommitter b <b@example.com> %d +0000\ndata 1\nx\n" % (1_700_000_000 + c))
        for n in range(c, files, commits):
            write(b"M 100644 :%d %d/%d/f%d\n" % (n + 1, c, n % 67, n))
    feed.stdin.close()
    assert feed.wait() == 0
    git(env, folder, "repack", "-adq")
    return env


def big_push(binary):
    work = tempfile.mkdtemp(prefix="big-")
    env = big_repository(work + "/repo")
    folder = work + "/repo"
    platform, backend = Platform(binary), Backend()
    walls, anons = ([], []), ([], [])
    for n in range(3):
        platform.client("create", "-n", f"big-{n}", cwd=folder)
        targets = [("gigalixir", platform), (backend.repository(f"big-{n}"), backend)]
        for which, (remote, server) in enumerate(targets if n % 2 else targets[::-1]):
            which = which if n % 2 else 1 - which
            with PeakAnon(server.process.pid) as peak:
                start = time.perf_counter()
                # With a length instead of chunks, which a CGI program is not given.
                git(platform.env, folder, "-c", "http.postBuffer=1G", "push", remote, "master:refs/heads/topic")
                walls[which].append(time.perf_counter() - start)
            anons[which].append(peak.peak)
    platform.stop(), backend.stop()
    subprocess.run(["rm", "-rf", work])
    a, b = statistics.median(walls[0]), statistics.median(walls[1])
    yield "big push (50,000 objects, 200 MB), wall", f"{a:.2f} s", f"{b:.2f} s (git http-backend)", f"{a / b:.2f}", "≤ 1.0"
    a, b = statistics.median(anons[0]), statistics.median(anons[1])
    yield "big push, peak anonymous memory", f"{a:.0f} MB", f"{b:.0f} MB (git http-backend)", f"{a / b:.2f}", "≤ 2"


def idle(binary):
    platform = Platform(binary)
    folder = tempfile.mkdtemp(dir=platform.folder)
    git(platform.env, folder, "init", "-q")
    for n in range(100):
        platform.client("create", "-n", f"idle-{n}", cwd=folder)
    platform.process.send_signal(15)
    platform.process.wait()
    fresh = subprocess.Popen([binary, "server", "--data-dir", platform.folder + "/data", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0",
                              "--https", "127.0.0.1:0", "--ssh", "127.0.0.1:0"], env=platform.env, stderr=subprocess.DEVNULL)
    time.sleep(3)
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{fresh.pid}/status").read()).group(1)) / 1024
    platform.process = fresh
    platform.stop()
    yield "idle server with 100 apps, resident memory", f"{rss:.1f} MB", "–", "–", "< 40 MB"


def deploys_under_load(binary):
    platform = Platform(binary)
    folder = tiny_app(platform, "load")
    seconds = 60
    script = platform.folder + "/host.lua"
    open(script, "w").write('wrk.headers["Host"] = "load.localhost"\n'
                            'done = function(s) io.write(string.format("ERRORS %d %d %d %d %d REQUESTS %d\\n", s.errors.connect, '
                            's.errors.read, s.errors.write, s.errors.status, s.errors.timeout, s.requests)) end\n'.replace("(s)", "(s, l, r)"))
    load = subprocess.Popen(["wrk", "-t2", "-c16", f"-d{seconds}s", "-s", script, f"http://{platform.http}/"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    for n in range(20):
        commit(platform.env, folder, f"load{n}")
        git(platform.env, folder, "push", "gigalixir", "master")
    running = load.poll() is None
    numbers = [int(x) for x in re.findall(r"\d+", re.search(r"ERRORS .*", load.communicate()[0]).group(0))]
    platform.stop()
    yield ("20 deploys while wrk loads the app, failed requests", f"{sum(numbers[:-1])} of {numbers[-1]}" + ("" if running else " (load ended early)"),
           "–", "–", "0")
