-- Version 4: directories (LDAP) of organizations, and the entry of a directory that an account stands for.
-- A change of this file is a new file and a new version.

-- `reader_password` is encrypted under the key `ldap.key` of the home.
CREATE TABLE ldap (
    organization    INTEGER PRIMARY KEY REFERENCES organization,
    settings        TEXT    NOT NULL,
    reader_password BLOB    NOT NULL,
    entry           INTEGER NOT NULL REFERENCES audit
) STRICT;

-- SHA-256 of what identifies the entry; another value revokes the tokens of the account.
ALTER TABLE user ADD COLUMN ldap_entry BLOB;
