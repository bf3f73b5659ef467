//! Prepaid keys as people read them.

use farebox_core::{KeyHash, PaymentHash};
use rusqlite::{Connection, Params, Row};

use super::columns::{LIMITS, instant, maybe_instant, msat, read_limits};
use crate::day::Day;
use crate::store::StoreError;
use crate::{Deposit, KeyView, PendingDeposit};

/// What one key is, and what counts on the day `?1`: of a parent what is held of its money, of a
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

pub(super) fn find(
    connection: &Connection,
    key: &KeyHash,
    today: Day,
) -> Result<Option<KeyView>, StoreError> {
    let found = many(
        connection,
        "k.account = (SELECT account FROM names WHERE name = ?2 AND state = 2)",
        (today, key.as_bytes()),
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn find_by_id(
    connection: &Connection,
    public_id: &str,
    today: Day,
) -> Result<Option<KeyView>, StoreError> {
    let found = many(connection, "k.public_id = ?2", (today, public_id))?;
    Ok(found.into_iter().next())
}

pub(super) fn list(
    connection: &Connection,
    after: u64,
    limit: u32,
    today: Day,
) -> Result<Vec<KeyView>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let which = "k.account > ?2 ORDER BY k.account LIMIT ?3";
    many(connection, which, (today, after, limit))
}

pub(super) fn children(
    connection: &Connection,
    parent: &KeyHash,
    today: Day,
) -> Result<Vec<KeyView>, StoreError> {
    let which =
        "k.parent = (SELECT account FROM names WHERE name = ?2 AND state = 2) ORDER BY k.account";
    many(connection, which, (today, parent.as_bytes()))
}

fn many(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<KeyView>, StoreError> {
    let mut statement = connection.prepare(&sql(which))?;
    let mut found = statement.query(values)?;
    let mut views = Vec::new();
    while let Some(row) = found.next()? {
        views.push(read(row)?);
    }
    Ok(views)
}

fn read(row: &Row<'_>) -> Result<KeyView, StoreError> {
    let cursor: i64 = row.get(5)?;
    let parent: Option<[u8; 32]> = row.get(8)?;
    Ok(KeyView {
        cursor: u64::try_from(cursor).map_err(|_| StoreError::Corrupt("an account's row"))?,
        key: KeyHash::from_bytes(row.get(6)?),
        public_id: row.get(7)?,
        parent: parent.map(KeyHash::from_bytes),
        note: row.get(9)?,
        created_at: instant(row.get(10)?)?,
        funded_at: maybe_instant(row.get(11)?)?,
        revoked_at: maybe_instant(row.get(12)?)?,
        balance: msat(row.get(13)?)?,
        calls: row.get(14)?,
        voids: row.get(15)?,
        deposited: msat(row.get(16)?)?,
        spent: msat(row.get(17)?)?,
        spent_today: msat(row.get(18)?)?,
        held: msat(row.get(19)?)?,
        held_today: msat(row.get(20)?)?,
        limits: read_limits(row)?,
    })
}

const PENDING: &str = "SELECT p.name, k.name, p.msat, p.at \
     FROM names p JOIN keys k ON k.account = p.account \
     WHERE p.state IN (3, 4) AND p.state = 3";

pub(super) fn list_pending(
    connection: &Connection,
    key: Option<&KeyHash>,
) -> Result<Vec<PendingDeposit>, StoreError> {
    match key {
        Some(key) => {
            let of_key = "p.account = (SELECT account FROM names WHERE name = ?1 AND state = 2)";
            pending(connection, of_key, [key.as_bytes()])
        }
        None => pending(connection, "TRUE", ()),
    }
}

pub(super) fn list_deposits(
    connection: &Connection,
    key: &KeyHash,
    limit: u32,
) -> Result<Vec<Deposit>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT d.name, d.msat, d.at FROM names d WHERE d.state IN (3, 4) AND d.state = 4 \
         AND d.account = (SELECT account FROM names WHERE name = ?1 AND state = 2) \
         ORDER BY d.msat DESC LIMIT ?2",
    )?;
    let mut found = statement.query((key.as_bytes(), limit))?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(Deposit {
            payment_hash: PaymentHash::from_bytes(row.get(0)?),
            amount: msat(row.get(1)?)?,
            at: instant(row.get(2)?)?,
        });
    }
    Ok(all)
}

pub(super) fn find_pending(
    connection: &Connection,
    hash: &PaymentHash,
) -> Result<Option<PendingDeposit>, StoreError> {
    let found = pending(connection, "p.name = ?1", [hash.as_bytes()])?;
    Ok(found.into_iter().next())
}

fn pending(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<PendingDeposit>, StoreError> {
    let mut statement = connection.prepare(&format!("{PENDING} AND {which}"))?;
    let mut found = statement.query(values)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(PendingDeposit {
            payment_hash: PaymentHash::from_bytes(row.get(0)?),
            key: KeyHash::from_bytes(row.get(1)?),
            amount: msat(row.get(2)?)?,
            expires_at: instant(row.get(3)?)?,
        });
    }
    Ok(all)
}
