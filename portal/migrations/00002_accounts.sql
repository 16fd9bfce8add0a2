-- Who may use the portal. No secret stands here as it is, except what signs one-time
-- codes (users.totp): passwords are argon2id, links, sessions, tokens and recovery
-- codes are SHA-256 of random ones.

-- +goose Up
CREATE TABLE users (
    id        TEXT   NOT NULL PRIMARY KEY,
    email     TEXT   NOT NULL UNIQUE, -- lower case
    name      TEXT   NOT NULL,
    role      TEXT   NOT NULL, -- admin, staff, billing, viewer, customer
    customer  TEXT   NOT NULL, -- of role customer: the one he belongs to; else empty
    password  TEXT   NOT NULL, -- PHC string of argon2id; empty: none, so he cannot sign in with one
    totp      TEXT   NOT NULL, -- secret of one-time codes, base32; empty: none
    totp_step BIGINT NOT NULL, -- newest step whose code was used: a code works once
    disabled  BIGINT NOT NULL, -- when; 0: he is not
    created   BIGINT NOT NULL,
    seen      BIGINT NOT NULL  -- last sign-in; 0: never
);
CREATE TABLE user_links ( -- one-time links: invitations and resets; one per user
    user_id TEXT   NOT NULL PRIMARY KEY,
    hash    TEXT   NOT NULL,
    expires BIGINT NOT NULL
);
CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL,
    hash    TEXT NOT NULL,
    PRIMARY KEY (user_id, hash)
);
CREATE TABLE passkeys (
    id      TEXT   NOT NULL PRIMARY KEY, -- credential id, base64
    user_id TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    body    TEXT   NOT NULL, -- JSON: public key, counter, flags
    created BIGINT NOT NULL,
    used    BIGINT NOT NULL
);
CREATE INDEX passkeys_of ON passkeys (user_id);
CREATE TABLE sessions (
    hash    TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of the cookie's value
    id      TEXT   NOT NULL,
    user_id TEXT   NOT NULL, -- empty: nobody yet, a sign-in is under way
    state   TEXT   NOT NULL, -- open: signed in; anything else: a step of signing in
    data    TEXT   NOT NULL, -- what that step has to remember, JSON
    created BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    ends    BIGINT NOT NULL, -- whatever happens
    address TEXT   NOT NULL,
    agent   TEXT   NOT NULL
);
CREATE INDEX sessions_of ON sessions (user_id);
CREATE INDEX sessions_ends ON sessions (ends);
CREATE TABLE tokens ( -- of the API
    id      TEXT   NOT NULL PRIMARY KEY,
    hash    TEXT   NOT NULL UNIQUE,
    user_id TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    scopes  TEXT   NOT NULL, -- rights with commas between them; empty: all of the user's
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL, -- 0: never
    used    BIGINT NOT NULL
);
CREATE INDEX tokens_of ON tokens (user_id);
CREATE TABLE attempts ( -- sign-ins that failed, of an account or an address
    subject  TEXT   NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    until    BIGINT NOT NULL -- no other attempt before
);

-- +goose Down
DROP TABLE attempts;
DROP TABLE tokens;
DROP TABLE sessions;
DROP TABLE passkeys;
DROP TABLE recovery_codes;
DROP TABLE user_links;
DROP TABLE users;
