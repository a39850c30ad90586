"""Hot upgrades of a mix release: how long a node answers nothing, and push-to-live beside a deploy of the same change."""
import json, os, re, shutil, statistics, tempfile, threading, time

from cases import git, visit
from platform_ import Platform

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/elixir-hot")
ROUNDS = 8


class App:
    """The example, deployed; each `change` is another answer and another version."""

    def __init__(self, platform):
        self.platform, self.round = platform, 0
        self.folder = tempfile.mkdtemp(dir=platform.folder)
        shutil.copytree(EXAMPLE, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("_build", "upgrades"))
        git(platform.env, self.folder, "init", "-q", "-b", "master")
        git(platform.env, self.folder, "add", "-A")
        git(platform.env, self.folder, "commit", "-q", "-m", "zero")
        platform.client("create", "-n", "tally", cwd=self.folder)
        git(platform.env, self.folder, "push", "gigalixir", "master")

    def change(self):
        self.round += 1
        for name, pattern, text in [("mix.exs", r'version: "[^"]*"', f'version: "1.{self.round}.0"'),
                                    ("lib/tally/counter.ex", r'"#\{count\} counted[^"]*"', f'"#{{count}} counted, {self.round}"')]:
            path = os.path.join(self.folder, name)
            changed = re.sub(pattern, lambda _: text, open(path).read(), count=1)
            open(path, "w").write(changed)
        git(self.platform.env, self.folder, "commit", "-q", "-am", f"round {self.round}")

    def push(self, *options):
        """Seconds until a visitor reads the new text."""
        self.change()
        start = time.perf_counter()
        pushing = threading.Thread(target=git, args=(self.platform.env, self.folder, "push", *options, "gigalixir", "master"))
        pushing.start()
        while f"counted, {self.round}," not in visit(self.platform, "tally"):
            time.sleep(0.002)
        live = time.perf_counter() - start
        pushing.join()
        return live


def hot(binary):
    platform = Platform(binary)
    try:
        app = App(platform)
        times = {"hot": [], "cold": []}
        for _ in range(ROUNDS):
            times["cold"].append(app.push())
            times["hot"].append(app.push("-o", "hot"))
        ours, peer = statistics.median(times["hot"]), statistics.median(times["cold"])
        yield ["push-to-live of a mix release, hot", f"{ours:.2f} s", f"{peer:.2f} s, the same cold", f"{ours / peer:.2f}", "–"]
        releases = json.loads(platform.client("releases", "--json", cwd=app.folder))
        pauses = [node["pause_ms"] for release in releases for node in release.get("hot", [])]
        yield [f"pause of a node ({len(pauses)} upgrades)", f"median {statistics.median(pauses):.1f} ms, worst {max(pauses):.1f} ms", "–", "–", "–"]
    finally:
        platform.stop()
