-- Version 2: a private key that was delivered need not be kept. Its key_path is gone then, and the entry of the
-- audit chain that tells of it is named.
ALTER TABLE certificate ADD COLUMN key_forgotten_entry INTEGER REFERENCES audit DEFERRABLE INITIALLY DEFERRED;
