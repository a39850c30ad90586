-- A job whose program a person starts at a terminal, and which ends with their visit.
ALTER TABLE jobs ADD COLUMN attended INTEGER NOT NULL DEFAULT 0;
