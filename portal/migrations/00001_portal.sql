-- One schema for SQLite and PostgreSQL: TEXT and BIGINT only. Times are seconds
-- since 1970 UTC, yes and no are 1 and 0, signed notes stand as they are.

-- +goose Up
CREATE TABLE products (
    id           TEXT   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL,
    product_line TEXT   NOT NULL,
    min_version  TEXT   NOT NULL, -- floor for site programs; empty: none
    created      BIGINT NOT NULL
);
CREATE TABLE product_lines ( -- meters and features of a product, as lines of a license
    product TEXT NOT NULL,
    kind    TEXT NOT NULL, -- meter, feature
    name    TEXT NOT NULL,
    line    TEXT NOT NULL, -- what follows the kind
    PRIMARY KEY (product, kind, name)
);
CREATE TABLE policies (
    name    TEXT   NOT NULL PRIMARY KEY,
    body    TEXT   NOT NULL, -- JSON
    created BIGINT NOT NULL
);
CREATE TABLE customers (
    id      TEXT   NOT NULL PRIMARY KEY,
    name    TEXT   NOT NULL,
    created BIGINT NOT NULL
);
CREATE TABLE licenses (
    id          TEXT   NOT NULL PRIMARY KEY,
    customer    TEXT   NOT NULL,
    product     TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- active, suspended, revoked
    terms       TEXT   NOT NULL, -- the unbound license, signed
    rules       TEXT   NOT NULL, -- JSON: what no document says
    created     BIGINT NOT NULL,
    activations BIGINT NOT NULL, -- ever made
    transfers   BIGINT NOT NULL, -- of them
    version     BIGINT NOT NULL  -- rises with each change; whoever changes it holds the row
);
CREATE TABLE documents ( -- every license note that was signed
    digest  TEXT   NOT NULL PRIMARY KEY, -- H(note)
    license TEXT   NOT NULL,
    origin  TEXT   NOT NULL, -- empty: unbound
    serial  BIGINT NOT NULL,
    issued  BIGINT NOT NULL,
    note    TEXT   NOT NULL
);
CREATE INDEX documents_of ON documents (license, origin, serial);
CREATE TABLE ledgers (
    origin      TEXT   NOT NULL PRIMARY KEY,
    license     TEXT   NOT NULL,
    label       TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- active, retired, released
    approval    TEXT   NOT NULL, -- empty, pending, refused
    vkeys       TEXT   NOT NULL, -- JSON: site, then site-pq
    rotated     TEXT   NOT NULL, -- JSON: earlier ones
    bindings    TEXT   NOT NULL, -- JSON: name to hash
    variables   TEXT   NOT NULL, -- JSON: device variables by name
    credits     TEXT   NOT NULL, -- JSON
    size        BIGINT NOT NULL, -- newest accepted
    root        TEXT   NOT NULL,
    until       BIGINT NOT NULL, -- windows closed in it
    serial      BIGINT NOT NULL, -- newest license issued; 0: none
    in_force    BIGINT NOT NULL, -- serial that the site named in its last report
    report_by   BIGINT NOT NULL, -- 0: none is due
    license_end BIGINT NOT NULL, -- of the newest license; 0: never
    own_end     BIGINT NOT NULL, -- end set by a renewal or a transfer; 0: by the rules
    supersedes  TEXT   NOT NULL,
    activated   BIGINT NOT NULL,
    ended       BIGINT NOT NULL, -- retired or released; 0: no
    version     BIGINT NOT NULL  -- rises with each change; whoever changes it holds the row
);
CREATE INDEX ledgers_of ON ledgers (license);
CREATE TABLE uploads ( -- every file that came, also refused ones
    id        TEXT   NOT NULL PRIMARY KEY,
    origin    TEXT   NOT NULL, -- empty: tied to no ledger
    file      TEXT   NOT NULL, -- SHA-256 of the file, hex: its name under uploads/
    report    TEXT   NOT NULL, -- SHA-256 of the text, base64; empty: unknown
    bytes     BIGINT NOT NULL,
    received  BIGINT NOT NULL,
    actor     TEXT   NOT NULL,
    label     TEXT   NOT NULL,
    code      TEXT   NOT NULL, -- ok, explain, duplicate, or major/minor of a refusal
    base      BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    answer    TEXT   NOT NULL, -- JSON, as it was given
    reply     TEXT   NOT NULL  -- the document that went back; empty: none
);
CREATE INDEX uploads_of ON uploads (origin, received);
CREATE INDEX uploads_file ON uploads (file);
CREATE TABLE receipts ( -- every accepted checkpoint
    origin     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    root       TEXT   NOT NULL,
    note       TEXT   NOT NULL, -- countersigned; empty: accepted on an older receipt
    time       BIGINT NOT NULL, -- of the cosignature
    digest     TEXT   NOT NULL, -- of the cosignature
    acceptance TEXT   NOT NULL,
    report     TEXT   NOT NULL, -- SHA-256 of the text
    upload     TEXT   NOT NULL,
    PRIMARY KEY (origin, size)
);
CREATE TABLE spans ( -- records that are booked, each once
    origin TEXT   NOT NULL,
    first  BIGINT NOT NULL,
    next   BIGINT NOT NULL,
    upload TEXT   NOT NULL,
    PRIMARY KEY (origin, first)
);
CREATE TABLE usage_days (
    origin       TEXT   NOT NULL,
    meter        TEXT   NOT NULL,
    day          BIGINT NOT NULL, -- days since 1970 UTC, the one on which it was booked
    upload       TEXT   NOT NULL,
    aggregation  TEXT   NOT NULL,
    events       BIGINT NOT NULL,
    value        BIGINT NOT NULL,
    late         BIGINT NOT NULL, -- the part of value of windows closed before
    adjusted     BIGINT NOT NULL,
    over         BIGINT NOT NULL,
    latest       BIGINT NOT NULL, -- end of the newest window in it
    first_record BIGINT NOT NULL,
    last_record  BIGINT NOT NULL,
    PRIMARY KEY (origin, meter, day, upload)
);
CREATE INDEX usage_days_by ON usage_days (day);
CREATE TABLE seat_days ( -- pools of floating seats, likewise
    origin       TEXT   NOT NULL,
    pool         TEXT   NOT NULL,
    day          BIGINT NOT NULL,
    upload       TEXT   NOT NULL,
    peak         BIGINT NOT NULL,
    seconds      BIGINT NOT NULL,
    denied       BIGINT NOT NULL,
    first_record BIGINT NOT NULL,
    last_record  BIGINT NOT NULL,
    PRIMARY KEY (origin, pool, day, upload)
);
CREATE INDEX seat_days_by ON seat_days (day);
CREATE TABLE trials ( -- what has used its trial: site keys and sets of bindings
    holder  TEXT   NOT NULL PRIMARY KEY,
    license TEXT   NOT NULL,
    time    BIGINT NOT NULL
);
CREATE TABLE codes ( -- initialization codes
    code    TEXT   NOT NULL PRIMARY KEY, -- hex
    license TEXT   NOT NULL,
    expires BIGINT NOT NULL,
    origin  TEXT   NOT NULL, -- of the ledger that used it; empty: not used
    answer  TEXT   NOT NULL  -- the confirmation code that it was answered with
);
CREATE TABLE alerts (
    id         TEXT   NOT NULL PRIMARY KEY,
    origin     TEXT   NOT NULL,
    license    TEXT   NOT NULL,
    upload     TEXT   NOT NULL,
    code       TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    evidence   TEXT   NOT NULL, -- file under evidence/; empty: none
    opened     BIGINT NOT NULL,
    resolved   BIGINT NOT NULL, -- 0: open
    resolution TEXT   NOT NULL,
    actor      TEXT   NOT NULL
);
CREATE INDEX alerts_of ON alerts (origin, code);
CREATE TABLE audit (
    id     TEXT   NOT NULL PRIMARY KEY, -- ascends
    time   BIGINT NOT NULL,
    actor  TEXT   NOT NULL,
    action TEXT   NOT NULL,
    object TEXT   NOT NULL,
    before TEXT   NOT NULL,
    after  TEXT   NOT NULL
);

-- +goose Down
DROP TABLE audit;
DROP TABLE alerts;
DROP TABLE codes;
DROP TABLE trials;
DROP TABLE seat_days;
DROP TABLE usage_days;
DROP TABLE spans;
DROP TABLE receipts;
DROP TABLE uploads;
DROP TABLE ledgers;
DROP TABLE documents;
DROP TABLE licenses;
DROP TABLE customers;
DROP TABLE policies;
DROP TABLE product_lines;
DROP TABLE products;
