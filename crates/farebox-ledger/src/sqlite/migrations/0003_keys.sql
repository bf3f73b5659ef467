-- Version 3. Never edited: a change is a new file.
-- Prepaid keys. Kinds of transfers from here on: 9 deposit.

-- A key's account: what a claim is to the account of a payment.
CREATE TABLE keys (
    account    INTEGER PRIMARY KEY,
    key_hash   BLOB NOT NULL UNIQUE,  -- SHA-256 of its secret
    public_id  TEXT NOT NULL UNIQUE,
    parent     INTEGER,               -- account of the key whose money it spends
    note       TEXT,
    created_at INTEGER NOT NULL,
    funded_at  INTEGER,               -- its first deposit
    revoked_at INTEGER,
    -- What it may spend, and on what; NULL is no limit.
    total      INTEGER,
    per_day    INTEGER,
    routes     TEXT,                  -- one a line
    models     TEXT,                  -- one a line
    expires_at INTEGER
) STRICT;
CREATE INDEX keys_parent ON keys (parent) WHERE parent IS NOT NULL;

-- Every deposit there ever was: a payment is credited once.
CREATE TABLE deposits (
    payment_hash BLOB PRIMARY KEY,
    account      INTEGER NOT NULL,
    msat         INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deposits_account ON deposits (account);

-- Invoices for keys that wait to be paid.
CREATE TABLE pending_deposits (
    payment_hash BLOB PRIMARY KEY,
    account      INTEGER NOT NULL,
    msat         INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_deposits_account ON pending_deposits (account);

-- What was charged for the requests of each key, by the day of UTC on which they were admitted;
-- on a parent, for its children's too. All days together are what it spent.
CREATE TABLE key_days (
    account INTEGER NOT NULL,
    day     INTEGER NOT NULL,  -- since the Unix epoch
    msat    INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

-- Of holds on the money of a key: which key asked, which route earns, and on which day it counts.
ALTER TABLE holds ADD COLUMN asker INTEGER;
ALTER TABLE holds ADD COLUMN route TEXT;
ALTER TABLE holds ADD COLUMN day INTEGER;
