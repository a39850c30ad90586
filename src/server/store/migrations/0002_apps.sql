-- Ids of apps and operations are never reused: they are part of sealing contexts and of generations.
CREATE TABLE apps (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  owner INTEGER NOT NULL REFERENCES users (id),
  stack TEXT NOT NULL,
  formation TEXT NOT NULL,
  -- sealed JSON: SECRET_KEY_BASE, the cookie, the app key, the log token
  secrets BLOB NOT NULL,
  -- the version that is meant to run; its config is the app's config
  live INTEGER,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX apps_owner ON apps (owner);

-- One row per app, archive and commit: the same archive may come of two commits. A row without a release belongs to a
-- push under way.
CREATE TABLE slugs (
  id INTEGER PRIMARY KEY,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha TEXT NOT NULL,
  stack TEXT NOT NULL,
  kind TEXT NOT NULL,
  processes TEXT NOT NULL,
  customer_app_name TEXT,
  customer_app_version TEXT,
  capabilities TEXT NOT NULL,
  UNIQUE (app, digest, sha, stack)
) STRICT;

CREATE TABLE releases (
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  rollback_id TEXT NOT NULL UNIQUE,
  slug INTEGER REFERENCES slugs (id),
  -- sealed JSON object
  config BLOB NOT NULL,
  -- as made; what it last ran with is the newest row of `scalings`
  formation TEXT NOT NULL,
  summary TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (app, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX releases_slug ON releases (slug);
-- However it may go: never two releases that are meant to run.
CREATE UNIQUE INDEX releases_live ON releases (app) WHERE state = 'live';

CREATE TABLE scalings (
  id INTEGER PRIMARY KEY,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  release INTEGER NOT NULL,
  formation TEXT NOT NULL,
  scaled_by TEXT NOT NULL,
  scaled_at TEXT NOT NULL
) STRICT;
CREATE INDEX scalings_release ON scalings (app, release);

-- The id is the generation of the workloads that the operation makes. `running` is undone at the next start,
-- `committed` waits for its push's ref to move, `done` and `failed` are history.
CREATE TABLE operations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  release INTEGER,
  -- of a push
  reference TEXT,
  commit_sha TEXT,
  started_by TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX operations_app ON operations (app);
CREATE INDEX operations_open ON operations (state) WHERE state IN ('running', 'committed');
-- One at a time per app.
CREATE UNIQUE INDEX operations_running ON operations (app) WHERE state = 'running';

-- What should be. `rising`: beside the old, not yet routed; `serving`; `draining`: to be ended once its visitors left.
CREATE TABLE workloads (
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  process TEXT NOT NULL,
  generation INTEGER NOT NULL,
  state TEXT NOT NULL,
  replicas INTEGER NOT NULL,
  digest TEXT NOT NULL,
  -- sealed JSON: the whole wish, its environment included
  spec BLOB NOT NULL,
  PRIMARY KEY (app, process, generation)
) STRICT, WITHOUT ROWID;
