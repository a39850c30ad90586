-- What an app's people have decided about the requests of its visitors. NULL: nothing.
CREATE TABLE router_rules (
  app INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
  connections INTEGER,
  body_bytes INTEGER,
  affinity INTEGER NOT NULL DEFAULT 0,
  canonical TEXT,
  access_log INTEGER NOT NULL DEFAULT 0,
  maintenance_page TEXT
) STRICT;
