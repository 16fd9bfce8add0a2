-- Statements in a customer's time zone, and findings on accepted usage.

-- +goose Up
ALTER TABLE customers ADD COLUMN zone TEXT NOT NULL DEFAULT ''; -- IANA name; empty: UTC
CREATE TABLE node_days ( -- derived: who was heard of
    origin TEXT   NOT NULL,
    day    BIGINT NOT NULL, -- days since 1970 UTC
    upload TEXT   NOT NULL,
    nodes  BIGINT NOT NULL, -- how many
    body   TEXT   NOT NULL, -- a line a node: NODE EVENTS, or NODE EVENTS left; the first thousand
    PRIMARY KEY (origin, day, upload)
);
CREATE TABLE arrivals ( -- derived: the time of a report beside its own
    origin   TEXT   NOT NULL,
    upload   TEXT   NOT NULL,
    received BIGINT NOT NULL,
    latest   BIGINT NOT NULL, -- newest time that the site states
    behind   BIGINT NOT NULL, -- seconds that a time of the site's is before one of ours that it quotes
    PRIMARY KEY (origin, upload)
);
CREATE TABLE findings ( -- derived: what is odd
    id       TEXT   NOT NULL PRIMARY KEY, -- of origin, kind, subject and first step
    origin   TEXT   NOT NULL,
    license  TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    subject  TEXT   NOT NULL, -- meter or node; empty: the ledger
    first    BIGINT NOT NULL, -- seconds since 1970, [first, next)
    next     BIGINT NOT NULL,
    body     TEXT   NOT NULL, -- JSON: the numbers and the evidence
    found    BIGINT NOT NULL  -- when the report came that it was first found in
);
CREATE INDEX findings_of ON findings (origin, first);
CREATE INDEX findings_by ON findings (next, id);
CREATE TABLE finding_notes ( -- what staff found out
    finding TEXT   NOT NULL PRIMARY KEY,
    text    TEXT   NOT NULL,
    upto    BIGINT NOT NULL, -- next of the finding then
    actor   TEXT   NOT NULL,
    time    BIGINT NOT NULL
);

-- +goose Down
DROP TABLE finding_notes;
DROP TABLE findings;
DROP TABLE arrivals;
DROP TABLE node_days;
ALTER TABLE customers DROP COLUMN zone;
