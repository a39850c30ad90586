-- Whose a key is, at every ssh connection.
CREATE INDEX ssh_keys_by_fingerprint ON ssh_keys (fingerprint);
