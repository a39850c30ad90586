-- Whether an app's replicas are spoken to by HTTP/2 without TLS.
ALTER TABLE router_rules ADD COLUMN h2c INTEGER NOT NULL DEFAULT 0;
