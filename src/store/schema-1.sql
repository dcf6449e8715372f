-- The inventory, version 1. Times are seconds since 1970-01-01 UTC, digests and numbers of X.509 are BLOBs.
-- A change of this file is a new file and a new version.

CREATE TABLE cluster (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    name         TEXT    NOT NULL,
    uuid         BLOB    NOT NULL,
    trust_domain TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    reason   TEXT,
    details  TEXT    NOT NULL,
    previous BLOB    NOT NULL,
    hash     BLOB    NOT NULL
) STRICT;

CREATE TABLE issuer (
    id              INTEGER PRIMARY KEY,
    key_id          BLOB    NOT NULL UNIQUE,
    certificate     BLOB    NOT NULL,
    state           TEXT    NOT NULL,
    next_crl_number INTEGER NOT NULL DEFAULT 1,
    crl_number      INTEGER CHECK (crl_number < next_crl_number),
    crl_this_update INTEGER,
    crl_next_update INTEGER,
    crl_sha256      BLOB,
    CHECK ((crl_number IS NULL) = (crl_this_update IS NULL)
       AND (crl_number IS NULL) = (crl_next_update IS NULL)
       AND (crl_number IS NULL) = (crl_sha256 IS NULL))
) STRICT;

-- A row is reserved until it has an issue_entry, then issued; it is revoked (or on hold) when it has a
-- revoked_at. The entries of the audit chain that tell of these steps come before the row's change;
-- revocation_entry names the last that put it on hold, released or revoked it. (Were they allowed to come
-- later in the transaction, each would make SQLite search this table for them.)
-- Where there is a forget_entry, the private key was delivered and removed here.
CREATE TABLE certificate (
    id                INTEGER PRIMARY KEY,
    issuer            INTEGER NOT NULL REFERENCES issuer,
    serial            BLOB    NOT NULL,
    role              TEXT    NOT NULL,
    name              TEXT    NOT NULL,
    profile           BLOB    NOT NULL,
    certificate_path  BLOB    NOT NULL,
    key_path          BLOB,
    supersedes        INTEGER REFERENCES certificate,
    reserved_at       INTEGER NOT NULL,
    reserve_entry     INTEGER NOT NULL REFERENCES audit,
    not_before        INTEGER,
    not_after         INTEGER,
    fingerprint       BLOB,
    public_key        BLOB,
    issue_entry       INTEGER REFERENCES audit,
    placed            INTEGER NOT NULL DEFAULT 0,
    revoked_at        INTEGER,
    revocation_reason INTEGER,
    revocation_entry  INTEGER REFERENCES audit,
    forget_entry      INTEGER REFERENCES audit,
    UNIQUE (serial, issuer),
    CHECK ((issue_entry IS NULL) = (not_before IS NULL)
       AND (issue_entry IS NULL) = (not_after IS NULL)
       AND (issue_entry IS NULL) = (fingerprint IS NULL)
       AND (issue_entry IS NULL) = (public_key IS NULL)),
    CHECK ((revoked_at IS NULL) = (revocation_reason IS NULL)
       AND (revoked_at IS NULL OR revocation_entry IS NOT NULL)),
    CHECK (issue_entry IS NOT NULL OR revocation_entry IS NULL),
    CHECK (forget_entry IS NULL OR key_path IS NULL),
    CHECK (supersedes < id)
) STRICT;

CREATE INDEX certificate_by_name ON certificate (name, role);
CREATE INDEX certificate_by_expiry ON certificate (not_after)
    WHERE not_after IS NOT NULL AND revoked_at IS NULL;
-- A prefix is enough to find a key, and a quarter of the index; the rest is compared.
CREATE INDEX certificate_by_public_key ON certificate (substr(public_key, 1, 8));
-- A certificate is renewed once: what follows it is one line, never a tree.
CREATE UNIQUE INDEX certificate_successor ON certificate (supersedes)
    WHERE supersedes IS NOT NULL AND issue_entry IS NOT NULL;
-- What a crash may have left half done, until somebody has looked after it: reserved, or issued and not
-- known to be in its place. `placed` is 1 from then on.
CREATE INDEX certificate_pending ON certificate (issue_entry) WHERE placed = 0;
-- All that a CRL says, so that making one never reads the table.
CREATE INDEX certificate_revoked ON certificate (issuer, serial, revoked_at, revocation_reason, not_after)
    WHERE revoked_at IS NOT NULL;

-- Apart from the facts, so that a listing of a million certificates reads a fifth of the file.
CREATE TABLE certificate_der (
    id  INTEGER PRIMARY KEY REFERENCES certificate,
    der BLOB    NOT NULL
) STRICT;
