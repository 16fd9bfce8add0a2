-- What the API remembers of requests, for a day. None of it is a record of
-- anything: backups need not have it, and a rebuilt database has none.

-- +goose Up
CREATE TABLE once ( -- requests that are answered once
    holder  TEXT   NOT NULL, -- the user who sent it
    key     TEXT   NOT NULL, -- that he gave it
    request TEXT   NOT NULL, -- SHA-256 of method, address and body, hex
    begun   BIGINT NOT NULL,
    state   TEXT   NOT NULL, -- begun, answered, secret, lost
    answer  TEXT   NOT NULL, -- JSON; empty unless it is answered
    PRIMARY KEY (holder, key)
);
CREATE INDEX once_by ON once (begun);
CREATE TABLE upload_progress ( -- how far uploads are that their senders gave a name
    holder   TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    state    TEXT   NOT NULL, -- receiving, verifying, done, failed
    received BIGINT NOT NULL, -- bytes
    records  BIGINT NOT NULL, -- verified
    report   TEXT   NOT NULL, -- id of the upload it came to; empty: none yet
    code     TEXT   NOT NULL,
    changed  BIGINT NOT NULL,
    PRIMARY KEY (holder, id)
);
CREATE INDEX upload_progress_by ON upload_progress (changed);

-- +goose Down
DROP TABLE upload_progress;
DROP TABLE once;
