ALTER TABLE apps ADD COLUMN maintenance INTEGER NOT NULL DEFAULT 0;

-- Hosts beside APP.DOMAIN.
CREATE TABLE domains (
  fqdn TEXT PRIMARY KEY,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX domains_app ON domains (app, fqdn);

-- Another app that gets `weight` percent of an app's visitors.
CREATE TABLE canaries (
  app INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
  canary INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  weight INTEGER NOT NULL
) STRICT;
CREATE INDEX canaries_canary ON canaries (canary);

-- Who has a role in an app beside its owner.
CREATE TABLE permissions (
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  PRIMARY KEY (app, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX permissions_user ON permissions (user);

-- Who did what. Addresses, not accounts: a record outlives the account.
CREATE TABLE activity (
  id INTEGER PRIMARY KEY,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  summary TEXT NOT NULL,
  done_by TEXT NOT NULL,
  done_at TEXT NOT NULL
) STRICT;
CREATE INDEX activity_app ON activity (app, id);
