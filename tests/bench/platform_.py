"""A gigalixir server and a `git http-backend` server, each on ports and folders of its own."""
import glob, json, os, re, shutil, signal, subprocess, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))


def git_env(home):
    return {
        "PATH": os.environ["PATH"], "HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@example.com", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@example.com",
    }


class Platform:
    """`gigalixir server` with one account; `stop()` leaves nothing behind."""

    def __init__(self, binary, settings={}, api="127.0.0.1:0"):
        self.binary, self.folder = binary, tempfile.mkdtemp(prefix="gigalixir-bench-")
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home)
        self.process = subprocess.Popen(
            [binary, "server", "--data-dir", self.folder + "/data", "--api", api, "--http", "127.0.0.1:0",
             "--https", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--stop-apps-on-exit"],
            env={"PATH": os.environ["PATH"], "HOME": self.home} | settings, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            fields = json.loads(line).get("fields", {}) if line.startswith("{") else {}
            if "api.address" in fields:
                self.api, self.http, self.https, self.ssh = (fields[f"{name}.address"] for name in ["api", "http", "https", "ssh"])
                break
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
        self.env = git_env(self.home) | {"GIGALIXIR_HOST": f"http://{self.api}"}
        uuid = self.client("signup:start", "-e", "b@example.com").strip()
        mail = max(glob.glob(self.folder + "/data/outbox/*"), key=os.path.getmtime)
        code = re.search(r"^Code: *(\S+)", open(mail).read(), re.M).group(1)
        self.client("signup:finish", "--uuid", uuid, "--code", code, "--password-stdin", input="a long password")

    def client(self, *args, cwd=None, input=None):
        return subprocess.run([self.binary, *args], env=self.env, cwd=cwd or self.home, input=input, check=True,
                              capture_output=True, text=True).stdout

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Backend:
    """lighttpd with `git http-backend`: git's own server side, nothing else."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="http-backend-bench-")
        core = subprocess.check_output(["git", "--exec-path"], text=True).strip()
        self.port = free_port()
        open(self.folder + "/conf", "w").write(
            f'server.document-root = "{self.folder}"\nserver.port = {self.port}\nserver.bind = "127.0.0.1"\n'
            'server.modules = ("mod_setenv", "mod_cgi", "mod_alias")\nserver.stream-request-body = 2\nserver.stream-response-body = 2\n'
            f'alias.url = ("/" => "{core}/git-http-backend/")\ncgi.assign = ("" => "")\n'
            f'setenv.set-environment = ("GIT_PROJECT_ROOT" => "{self.folder}", "GIT_HTTP_EXPORT_ALL" => "1", '
            f'"REMOTE_USER" => "b", "HOME" => "{self.folder}", "PATH" => "{os.environ["PATH"]}")\n')
        self.process = subprocess.Popen(["lighttpd", "-D", "-f", self.folder + "/conf"], stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def repository(self, name):
        path = f"{self.folder}/{name}.git"
        subprocess.run(["git", "init", "-q", "--bare", path], check=True)
        subprocess.run(["git", "-C", path, "config", "http.receivepack", "true"], check=True)
        return f"http://127.0.0.1:{self.port}/{name}.git"

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class PeakAnon:
    """The highest sum of anonymous memory (RssAnon) of a process and its descendants while the block runs, in MB."""

    def __init__(self, pid):
        self.pid, self.peak, self.base, self.on = pid, 0, self.now(pid), True

    @staticmethod
    def now(pid):
        anon, children = {}, {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                status = open(f"/proc/{entry}/status").read()
                anon[int(entry)] = int(re.search(r"RssAnon:\s+(\d+)", status).group(1))
                children.setdefault(int(re.search(r"PPid:\s+(\d+)", status).group(1)), []).append(int(entry))
            except (OSError, AttributeError):
                pass
        total, todo = 0, [pid]
        while todo:
            one = todo.pop()
            total += anon.get(one, 0)
            todo += children.get(one, [])
        return total / 1024

    def __enter__(self):
        def watch():
            while self.on:
                self.peak = max(self.peak, self.now(self.pid))
                time.sleep(0.005)
        self.thread = threading.Thread(target=watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
