-- Version 2. Never edited: a change is a new file.
-- Money out, money beyond what was sold, and calls whose payment is held.
-- Kinds of transfers from here on: 6 excess, 7 payout, 8 fee of a payout.

-- Calls and passes: the part of the balance that is not for sale. Balances: all that was ever
-- received beyond what was sold.
ALTER TABLE claims ADD COLUMN excess INTEGER NOT NULL DEFAULT 0;

-- What a payment brought in all, where that was more than was sold: before its claim and after.
CREATE TABLE received (
    payment_hash BLOB PRIMARY KEY,
    msat         INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every payout there ever was: one outgoing invoice is never paid for two of them.
CREATE TABLE payouts (
    number           INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE,
    payment_hash     BLOB NOT NULL,
    destination_hash BLOB NOT NULL UNIQUE,
    bolt11           TEXT NOT NULL,
    backend          TEXT NOT NULL,
    amount           INTEGER NOT NULL,
    max_fee          INTEGER NOT NULL,
    fee              INTEGER,           -- what the node said, once it is paid
    sold             INTEGER NOT NULL,  -- reserved of what was sold
    excess           INTEGER NOT NULL,  -- reserved of the excess
    calls            INTEGER NOT NULL,  -- unused calls that go with it
    asked_by         INTEGER NOT NULL,  -- 1 holder, 2 operator
    state            INTEGER NOT NULL,  -- 1 open, 2 paid, 3 failed
    asked_at         INTEGER NOT NULL,
    ended_at         INTEGER
) STRICT;
CREATE INDEX payouts_open ON payouts (state) WHERE state = 1;
CREATE INDEX payouts_paid ON payouts (ended_at) WHERE state = 2;
CREATE INDEX payouts_account ON payouts (payment_hash, asked_at);

-- Requests that are served while their payment is held: kind 1 (single) of terms.
CREATE TABLE held_calls (
    payment_hash BLOB PRIMARY KEY,
    token_id     BLOB NOT NULL,
    key_epoch    INTEGER NOT NULL,
    amount       INTEGER NOT NULL,
    route        TEXT NOT NULL,
    methods      INTEGER NOT NULL,
    request      BLOB,
    terms_epoch  INTEGER NOT NULL,
    valid_for    BLOB NOT NULL,
    claim_by     INTEGER NOT NULL,
    digest       BLOB NOT NULL,
    backend      TEXT NOT NULL,
    state        INTEGER NOT NULL,  -- 1 offered, 2 running, 3 answered, 4 settled, 5 canceled
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    bytes        INTEGER NOT NULL   -- of the request as it was offered
) STRICT, WITHOUT ROWID;
CREATE INDEX held_calls_open ON held_calls (state) WHERE state < 4;
CREATE INDEX held_calls_ended ON held_calls (ended_at) WHERE state >= 4;

-- What is long of a held call: its rows come and go on their own.
CREATE TABLE held_bodies (
    payment_hash BLOB NOT NULL,
    part         INTEGER NOT NULL,  -- 1 request, 2 answer
    body         BLOB NOT NULL,
    PRIMARY KEY (payment_hash, part)
) STRICT;

-- How far the settlements of each backend were read: 64 bits.
CREATE TABLE settlement_cursors (
    name   TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
