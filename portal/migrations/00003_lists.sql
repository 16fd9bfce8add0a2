-- What lists and charts read instead of signed notes and whole reports. All of it
-- is derived: from the terms of licenses, and from usage_days.

-- +goose Up
ALTER TABLE licenses ADD COLUMN ends BIGINT NOT NULL DEFAULT -1; -- of the terms; 0: never; -1: not derived yet
ALTER TABLE licenses ADD COLUMN grace BIGINT NOT NULL DEFAULT 0; -- report-grace of the terms, seconds
ALTER TABLE usage_days ADD COLUMN slots TEXT NOT NULL DEFAULT ''; -- the day by quarters of an hour, see portal/slots.go; empty: unknown
CREATE TABLE usage_totals ( -- usage_days of all ledgers together
    meter       TEXT   NOT NULL,
    aggregation TEXT   NOT NULL,
    day         BIGINT NOT NULL,
    events      BIGINT NOT NULL,
    value       BIGINT NOT NULL,
    late        BIGINT NOT NULL,
    adjusted    BIGINT NOT NULL,
    over        BIGINT NOT NULL,
    latest      BIGINT NOT NULL,
    slots       TEXT   NOT NULL,
    version     BIGINT NOT NULL, -- rises with each change; whoever changes it holds the row
    PRIMARY KEY (meter, aggregation, day)
);
CREATE TABLE usage_months ( -- usage_days of a ledger by UTC month, of meters whose values add up
    meter  TEXT   NOT NULL,
    month  BIGINT NOT NULL, -- 12 times the year, and the month from 0
    origin TEXT   NOT NULL,
    used   BIGINT NOT NULL, -- corrections included
    PRIMARY KEY (meter, month, origin)
);
CREATE INDEX usage_days_meter ON usage_days (meter, day, origin, value, adjusted);
CREATE INDEX customers_by_name ON customers (LOWER(name), id);
CREATE INDEX licenses_list ON licenses (created, id);
CREATE INDEX licenses_of ON licenses (customer, created, id);
CREATE INDEX licenses_end ON licenses (ends);
CREATE INDEX ledgers_list ON ledgers (activated, origin);
CREATE INDEX ledgers_due ON ledgers (state, report_by);
CREATE INDEX ledgers_end ON ledgers (state, license_end);
CREATE INDEX uploads_list ON uploads (id, code, origin);
CREATE INDEX uploads_code ON uploads (origin, code, received);
CREATE INDEX uploads_received ON uploads (received, code);
CREATE INDEX alerts_license ON alerts (license, resolved);
CREATE INDEX alerts_open ON alerts (resolved, id);
CREATE INDEX audit_of ON audit (object, id);

-- +goose Down
DROP INDEX audit_of;
DROP INDEX alerts_open;
DROP INDEX alerts_license;
DROP INDEX uploads_received;
DROP INDEX uploads_code;
DROP INDEX uploads_list;
DROP INDEX ledgers_end;
DROP INDEX ledgers_due;
DROP INDEX ledgers_list;
DROP INDEX licenses_end;
DROP INDEX licenses_of;
DROP INDEX licenses_list;
DROP INDEX customers_by_name;
DROP INDEX usage_days_meter;
DROP TABLE usage_months;
DROP TABLE usage_totals;
ALTER TABLE usage_days DROP COLUMN slots;
ALTER TABLE licenses DROP COLUMN grace;
ALTER TABLE licenses DROP COLUMN ends;
