-- Version 5: requests with an `Idempotency-Key`, and their results. A change of this file is a new file and a new version.

-- `id` is the SHA-256 of caller, endpoint and key. A request without a result was begun and has not ended.
CREATE TABLE request (
    id       BLOB    PRIMARY KEY,
    body     BLOB    NOT NULL,
    begun_at INTEGER NOT NULL,
    result   TEXT
) STRICT, WITHOUT ROWID;
