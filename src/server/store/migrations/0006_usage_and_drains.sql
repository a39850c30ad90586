-- What was used, per day (whole days since 1970, UTC). `used` is in millionths of a replica-size-second, `cost` in
-- billionths of a cent at the price of the time. No foreign key on the app: its use outlives it.
CREATE TABLE usage (
  owner INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  day INTEGER NOT NULL,
  app INTEGER NOT NULL,
  app_name TEXT NOT NULL,
  used INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  PRIMARY KEY (owner, day, app)
) STRICT, WITHOUT ROWID;

-- A replica that exists, and up to when its use is in `usage`: milliseconds of the monotonic clock of one start of the
-- machine.
CREATE TABLE meters (
  instance TEXT PRIMARY KEY,
  owner INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  app INTEGER NOT NULL,
  app_name TEXT NOT NULL,
  size INTEGER NOT NULL,
  boot TEXT NOT NULL,
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX meters_of_owner ON meters (owner);

-- Where an app's log is sent. `segment` and `place` are where in the log the next line begins that was not yet sent.
CREATE TABLE drains (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  token TEXT NOT NULL UNIQUE,
  -- sealed: it may hold a password
  url BLOB NOT NULL,
  segment INTEGER,
  place INTEGER,
  delivered INTEGER NOT NULL DEFAULT 0,
  dropped INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  last_error_at TEXT
) STRICT;
CREATE INDEX drains_of_app ON drains (app, id);
