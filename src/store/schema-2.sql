-- Version 2: organizations, users, sessions and security settings. Times are seconds since 1970-01-01 UTC.
-- Each `entry` names the last audit entry about the row; it comes before the change of the row.
-- A change of this file is a new file and a new version.

CREATE TABLE organization (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    entry      INTEGER NOT NULL REFERENCES audit
) STRICT;

CREATE TABLE user (
    id                   INTEGER PRIMARY KEY,
    organization         INTEGER NOT NULL REFERENCES organization,
    name                 TEXT    NOT NULL,
    role                 TEXT    NOT NULL,
    source               TEXT    NOT NULL,
    password             TEXT,
    password_changed_at  INTEGER,
    must_change_password INTEGER NOT NULL,
    certificate          TEXT,
    certificate_required INTEGER NOT NULL,
    tokens_from          INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    entry                INTEGER NOT NULL REFERENCES audit,
    UNIQUE (organization, name),
    CHECK ((password IS NULL) = (password_changed_at IS NULL)),
    CHECK (certificate_required = 0 OR certificate IS NOT NULL)
) STRICT;

-- A certificate is linked to one account, so that it names one caller.
CREATE UNIQUE INDEX user_by_certificate ON user (certificate) WHERE certificate IS NOT NULL;

-- Failed logins, without audit entries of their own. Users of a directory have no row in `user`.
CREATE TABLE lockout (
    organization INTEGER NOT NULL REFERENCES organization ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    failures     INTEGER NOT NULL,
    locked_until INTEGER,
    attempts     INTEGER NOT NULL,
    PRIMARY KEY (organization, name)
) STRICT, WITHOUT ROWID;

-- One login and the refresh token that continues it. `selector` finds the session by any of its refresh tokens;
-- `secret` is that of the newest one. Both are SHA-256.
CREATE TABLE session (
    id          INTEGER PRIMARY KEY,
    selector    BLOB    NOT NULL UNIQUE,
    secret      BLOB    NOT NULL,
    token_id    BLOB    NOT NULL UNIQUE,
    user        INTEGER NOT NULL REFERENCES user ON DELETE CASCADE,
    certificate BLOB,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX session_by_user ON session (user);

CREATE TABLE security (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    failed_attempts   INTEGER NOT NULL,
    lockout_seconds   INTEGER NOT NULL,
    banner            TEXT    NOT NULL,
    banner_enabled    INTEGER NOT NULL,
    access_seconds    INTEGER NOT NULL,
    refresh_seconds   INTEGER NOT NULL,
    access_maximum    INTEGER NOT NULL,
    refresh_maximum   INTEGER NOT NULL,
    console_seconds   INTEGER NOT NULL,
    entry             INTEGER NOT NULL REFERENCES audit
) STRICT;

-- Failed logins of unknown users since the last audit entry about them.
CREATE TABLE unknown_login (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    attempts INTEGER NOT NULL,
    noted_at INTEGER NOT NULL
) STRICT;
