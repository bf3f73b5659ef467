-- Version 4. Never edited: a change is a new file.
-- What charges were made of.

-- What the price of an open hold was found by: the rate in one line, the model in the next.
ALTER TABLE holds ADD COLUMN basis TEXT;

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
