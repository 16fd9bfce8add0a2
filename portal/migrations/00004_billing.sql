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
CREATE TABLE statements ( -- drafts, and what was approved
    id          TEXT   NOT NULL PRIMARY KEY, -- ascends
    number      TEXT   NOT NULL, -- of an approved one; empty: a draft
    customer    TEXT   NOT NULL,
    license     TEXT   NOT NULL, -- empty: all
    meter       TEXT   NOT NULL, -- empty: all, pools of seats too
    zone        TEXT   NOT NULL, -- IANA name
    period      TEXT   NOT NULL,
    first_day   TEXT   NOT NULL, -- days of the zone, [first_day, next_day)
    next_day    TEXT   NOT NULL,
    starts      BIGINT NOT NULL, -- the same as seconds
    ends        BIGINT NOT NULL,
    corrects    TEXT   NOT NULL, -- number of the one that this takes the place of; empty: none
    credits     TEXT   NOT NULL, -- JSON
    created     BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    approved    BIGINT NOT NULL, -- 0: a draft
    approved_by TEXT   NOT NULL,
    document    TEXT   NOT NULL, -- JSON, frozen; empty: a draft
    sha256      TEXT   NOT NULL, -- of document, hex
    version     BIGINT NOT NULL  -- rises with each change; whoever changes it holds the row
);
CREATE INDEX statements_of ON statements (customer, starts);
CREATE INDEX statements_number ON statements (number);
CREATE TABLE statement_numbers ( -- the last one of each year; whoever takes one holds the row
    year  TEXT   NOT NULL PRIMARY KEY,
    last  BIGINT NOT NULL
);

-- +goose Down
DROP TABLE statement_numbers;
DROP TABLE statements;
DROP TABLE finding_notes;
DROP TABLE findings;
DROP TABLE arrivals;
DROP TABLE node_days;
ALTER TABLE customers DROP COLUMN zone;
