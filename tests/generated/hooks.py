"""What schemathesis is told of this platform, and one check of ours: a refused request changes nothing.

GENERATED_APP is an app there is, GENERATED_DATABASE the server's database (read only).
"""
import os
import sqlite3

import schemathesis

APP = os.environ["GENERATED_APP"]
DATABASE = os.environ["GENERATED_DATABASE"]

# Not compared: wrong codes are counted, so that they end; and what an accepted request wants mailed is written after
# its answer.
COUNTED = {"signups", "password_resets"}
# What the server does by itself meanwhile: counts use, makes certificates.
BY_ITSELF = {"usage", "meters", "certificates", "certificate_orders", "challenge_records", "acme_accounts", "authority", "revocations"}
# And rows of which it changes some columns: how far a drain is, how a job goes.
KEPT = {"drains": "id, app", "jobs": "id, app", "schedules": "id, app"}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of the time the app exists: otherwise every answer would be 404."""
    if path_parameters and "app" in path_parameters and len(str(path_parameters["app"])) % 2 == 0:
        path_parameters["app"] = APP
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """A log that is followed never ends, by design."""
    if case.operation.path.endswith("/logs"):
        case.query = {**(case.query or {}), "follow": "False"}


def state():
    with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: database.execute(f'SELECT {KEPT.get(table, "*")} FROM "{table}"').fetchall()
            for table in tables
            if table not in COUNTED | BY_ITSELF
        }


before = state()


@schemathesis.check
def a_refusal_changes_nothing(ctx, response, case):
    global before
    now = state()
    changed = [table for table in now if now[table] != before.get(table)]
    before = now
    if response.status_code >= 400:
        assert not changed, f"{response.status_code} changed {', '.join(changed)}"
