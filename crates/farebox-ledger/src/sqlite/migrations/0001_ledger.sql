-- Version 1. Never edited: a change is a new file.
-- Money is in msat, instants in milliseconds since the Unix epoch.

-- Every account, payers' and the house's: what changes with every request, and nothing else.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    balance       INTEGER NOT NULL,
    calls_used    INTEGER NOT NULL DEFAULT 0,
    voids         INTEGER NOT NULL DEFAULT 0,
    last_transfer BLOB            -- head of the chain of its transfers
) STRICT;

-- lightning, revenue:<route>, breakage, seller_loss
CREATE TABLE house (
    account INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE
) STRICT;

-- What a payer's account was sold: written at the first claim.
CREATE TABLE claims (
    account      INTEGER PRIMARY KEY,
    payment_hash BLOB NOT NULL UNIQUE,
    key_epoch    INTEGER NOT NULL,
    amount       INTEGER NOT NULL,
    kind         INTEGER NOT NULL,  -- 1 single, 2 calls, 3 pass, 4 balance
    calls        INTEGER,           -- of kind 2; 1 for kind 1
    span         BLOB,              -- of kind 3
    route        TEXT NOT NULL,
    methods      INTEGER NOT NULL,  -- 1 read, 2 write, 3 any
    request      BLOB,              -- digest, where bound to one request
    terms_epoch  INTEGER NOT NULL,
    valid_for    BLOB NOT NULL,     -- 8 bytes of seconds, 4 of nanoseconds
    claim_by     INTEGER NOT NULL,
    claimed_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;

-- Append-only. previous links the transfers that concern one payer's account, latest first.
CREATE TABLE transfers (
    id       BLOB PRIMARY KEY,
    debit    INTEGER NOT NULL,
    credit   INTEGER NOT NULL,
    msat     INTEGER NOT NULL CHECK (msat >= 0),
    kind     INTEGER NOT NULL,  -- 1 claim, 2 settle, 3 pass, 4 seller loss, 5 summary
    at       INTEGER NOT NULL,
    previous BLOB
) STRICT, WITHOUT ROWID;

-- Open requests only: a row goes when its hold ends.
CREATE TABLE holds (
    number      INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    account     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,  -- the run of the process that owns it
    msat        INTEGER NOT NULL,
    progress    INTEGER,           -- the most recorded as used: what recovery charges
    once_key    BLOB,
    once_digest BLOB
) STRICT;

-- Settled requests that a retry must not pay again.
CREATE TABLE retries (
    account    INTEGER NOT NULL,
    key        BLOB NOT NULL,
    digest     BLOB NOT NULL,
    hold       BLOB NOT NULL,
    charged    INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

-- Payments whose accounts were pruned: they buy nothing again.
CREATE TABLE spent (
    payment_hash BLOB PRIMARY KEY,
    key_epoch    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Payments revoked before their first claim.
CREATE TABLE revoked (
    payment_hash BLOB PRIMARY KEY,
    revoked_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counted up at each start.
CREATE TABLE process (
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO process (epoch) VALUES (0);
