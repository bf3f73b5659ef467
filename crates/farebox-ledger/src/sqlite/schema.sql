-- The one form of a ledger that this version reads and writes. Money is in msat, instants in
-- milliseconds since the Unix epoch.

-- Every account, payers' and the house's: what changes with every request, and nothing else.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    balance       INTEGER NOT NULL,
    calls_used    INTEGER NOT NULL DEFAULT 0,
    voids         INTEGER NOT NULL DEFAULT 0,
    last_transfer BLOB            -- head of the chain of its transfers
) STRICT;

-- A clearing account for each rail, revenue:<route>, owed:<rail>, withdrawn:<rail>, seller_loss,
-- lightning_fees, mint_fees
CREATE TABLE house (
    account INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE
) STRICT;

-- Whatever a payment or a key has become: one row for each name, for ever.
CREATE TABLE names (
    name        BLOB PRIMARY KEY,
    state       INTEGER NOT NULL,  -- 0 nothing yet, 1 account of a payment, 2 of a key,
                                   -- 3 waits to be paid for a key, 4 was paid for a key, 5 spent
    account     INTEGER,           -- states 1 and 2: its own; 3 and 4: the key's
    msat        INTEGER,           -- states 3 and 4: how much
    at          INTEGER,           -- state 3: until when it can be paid; 4: when it was
    received    INTEGER,           -- what the payment brought in all, where that was noted
    received_at INTEGER,
    revoked_at  INTEGER,           -- before its first claim
    has_call    INTEGER NOT NULL   -- whether there is a held call of it
) STRICT, WITHOUT ROWID;
CREATE INDEX names_of_keys ON names (account) WHERE state IN (3, 4);

-- What a payer's account was sold: written at the first claim.
CREATE TABLE claims (
    account     INTEGER PRIMARY KEY,
    name        BLOB NOT NULL,
    rail        INTEGER NOT NULL,
    key_epoch   INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    kind        INTEGER NOT NULL,  -- 1 single, 2 calls, 3 pass, 4 balance
    calls       INTEGER,           -- of kind 2; 1 for kind 1
    span        BLOB,              -- of kind 3
    route       TEXT NOT NULL,
    methods     INTEGER NOT NULL,  -- 1 read, 2 write, 3 any
    request     BLOB,              -- digest, where bound to one request
    terms_epoch INTEGER NOT NULL,
    valid_for   BLOB NOT NULL,     -- 8 bytes of seconds, 4 of nanoseconds
    claim_by    INTEGER NOT NULL,
    claimed_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER,
    -- Calls and passes: the part of the balance that is not for sale. Balances: all that was ever
    -- received beyond what was sold.
    excess      INTEGER NOT NULL
) STRICT;

-- What a key's account is: what a claim is to the account of a payment.
CREATE TABLE keys (
    account    INTEGER PRIMARY KEY,
    name       BLOB NOT NULL,         -- SHA-256 of its secret
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

-- What was charged for the requests of each key, by the day of UTC on which they were admitted;
-- on a parent, for its children's too. All days together are what it spent.
CREATE TABLE key_days (
    account INTEGER NOT NULL,
    day     INTEGER NOT NULL,  -- since the Unix epoch
    msat    INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

-- Append-only. previous links the transfers that concern one payer's account, latest first.
CREATE TABLE transfers (
    id       BLOB PRIMARY KEY,
    debit    INTEGER NOT NULL,
    credit   INTEGER NOT NULL,
    msat     INTEGER NOT NULL CHECK (msat >= 0),
    kind     INTEGER NOT NULL,  -- 1 claim, 2 settle, 3 pass, 4 seller loss, 5 summary, 6 excess,
                                -- 7 payout, 8 fee of a payout, 9 deposit, 10 change,
                                -- 11 withdrawal, 12 fee of a mint
    at       INTEGER NOT NULL,
    previous BLOB
) STRICT, WITHOUT ROWID;

-- Open requests only: a row goes when its hold ends. What an account has reserved is the sum of them.
CREATE TABLE holds (
    number      INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    account     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,  -- the run of the process that owns it
    msat        INTEGER NOT NULL,
    progress    INTEGER,           -- the most recorded as used: what recovery charges
    once_key    BLOB,
    once_digest BLOB,
    -- On the money of a key: which key asked, which route earns, and on which day it counts.
    asker       INTEGER,
    route       TEXT,
    day         INTEGER,
    basis       TEXT               -- what its price was found by: the rate in one line, then the model
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

-- Every payout there ever was: one outgoing invoice is never paid for two of them.
CREATE TABLE payouts (
    number           INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE,
    account          BLOB NOT NULL,     -- the name
    epoch            INTEGER NOT NULL,  -- the run of the process that began it
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
CREATE UNIQUE INDEX payouts_open ON payouts (account) WHERE state = 1;
CREATE INDEX payouts_paid ON payouts (ended_at) WHERE state = 2;
CREATE INDEX payouts_account ON payouts (account, asked_at);

-- Requests that are served while their payment is held: kind 1 (single) of terms.
CREATE TABLE held_calls (
    name        BLOB PRIMARY KEY,
    token_id    BLOB NOT NULL,
    epoch       INTEGER NOT NULL,  -- the run of the process that offered it
    key_epoch   INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    route       TEXT NOT NULL,
    methods     INTEGER NOT NULL,
    request     BLOB,
    terms_epoch INTEGER NOT NULL,
    valid_for   BLOB NOT NULL,
    claim_by    INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    backend     TEXT NOT NULL,
    state       INTEGER NOT NULL,  -- 1 offered, 2 running, 3 answered, 4 settled, 5 canceled
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    bytes       INTEGER NOT NULL   -- of the request as it was offered
) STRICT, WITHOUT ROWID;
CREATE INDEX held_calls_open ON held_calls (state) WHERE state < 4;
CREATE INDEX held_calls_ended ON held_calls (ended_at) WHERE state >= 4;

-- What is long of a held call: its rows come and go on their own.
CREATE TABLE held_bodies (
    name BLOB NOT NULL,
    part INTEGER NOT NULL,  -- 1 request, 2 answer
    body BLOB NOT NULL,
    PRIMARY KEY (name, part)
) STRICT;

-- One row for a settled hold of which there is more to tell than its transfer does, and for a
-- measured one that was released. It goes with the account.
CREATE TABLE charges (
    id            BLOB PRIMARY KEY,  -- of the hold, and of the transfer that settled it
    account       INTEGER NOT NULL,  -- whose money
    asker         BLOB,              -- the prepaid key that asked, where it is a child
    route         TEXT NOT NULL,
    held          INTEGER NOT NULL,
    used          INTEGER NOT NULL,
    charged       INTEGER,           -- NULL where the hold was released
    at            INTEGER NOT NULL,
    currency      TEXT,
    bitcoin_price TEXT,
    rate_age      INTEGER,
    model         TEXT,
    terminal      TEXT,
    usage         TEXT,              -- class=count, parted by spaces
    quantity      TEXT               -- a decimal number, where use has no classes
) STRICT, WITHOUT ROWID;
-- The chain of an account's transfers finds its charges; what was released has no transfer. An index of
-- all accounts would write a page of its own for nearly every charge.
CREATE INDEX charges_released ON charges (account) WHERE charged IS NULL;

-- How far the settlements of each backend were read: 64 bits.
CREATE TABLE settlement_cursors (
    name   TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counted up at each start.
CREATE TABLE process (
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO process (epoch) VALUES (0);
