//! Reading rows into the writer's picture.

use std::collections::HashMap;

use farebox_core::{AccountId, RequestDigest};
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{self, CLAIM, CLAIM_WIDTH, Claim};
use super::{charges, held, keys, payouts};
use crate::ChargeBasis;
use crate::book::{
    self, Account, House, Loaded, OnceKey, OpenHold, Origin, Retry, RetryKey, Rows, TransferId,
    Unclaimed, Unsaved,
};
use crate::store::StoreError;

/// Rows as the connection's present transaction sees them.
pub(super) struct SqliteRows<'a>(pub(super) &'a Connection);

impl Rows for SqliteRows<'_> {
    fn account(&mut self, hash: &AccountId) -> Result<Option<Account>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {CLAIM}, a.balance, a.calls_used, a.voids, a.last_transfer \
             FROM claims c JOIN accounts a ON a.id = c.account WHERE c.payment_hash = ?1"
        ))?;
        let mut found = statement.query([hash.as_bytes()])?;
        found.next()?.map(read_account).transpose()
    }

    fn unclaimed(&mut self, hash: &AccountId) -> Result<Unclaimed, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM spent WHERE payment_hash = ?1), \
             (SELECT revoked_at FROM revoked WHERE payment_hash = ?1), \
             (SELECT msat FROM received WHERE payment_hash = ?1), \
             EXISTS (SELECT 1 FROM deposits WHERE payment_hash = ?1) \
             OR EXISTS (SELECT 1 FROM pending_deposits WHERE payment_hash = ?1) \
             OR EXISTS (SELECT 1 FROM keys WHERE key_hash = ?1)",
        )?;
        let mut found = statement.query([hash.as_bytes()])?;
        let Some(row) = found.next()? else {
            return Ok(Unclaimed::default());
        };
        let revoked_at: Option<i64> = row.get(1)?;
        let received: Option<i64> = row.get(2)?;
        let pruned: bool = row.get(0)?;
        let is_of_key: bool = row.get(3)?;
        Ok(Unclaimed {
            spent: pruned || is_of_key,
            pruned,
            revoked_at: revoked_at.map(columns::instant).transpose()?,
            received: received.map(columns::msat).transpose()?,
        })
    }

    fn retry(&mut self, key: &RetryKey) -> Result<Option<Retry>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT digest, hold, charged, settled_at FROM retries WHERE account = ?1 AND key = ?2",
        )?;
        let mut found = statement.query((key.account, key.key))?;
        found.next()?.map(read_retry).transpose()
    }

    fn transfer_exists(&mut self, id: &TransferId) -> Result<bool, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT 1 FROM transfers WHERE id = ?1")?
            .exists([id])?)
    }
}

fn read_account(row: &Row<'_>) -> Result<Account, StoreError> {
    let claim = Claim::read(row)?;
    Ok(Account {
        row: claim.account,
        origin: Origin::Payment {
            key_epoch: claim.key_epoch,
            terms: claim.terms,
        },
        balance: columns::msat(row.get(CLAIM_WIDTH)?)?,
        excess: claim.excess,
        calls_used: row.get(CLAIM_WIDTH + 1)?,
        voids: row.get(CLAIM_WIDTH + 2)?,
        claimed_at: claim.claimed_at,
        expires_at: claim.expires_at,
        revoked_at: claim.revoked_at,
        last_transfer: row.get(CLAIM_WIDTH + 3)?,
        unsaved: Unsaved::default(),
    })
}

fn read_retry(row: &Row<'_>) -> Result<Retry, StoreError> {
    Ok(Retry {
        digest: RequestDigest::from_bytes(row.get(0)?),
        hold: columns::hold_id(row.get(1)?),
        charged: columns::msat(row.get(2)?)?,
        settled_at: columns::instant(row.get(3)?)?,
    })
}

/// Reads what the picture always holds: the house's accounts, and every open hold.
pub(super) fn load(connection: &Connection) -> Result<Loaded, StoreError> {
    let next_row = "SELECT coalesce(max(id), 0) + 1 FROM accounts";
    let newest = "SELECT id FROM transfers ORDER BY id DESC LIMIT 1";
    Ok(Loaded {
        next_row: connection.query_row(next_row, [], |row| row.get(0))?,
        newest: connection
            .query_row(newest, [], |row| row.get(0))
            .optional()?
            .unwrap_or_default(),
        house: load_house(connection)?,
        holds: load_holds(connection)?,
        payouts: payouts::load(connection)?,
        held_calls: held::load(connection)?,
        pending: keys::count_all_pending(connection)?,
    })
}

fn load_house(connection: &Connection) -> Result<HashMap<String, House>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT h.name, a.id, a.balance FROM house h JOIN accounts a ON a.id = h.account",
    )?;
    let mut found = statement.query([])?;
    let mut house = HashMap::new();
    while let Some(row) = found.next()? {
        let name: String = row.get(0)?;
        let account = House::stored(row.get(1)?, row.get(2)?);
        if book::is_impossible(&name, account.balance) {
            return Err(StoreError::Corrupt("a balance of the house"));
        }
        house.insert(name, account);
    }
    Ok(house)
}

fn load_holds(
    connection: &Connection,
) -> Result<Vec<(farebox_core::HoldId, OpenHold)>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT h.id, h.account, coalesce(c.payment_hash, k.key_hash), h.msat, h.progress, \
         h.once_key, h.once_digest, h.number, h.asker, a.key_hash, h.route, h.day, \
         h.basis \
         FROM holds h LEFT JOIN claims c ON c.account = h.account \
         LEFT JOIN keys k ON k.account = h.account LEFT JOIN keys a ON a.account = h.asker",
    )?;
    let mut found = statement.query([])?;
    let mut holds = Vec::new();
    while let Some(row) = found.next()? {
        holds.push((columns::hold_id(row.get(0)?), read_hold(row)?));
    }
    Ok(holds)
}

fn read_basis(column: Option<String>) -> Result<Option<Box<ChargeBasis>>, StoreError> {
    let basis = column.map(|text| charges::read_basis_column(&text));
    Ok(basis.transpose()?.map(Box::new))
}

fn read_hold(row: &Row<'_>) -> Result<OpenHold, StoreError> {
    let owner: Option<[u8; 32]> = row.get(2)?;
    let key: Option<[u8; 32]> = row.get(5)?;
    let digest: Option<[u8; 32]> = row.get(6)?;
    Ok(OpenHold {
        payer: AccountId::from_bytes(
            owner.ok_or(StoreError::Corrupt("a hold without an account"))?,
        ),
        account: row.get(1)?,
        amount: columns::msat(row.get(3)?)?,
        progress: row
            .get::<_, Option<i64>>(4)?
            .map(columns::msat)
            .transpose()?,
        once: key.zip(digest).map(|(key, digest)| OnceKey {
            key,
            digest: RequestDigest::from_bytes(digest),
        }),
        number: row.get(7)?,
        stored: true,
        key: keys::read_use(row)?.map(Box::new),
        basis: read_basis(row.get(12)?)?,
    })
}
