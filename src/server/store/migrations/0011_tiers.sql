-- Where use has a price a person may sign up with a payment service's token, which is sealed.
ALTER TABLE users ADD COLUMN tier TEXT NOT NULL DEFAULT 'FREE' CHECK (tier IN ('FREE', 'STANDARD'));
ALTER TABLE signups ADD COLUMN payment BLOB;
