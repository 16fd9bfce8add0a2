-- What two administrators have to ask for, while one of them has.

-- +goose Up
CREATE TABLE requests (
    id        TEXT   NOT NULL PRIMARY KEY, -- ascends
    action    TEXT   NOT NULL, -- announce, rotate, revoke: of keys
    body      TEXT   NOT NULL, -- JSON: what is asked
    asked_by  TEXT   NOT NULL, -- address of the first
    asked     BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    state     TEXT   NOT NULL, -- open, done, withdrawn
    closed_by TEXT   NOT NULL, -- address of the second, or of who withdrew it; empty: open
    closed    BIGINT NOT NULL
);
CREATE INDEX requests_open ON requests (state, expires);

-- +goose Down
DROP TABLE requests;
