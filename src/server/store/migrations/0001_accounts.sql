-- Times are whole seconds since 1970, as they are compared with now.
-- What is a secret is here only as a hash.

CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_of_user ON api_keys (user, id);

-- A signup on its way. `code_hash` is NULL when the address has an account already: no code can be right then.
CREATE TABLE signups (
  uuid TEXT PRIMARY KEY,
  email TEXT NOT NULL,
  code_hash BLOB,
  code_expires_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  confirmed INTEGER NOT NULL DEFAULT 0,
  password_hash TEXT,
  begun_at INTEGER NOT NULL
) STRICT;
CREATE INDEX signups_of_email ON signups (email);

CREATE TABLE password_resets (
  hash BLOB PRIMARY KEY,
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
