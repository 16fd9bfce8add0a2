-- +goose Up
CREATE TABLE facts ( -- records of accepted reports that the timeline of a ledger shows, as they stand
    origin TEXT   NOT NULL,
    record BIGINT NOT NULL,
    kind   TEXT   NOT NULL, -- the first word of the record
    begins BIGINT NOT NULL, -- seconds since 1970 UTC: of the record, or of its window
    ends   BIGINT NOT NULL, -- likewise; where it has no length, as begins
    line   TEXT   NOT NULL,
    upload TEXT   NOT NULL,
    PRIMARY KEY (origin, record)
);
CREATE INDEX facts_by ON facts (origin, ends);

-- +goose Down
DROP TABLE facts;
