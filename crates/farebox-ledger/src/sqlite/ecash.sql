-- What the second form added to schema.sql.

-- Change that is owed, and what was told, a part in each line.
CREATE TABLE change (
    account BLOB PRIMARY KEY,  -- the name
    epoch   INTEGER NOT NULL,  -- the run of the process that owes it
    rail    INTEGER NOT NULL,
    msat    INTEGER NOT NULL,  -- what is owed and not told
    at      INTEGER NOT NULL,
    told    TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX change_owed ON change (at) WHERE msat > 0;

-- Swaps of coins at mints: written down before the mint is called.
CREATE TABLE swaps (
    number      INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    mint        INTEGER NOT NULL,  -- the hash of its URL and unit
    account     BLOB NOT NULL,     -- the name of what it credits
    -- What is sold for it, as in claims.
    amount      INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    calls       INTEGER,
    span        BLOB,
    route       TEXT NOT NULL,
    methods     INTEGER NOT NULL,
    request     BLOB,
    terms_epoch INTEGER NOT NULL,
    valid_for   BLOB NOT NULL,
    claim_by    INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,  -- the run of the process that wrote it down
    received    BLOB NOT NULL,     -- the points of the coins that were received, 33 bytes each
    body        BLOB NOT NULL,     -- what its coins can be found by
    state       INTEGER NOT NULL,  -- 1 open, 2 done, 3 spent by others, 4 let go
    begun_at    INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX swaps_open ON swaps (number) WHERE state = 1;
CREATE INDEX swaps_vain ON swaps (mint, ended_at) WHERE state IN (3, 4);
CREATE INDEX swaps_over ON swaps (ended_at) WHERE state IN (3, 4);
CREATE INDEX swaps_account ON swaps (account);

-- Coins that were received: none is received twice.
CREATE TABLE received (
    mint INTEGER NOT NULL,
    y    BLOB NOT NULL,
    swap BLOB NOT NULL,
    PRIMARY KEY (mint, y)
) STRICT, WITHOUT ROWID;
CREATE INDEX received_swap ON received (swap);

-- Coins that are or were ours: whoever has the bytes can spend one.
CREATE TABLE coins (
    mint    INTEGER NOT NULL,
    y       BLOB NOT NULL,
    msat    INTEGER NOT NULL,
    bytes   BLOB NOT NULL,
    state   INTEGER NOT NULL,  -- 1 reserved, 2 free, 3 given, 4 leaving
    made_by BLOB NOT NULL,     -- the swap
    PRIMARY KEY (mint, y)
) STRICT, WITHOUT ROWID;
CREATE INDEX coins_free ON coins (mint, msat) WHERE state = 2;
CREATE INDEX coins_made_by ON coins (made_by);

-- Coins that leave as a token for the seller: written down before the mint is called.
CREATE TABLE withdrawals (
    number   INTEGER PRIMARY KEY,
    id       BLOB NOT NULL UNIQUE,
    mint     INTEGER NOT NULL,
    coins    BLOB NOT NULL,     -- the points of the coins that leave, 33 bytes each
    msat     INTEGER NOT NULL,  -- what the token is worth
    fee      INTEGER NOT NULL,
    body     BLOB NOT NULL,     -- what the new coins can be found by
    state    INTEGER NOT NULL,  -- 1 open, 2 done, 3 undone, 4 lost
    token    TEXT NOT NULL,
    epoch    INTEGER NOT NULL,  -- the run of the process that wrote it down
    begun_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX withdrawals_open ON withdrawals (number) WHERE state = 1;
