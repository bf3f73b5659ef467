//! Prepaid keys as people read them.

use farebox_core::{KeyHash, PaymentHash};
use rusqlite::{Connection, Params, Row};

use super::columns::{self, LIMITS, instant, maybe_instant, msat, read_limits};
use super::sql::Sql as _;
use crate::rows::shown_voids;
use crate::store::StoreError;
use crate::{Deposit, KeyView, PendingDeposit};

/// What a key is, and what counts on the day `?1`: of a parent what is held of its money, of a
/// child what it holds itself.
fn sql(which: &str) -> String {
    format!(
        "SELECT {LIMITS}, k.account, k.name, k.public_id, p.name, k.note, k.created_at, \
         k.funded_at, k.revoked_at, a.balance, a.calls_used, a.voids, \
         (SELECT coalesce(sum(msat), 0) FROM names WHERE account = k.account \
         AND state IN (3, 4) AND state = 4), \
         (SELECT coalesce(sum(msat), 0) FROM key_days WHERE account = k.account), \
         (SELECT coalesce(sum(msat), 0) FROM key_days WHERE account = k.account AND day = ?1), \
         coalesce(CASE WHEN k.parent IS NULL THEN h.msat ELSE u.msat END, 0) + \
         (SELECT coalesce(sum(sold + excess), 0) FROM payouts \
         WHERE state = 1 AND account = k.name), \
         coalesce(CASE WHEN k.parent IS NULL THEN h.today ELSE u.today END, 0) \
         FROM keys k JOIN accounts a ON a.id = k.account LEFT JOIN keys p ON p.account = k.parent \
         LEFT JOIN (SELECT account, sum(msat) AS msat, sum(iif(day = ?1, msat, 0)) AS today \
         FROM holds WHERE asker IS NOT NULL GROUP BY account) h ON h.account = k.account \
         LEFT JOIN (SELECT asker, sum(msat) AS msat, sum(iif(day = ?1, msat, 0)) AS today \
         FROM holds WHERE asker IS NOT NULL GROUP BY asker) u ON u.asker = k.account \
         WHERE {which}"
    )
}

/// All keys that fulfil a condition.
pub(super) fn list(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<KeyView>, StoreError> {
    connection.readable(&sql(which), values, read)
}

/// The one key that fulfils a condition.
pub(super) fn find(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Option<KeyView>, StoreError> {
    connection.first(&sql(which), values, read)
}

fn read(row: &Row<'_>) -> Result<KeyView, StoreError> {
    let parent: Option<[u8; 32]> = row.get(8)?;
    Ok(KeyView {
        cursor: columns::cursor(row.get(5)?)?,
        key: KeyHash::from_bytes(row.get(6)?),
        public_id: row.get(7)?,
        parent: parent.map(KeyHash::from_bytes),
        note: row.get(9)?,
        created_at: instant(row.get(10)?)?,
        funded_at: maybe_instant(row.get(11)?)?,
        revoked_at: maybe_instant(row.get(12)?)?,
        balance: msat(row.get(13)?)?,
        calls: row.get(14)?,
        voids: shown_voids(row.get(15)?),
        deposited: msat(row.get(16)?)?,
        spent: msat(row.get(17)?)?,
        spent_today: msat(row.get(18)?)?,
        held: msat(row.get(19)?)?,
        held_today: msat(row.get(20)?)?,
        limits: read_limits(row)?,
    })
}

/// All invoices that wait for a key and fulfil a condition.
pub(super) fn list_pending(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<PendingDeposit>, StoreError> {
    connection.readable(&pending_sql(which), values, read_pending)
}

/// The invoice for a key with this payment hash.
pub(super) fn find_pending(
    connection: &Connection,
    hash: &PaymentHash,
) -> Result<Option<PendingDeposit>, StoreError> {
    connection.first(&pending_sql("p.name = ?1"), [hash.as_bytes()], read_pending)
}

fn pending_sql(which: &str) -> String {
    format!(
        "SELECT p.name, k.name, p.msat, p.at FROM names p JOIN keys k ON k.account = p.account \
         WHERE p.state IN (3, 4) AND p.state = 3 AND {which}"
    )
}

fn read_pending(row: &Row<'_>) -> Result<PendingDeposit, StoreError> {
    Ok(PendingDeposit {
        payment_hash: PaymentHash::from_bytes(row.get(0)?),
        key: KeyHash::from_bytes(row.get(1)?),
        amount: msat(row.get(2)?)?,
        expires_at: instant(row.get(3)?)?,
    })
}

pub(super) fn list_deposits(
    connection: &Connection,
    key: &KeyHash,
    limit: u32,
) -> Result<Vec<Deposit>, StoreError> {
    let sql = "SELECT name, msat, at FROM names WHERE state IN (3, 4) AND state = 4 AND account = \
               (SELECT account FROM names WHERE name = ?1 AND state = 2) \
               ORDER BY msat DESC LIMIT ?2";
    connection.readable(sql, (key.as_bytes(), limit), |row| {
        Ok(Deposit {
            payment_hash: PaymentHash::from_bytes(row.get(0)?),
            amount: msat(row.get(1)?)?,
            at: instant(row.get(2)?)?,
        })
    })
}
