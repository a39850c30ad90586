"""The API's cases of measure.py: our client beside the official one, and the API under load beside sqlite3."""
import base64, glob, http.client, json, os, re, shutil, sqlite3, statistics, subprocess, tempfile, time

from platform_ import Platform

UNLIMITED = {"GIGALIXIR_SIGNUPS": "open"} | {f"GIGALIXIR_RATES_{name}": "0" for name in (
    "REQUESTS_PER_ADDRESS", "REQUESTS_PER_ACCOUNT", "CODES_PER_ADDRESS", "LOGINS_PER_ADDRESS", "MAILS_PER_RECIPIENT")}
ACCOUNTS, APPS = 100, 10
# Of 10 requests one writes.
WRITES = 10


class Api:
    """JSON requests on one kept connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def __call__(self, method, path, body=None, basic=None):
        headers = {"Content-Type": "application/json"}
        if basic:
            headers["Authorization"] = "Basic " + basic
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)["data"]


def sign_up(api, platform, email):
    uuid = api("POST", "/api/signup", {"email": email})["uuid"]
    for _ in range(500):
        mails = [open(path).read() for path in glob.glob(platform.folder + "/data/outbox/*.eml")]
        mine = [mail for mail in mails if f"To: {email}" in mail]
        if mine:
            break
        time.sleep(0.01)
    code = re.search(r"^Code: *(\S+)", mine[0], re.M).group(1)
    api("POST", "/api/signup", {"uuid": uuid, "confirmation_code": code})
    api("POST", "/api/signup", {"uuid": uuid, "password": "a long password"})
    key = api("POST", "/api/signup", {"uuid": uuid, "tier": "FREE"})["key"]
    for path in glob.glob(platform.folder + "/data/outbox/*.eml"):
        os.remove(path)
    return base64.b64encode(f"{email}:{key}".encode()).decode()


def official_client():
    folder = os.path.abspath("target/official-client")
    program = folder + "/bin/gigalixir"
    if not os.path.exists(program):
        subprocess.run(["python3", "-m", "venv", folder], check=True)
        subprocess.run([folder + "/bin/python", "-m", "pip", "install", "-q", "gigalixir==1.16.1"], check=True)
    return program


def apps_command(binary):
    platform = Platform(binary)
    folder = tempfile.mkdtemp(dir=platform.folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, env=platform.env, check=True)
    for n in range(10):
        platform.client("create", "-n", f"app-{n}", cwd=folder)
    # The client's own settings: a machine line for our host, and where its API is.
    env = platform.env | {"GIGALIXIR_CLI__HOST": f"http://{platform.api}"}
    platform.client("compat", "--write")
    ours, theirs = [], []
    program = official_client()
    for _ in range(10):
        for command, times in (([binary, "apps", "--json"], ours), ([program, "apps"], theirs)):
            start = time.perf_counter()
            done = subprocess.run(command, env=env, cwd=platform.home, capture_output=True, text=True)
            times.append(time.perf_counter() - start)
            if done.returncode != 0 or len(json.loads(done.stdout)) != 10:
                raise SystemExit(f"{command} failed: {done.stdout} {done.stderr}")
    platform.stop()
    a, b = statistics.median(ours), statistics.median(theirs)
    yield "`gigalixir apps`, the whole command", f"{a * 1000:.0f} ms", f"{b * 1000:.0f} ms (official client)", f"{a / b:.3f}", "≤ 0.1"


SCRIPT = """
local keys, n = {%s}, %d
local count = 0
request = function()
  count = count + 1
  local account = count %% #keys
  local app = string.format("app-%%d-%%d", account, math.floor(count / #keys) %% n)
  local headers = { ["Authorization"] = "Basic " .. keys[account + 1], ["Content-Type"] = "application/json" }
  if count %% %d == 0 then
    local body = string.format('{"configs": {"K": "%%d"}, "avoid_restart": true}', count)
    return wrk.format("POST", "/api/apps/" .. app .. "/configs", headers, body)
  end
  local paths = { "/api/apps", "/api/apps/" .. app, "/api/apps/" .. app .. "/configs", "/api/apps/" .. app .. "/releases" }
  return wrk.format("GET", paths[count %% 4 + 1], headers)
end
done = function(s, l, r)
  io.write(string.format("ERRORS %%d REQUESTS %%d MICROSECONDS %%d P99 %%d\\n",
    s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout, s.requests, s.duration, l:percentile(99)))
end
"""


def api_load(binary):
    platform = Platform(binary, UNLIMITED)
    api = Api(platform.api)
    keys = [sign_up(api, platform, f"a{n}@example.com") for n in range(ACCOUNTS)]
    for account, basic in enumerate(keys):
        for n in range(APPS):
            api("POST", "/api/apps", {"unique_name": f"app-{account}-{n}"}, basic)
            api("POST", f"/api/apps/app-{account}-{n}/configs", {"configs": {"K": "0"}, "avoid_restart": True}, basic)
    script = platform.folder + "/load.lua"
    open(script, "w").write(SCRIPT % (", ".join(f'"{key}"' for key in keys), APPS, WRITES))
    said = subprocess.run(["wrk", "-t1", "-c16", "-d20s", "-s", script, f"http://{platform.api}/"], capture_output=True, text=True).stdout
    errors, requests, microseconds, p99 = map(int, re.findall(r"\d+", re.search(r"ERRORS .*", said).group(0).replace("P99", "")))
    platform.process.terminate()
    platform.process.wait()
    rate = requests / microseconds * 1e6
    bare = sqlite_rate(platform.folder + "/data/gigalixir.db")
    platform.stop()
    yield (f"API, {ACCOUNTS * APPS:,} apps of {ACCOUNTS} accounts, 1 of {WRITES} writes", f"{rate:,.0f} requests/s, p99 {p99 / 1000:.0f} ms",
           f"{bare:,.0f}/s (`sqlite3` with the same statements)", f"{rate / bare:.2f}", "–")
    yield "errors of that load", f"{errors} of {requests:,}", "–", "–", "0"


def sqlite_rate(path):
    """The same mix by one connection of Python's sqlite3 in this process, no HTTP, the same durability."""
    copy = tempfile.mkdtemp() + "/copy.db"
    shutil.copy(path, copy)
    database = sqlite3.connect(copy, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        database.execute("PRAGMA " + pragma)
    keys = [row[0] for row in database.execute("SELECT hash FROM api_keys ORDER BY id").fetchall()]
    apps = database.execute("SELECT id, name, owner FROM apps").fetchall()
    live = "SELECT r.* FROM releases AS r LEFT JOIN slugs ON slugs.id = r.slug WHERE r.app = ?1 AND r.version = (SELECT live FROM apps WHERE id = ?1)"
    run = lambda sql, *values: database.execute(sql, values).fetchall()

    def read(which, app, name, owner):
        if which == 0:
            mine = run("SELECT * FROM apps WHERE owner = ? ORDER BY name", owner)
            run("SELECT app FROM permissions WHERE user = ?", owner)
        else:
            mine = run("SELECT * FROM apps WHERE name = ?", name)
        if which < 2:
            for one in mine:
                run("SELECT max(version) FROM releases WHERE app = ?", one[0])
                run(live, one[0])
        elif which == 2:
            run(live, app)
        else:
            run("SELECT r.* FROM releases AS r LEFT JOIN slugs ON slugs.id = r.slug WHERE r.app = ? ORDER BY r.version DESC", app)

    def write(app, name, number):
        run("SELECT * FROM apps WHERE name = ?", name)
        run(live, app)
        database.execute("BEGIN IMMEDIATE")
        version = run("SELECT max(version) FROM releases WHERE app = ?", app)[0][0] + 1
        run("INSERT INTO releases (app, version, rollback_id, config, formation, summary, created_by, created_at, state)"
            " SELECT ?1, ?2, ?3, config, formation, summary, created_by, created_at, 'deploying' FROM releases WHERE app = ?1 LIMIT 1",
            app, version, f"bench-{number}")
        run("INSERT INTO operations (app, kind, state, release, started_by, started_at) VALUES (?, 'config', 'running', ?, 'b', 'now')", app, version)
        operation = run("SELECT last_insert_rowid()")[0][0]
        database.execute("COMMIT")
        database.execute("BEGIN IMMEDIATE")
        run("UPDATE releases SET state = 'superseded' WHERE app = ? AND state = 'live'", app)
        run("UPDATE releases SET state = 'live' WHERE app = ? AND version = ?", app, version)
        run("UPDATE apps SET live = ?2 WHERE id = ?1", app, version)
        run("INSERT INTO activity (app, kind, summary, done_by, done_at) VALUES (?, 'config', 's', 'b', 'now')", app)
        run("UPDATE operations SET state = 'done', ended_at = 'now' WHERE id = ?", operation)
        database.execute("COMMIT")
        run(live, app)

    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 10:
        count += 1
        run("SELECT u.* FROM api_keys AS k JOIN users AS u ON u.id = k.user WHERE k.hash = ?", keys[count % len(keys)])
        app = apps[count * 7 % len(apps)]
        if count % WRITES == 0:
            write(app[0], app[1], count)
        else:
            read(count % 4, *app)
    rate = count / (time.perf_counter() - start)
    shutil.rmtree(os.path.dirname(copy))
    return rate
