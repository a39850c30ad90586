-- What belongs to an account besides its keys. Times are whole seconds since 1970.

CREATE TABLE ssh_keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- SHA-256 of the key itself, without its comment
  fingerprint BLOB NOT NULL,
  key TEXT NOT NULL,
  UNIQUE (user, fingerprint)
) STRICT;

-- A wish for another address. `hash` is of the token mailed to the new one, `revoke_hash` of the old one's, which stays
-- good for a while after the change.
CREATE TABLE email_changes (
  hash BLOB PRIMARY KEY,
  revoke_hash BLOB NOT NULL UNIQUE,
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  previous TEXT NOT NULL,
  next TEXT NOT NULL,
  confirm_until INTEGER NOT NULL,
  revoke_until INTEGER NOT NULL,
  confirmed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX email_changes_of_user ON email_changes (user);

CREATE TABLE payment_methods (
  user INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- sealed
  token BLOB NOT NULL
) STRICT;

-- Begun by `active` = 0; `last_step` is the newest TOTP step that was used, so that none is used twice.
CREATE TABLE mfa (
  user INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- sealed
  secret BLOB NOT NULL,
  active INTEGER NOT NULL DEFAULT 0,
  last_step INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_codes (
  user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  hash BLOB NOT NULL,
  PRIMARY KEY (user, hash)
) STRICT, WITHOUT ROWID;
