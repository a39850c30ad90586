-- How one slug becomes another in running nodes; made anew by another version of the planner (`tool`).
CREATE TABLE upgrade_plans (
  from_digest TEXT NOT NULL,
  to_digest TEXT NOT NULL,
  tool TEXT NOT NULL,
  plan TEXT NOT NULL,
  made_at TEXT NOT NULL,
  PRIMARY KEY (from_digest, to_digest)
) STRICT, WITHOUT ROWID;

-- A release that is, or was to be, brought to running nodes, by this plan. It is settled when all nodes are known to be
-- at one version, the release's or the one before; until then every start of the server sees to it.
CREATE TABLE upgrades (
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  release INTEGER NOT NULL,
  plan TEXT NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (app, release)
) STRICT, WITHOUT ROWID;
CREATE INDEX upgrades_open ON upgrades (app) WHERE settled = 0;

-- Its nodes. `begun`: somebody may have changed it; `changed`; `undone`.
CREATE TABLE upgraded_nodes (
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  release INTEGER NOT NULL,
  instance TEXT NOT NULL,
  state TEXT NOT NULL,
  pause_us INTEGER,
  took_us INTEGER,
  at TEXT NOT NULL,
  PRIMARY KEY (app, release, instance)
) STRICT, WITHOUT ROWID;
