-- The platform's own CA: its certificate (PEM) and its sealed key. One row.
CREATE TABLE authority (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  certificate TEXT NOT NULL,
  key BLOB NOT NULL
) STRICT;

-- An account with a CA, by its directory's address; sealed.
CREATE TABLE acme_accounts (
  directory TEXT PRIMARY KEY,
  credentials BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Certificates that can be served. `name` is the first of `names` (a JSON list).
CREATE TABLE certificates (
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  names TEXT NOT NULL,
  issuer TEXT NOT NULL,
  chain TEXT NOT NULL,
  key BLOB NOT NULL,
  not_before TEXT NOT NULL,
  not_after TEXT NOT NULL,
  -- Of the CA: where it came from, when the next one is due, and when the CA is asked again whether that has changed.
  directory TEXT,
  renew_at TEXT,
  ask_at TEXT,
  -- Of an own certificate: whose it is.
  app INTEGER REFERENCES apps (id) ON DELETE CASCADE,
  PRIMARY KEY (name, source)
) STRICT, WITHOUT ROWID;

-- Certificates on their way.
CREATE TABLE certificate_orders (
  name TEXT PRIMARY KEY,
  names TEXT NOT NULL,
  -- due, placed, answered, finalized
  step TEXT NOT NULL,
  directory TEXT,
  url TEXT,
  key BLOB,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at TEXT NOT NULL,
  last_error TEXT,
  -- Whether the certificate before is to be revoked once this one serves.
  revoke INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Replaced certificates that the CA has still to be told of.
CREATE TABLE revocations (
  id INTEGER PRIMARY KEY,
  directory TEXT NOT NULL,
  chain TEXT NOT NULL,
  next_at TEXT NOT NULL
) STRICT;

-- Records that were put into the DNS for a challenge and have still to be taken out.
CREATE TABLE challenge_records (
  fqdn TEXT NOT NULL,
  value TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (fqdn, value)
) STRICT, WITHOUT ROWID;
