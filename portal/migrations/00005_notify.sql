-- What the portal tells others, and how it looks. None of it is derived from
-- reports: a backup carries it, Rebuild does not.

-- +goose Up
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE events ( -- what happened, written in the transaction in which it did
    id     TEXT   NOT NULL PRIMARY KEY, -- ascends; webhook-id of every delivery
    time   BIGINT NOT NULL,
    type   TEXT   NOT NULL,
    object TEXT   NOT NULL,
    data   TEXT   NOT NULL -- JSON
);
CREATE TABLE webhooks (
    id      TEXT   NOT NULL PRIMARY KEY,
    url     TEXT   NOT NULL,
    secret  TEXT   NOT NULL, -- whsec_…
    types   TEXT   NOT NULL, -- JSON: list; empty: all
    state   TEXT   NOT NULL, -- active, off
    note    TEXT   NOT NULL, -- why it was switched off
    created BIGINT NOT NULL
);
CREATE TABLE deliveries (
    id       TEXT   NOT NULL PRIMARY KEY,
    webhook  TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    state    TEXT   NOT NULL, -- pending, delivered, failed
    attempts BIGINT NOT NULL,
    due      BIGINT NOT NULL, -- of the next attempt
    claimed  BIGINT NOT NULL, -- a process is at it until then
    status   BIGINT NOT NULL, -- HTTP status of the last attempt; 0: none came
    answer   TEXT   NOT NULL, -- begin of the answer, or what went wrong
    ended    BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (state, due);
CREATE INDEX deliveries_of ON deliveries (webhook, id);
CREATE TABLE mails (
    id       TEXT   NOT NULL PRIMARY KEY,
    address  TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    state    TEXT   NOT NULL, -- pending, sent, failed
    attempts BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    claimed  BIGINT NOT NULL,
    error    TEXT   NOT NULL,
    created  BIGINT NOT NULL
);
CREATE INDEX mails_due ON mails (state, due);
CREATE TABLE reminded ( -- what somebody was reminded of, each once
    what TEXT   NOT NULL PRIMARY KEY, -- origin, code, date, days before
    time BIGINT NOT NULL
);

-- +goose Down
DROP TABLE reminded;
DROP TABLE mails;
DROP TABLE deliveries;
DROP TABLE webhooks;
DROP TABLE events;
DROP TABLE settings;
