-- One-off, scheduled and release-phase jobs. The id comes from the operations' sequence: both are generations of workloads.
-- `queued` and `running` are what a server takes over, `ended` is history.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  -- the schedule's name; it may be gone by now
  schedule TEXT,
  -- JSON: a list of words, or one text for the shell inside
  command TEXT NOT NULL,
  release INTEGER NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  seconds INTEGER NOT NULL,
  -- sealed JSON: the whole wish, its environment included; NULL once it has ended
  spec BLOB,
  state TEXT NOT NULL,
  -- somebody wants it to end
  stopping INTEGER NOT NULL DEFAULT 0,
  -- it does not start before all others of its schedule have ended
  waits INTEGER NOT NULL,
  outcome TEXT,
  code INTEGER,
  detail TEXT,
  asked_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  ended_at TEXT
) STRICT;
CREATE INDEX jobs_app ON jobs (app, id);
CREATE INDEX jobs_open ON jobs (state) WHERE state IN ('queued', 'running');

CREATE TABLE schedules (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  cron TEXT NOT NULL,
  tz TEXT NOT NULL,
  command TEXT NOT NULL,
  overlap TEXT NOT NULL,
  catch_up INTEGER NOT NULL,
  size INTEGER,
  seconds INTEGER,
  of_code INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  -- runs that were due up to then have been dealt with
  seen_until TEXT NOT NULL,
  missed INTEGER NOT NULL DEFAULT 0,
  UNIQUE (app, name)
) STRICT;

-- The schedules that the code names (`app.json`).
ALTER TABLE slugs ADD COLUMN schedules TEXT NOT NULL DEFAULT '[]';
