//! What pruning finds: accounts on which nothing is left, keys nobody paid for, children that ended,
//! invoices nobody paid.
//!
//! An account is closed when nothing is on it and nothing can be bought from it any more. One with
//! value stays, expired or not: its owner may still ask for it. A key that was ever paid for stays
//! with all of its deposits.

use std::time::Duration;

use farebox_core::{AccountId, KeyHash, PaymentHash, UnixMillis};
use rusqlite::{Connection, Row};

use super::columns::instant_column;
use super::sql::Sql as _;
use super::{removed, swaps};
use crate::rows::TransferId;
use crate::store::{Closed, PruneStep, StoreError};

/// Rows of each table that are looked at in one step.
const STEP_ROWS: i64 = 4_096;
/// Accounts closed in one step.
const STEP_ACCOUNTS: u32 = 256;
/// How long the answer of a held call is kept after it was settled.
const ANSWER_KEEP: Duration = Duration::from_secs(25 * 60 * 60);
/// How long is remembered that a payment nobody claimed brought more than was sold, at least.
const UNCLAIMED_KEEP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long an invoice for a key is remembered after it expired: while Farebox does not run, it may
/// have been paid in time.
const PENDING_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a swap that came to nothing is kept: a request that was under way may land all the same.
const VAIN_KEEP: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The key of a remembered retry: its account, and what the client named it by.
type Retry = (i64, Vec<u8>);

/// How far a round has come in each table that it walks through; none at the end of one.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    account: Option<i64>,
    name: Option<Vec<u8>>,
    retry: Option<Retry>,
}

impl Walk {
    pub(super) const fn start() -> Self {
        Self {
            account: Some(0),
            name: Some(Vec::new()),
            retry: Some((0, Vec::new())),
        }
    }

    const fn is_over(&self) -> bool {
        self.account.is_none() && self.name.is_none() && self.retry.is_none()
    }
}

/// One step of a round: the next range of each table, for reading as for forgetting.
pub(super) fn find(
    connection: &Connection,
    walk: &mut Walk,
    step: PruneStep,
) -> Result<Closed, StoreError> {
    let answers = before(step.now, ANSWER_KEEP);
    let calls = answers.min(step.before);
    let unclaimed = before(step.now, UNCLAIMED_KEEP).min(step.before);
    let mut closed = Closed {
        stays: (calls, unclaimed),
        ..Closed::default()
    };
    if let Some(from) = walk.retry.take() {
        swaps::forget(connection, before(step.now, VAIN_KEEP))?;
        (closed.retries, walk.retry) = forget_retries(connection, from, step.before)?;
    }
    if let Some(from) = walk.name.take() {
        let end = end_of_names(connection, &from)?;
        let to = end.clone().unwrap_or_else(|| vec![u8::MAX; 33]);
        forget_answers(connection, (&from, &to), answers)?;
        let pending = before(step.now, PENDING_KEEP);
        find_names(connection, (&from, &to), (unclaimed, pending), &mut closed)?;
        walk.name = end;
    }
    if let Some(from) = walk.account.take() {
        if from == 0 {
            find_calls(connection, calls, &mut closed)?;
        }
        walk.account = find_accounts(connection, from, step, &mut closed)?;
    }
    closed.is_last = walk.is_over();
    Ok(closed)
}

fn before(now: UnixMillis, span: Duration) -> UnixMillis {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(span))
}

const END_OF_RETRIES: &str = "SELECT account, key FROM retries WHERE (account, key) > (?1, ?2) \
     ORDER BY account, key LIMIT 1 OFFSET ?3";
const FORGET_RETRIES: &str = "DELETE FROM retries WHERE (account, key) > (?1, ?2) \
     AND (account, key) <= (?3, ?4) AND settled_at < ?5";

/// Forgets old retries of one range, and says how many and where the next one begins.
fn forget_retries(
    connection: &Connection,
    from: Retry,
    before: UnixMillis,
) -> Result<(u64, Option<Retry>), StoreError> {
    let after = (from.0, &from.1, STEP_ROWS - 1);
    let end = connection.first(END_OF_RETRIES, after, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let to = end.clone().unwrap_or((i64::MAX, Vec::new()));
    let range = (from.0, from.1, to.0, to.1, instant_column(before));
    let forgotten = connection.run(FORGET_RETRIES, range)?;
    Ok((u64::try_from(forgotten).unwrap_or(u64::MAX), end))
}

const END_OF_NAMES: &str = "SELECT name FROM names WHERE name > ?1 ORDER BY name LIMIT 1 OFFSET ?2";

/// The last name of the range after this one, if there are more names than that.
fn end_of_names(connection: &Connection, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    connection.first(END_OF_NAMES, (from, STEP_ROWS - 1), |row| Ok(row.get(0)?))
}

/// Lets go of the answers of calls that ended before an instant.
fn forget_answers(
    connection: &Connection,
    (from, to): (&[u8], &[u8]),
    ended: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM held_bodies WHERE name > ?1 AND name <= ?2 AND name IN (SELECT name \
               FROM held_calls WHERE name > ?1 AND name <= ?2 AND state >= 4 AND ended_at < ?3)";
    connection
        .run(sql, (from, to, instant_column(ended)))
        .map(drop)
}

const NAMES: &str = "SELECT n.name, k.name FROM names n \
     LEFT JOIN keys k ON k.account = n.account AND n.state = 3 \
     WHERE n.name > ?1 AND n.name <= ?2 \
     AND (n.state = 0 AND n.received_at < ?3 OR n.state = 3 AND n.at < ?4)";

/// Notes that nobody claimed, and invoices that nobody paid.
fn find_names(
    connection: &Connection,
    (from, to): (&[u8], &[u8]),
    (unclaimed, pending): (UnixMillis, UnixMillis),
    closed: &mut Closed,
) -> Result<(), StoreError> {
    let (unclaimed, pending) = (instant_column(unclaimed), instant_column(pending));
    let values = (from, to, unclaimed, pending);
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<[u8; 32]>>(1)?));
    for (name, key) in connection.readable(NAMES, values, read)? {
        match key.map(KeyHash::from_bytes) {
            Some(key) => closed.unpaid.push((PaymentHash::from_bytes(name), key)),
            None => closed.past.push(AccountId::from_bytes(name)),
        }
    }
    Ok(())
}

/// Held calls that ended long ago: an index has them in this order.
fn find_calls(
    connection: &Connection,
    ended: UnixMillis,
    closed: &mut Closed,
) -> Result<(), StoreError> {
    let sql = "SELECT name FROM held_calls WHERE state >= 4 AND ended_at < ?1 LIMIT ?2";
    let read = |row: &Row<'_>| Ok(AccountId::from_bytes(row.get(0)?));
    let found = connection.readable(sql, (instant_column(ended), STEP_ROWS), read)?;
    closed.past.extend(found);
    Ok(())
}

/// Accounts and keys of one range, and where the next one begins.
fn find_accounts(
    connection: &Connection,
    from: i64,
    step: PruneStep,
    closed: &mut Closed,
) -> Result<Option<i64>, StoreError> {
    let to = from.saturating_add(STEP_ROWS);
    find_keys(connection, (from, to), step, closed)?;
    let found = find_claims(connection, (from, to), step.before)?;
    let is_full = u32::try_from(found.len()).is_ok_and(|count| count >= STEP_ACCOUNTS);
    let reached = found.last().filter(|_| is_full).map_or(to, |last| last.0);
    for (row, name, last_transfer) in found {
        match proven(connection, row, last_transfer) {
            Ok(transfers) => closed.accounts.push((name, last_transfer, transfers)),
            // It is evidence.
            Err(error) if error.is_of_a_row() => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, account = %name, "an account is not proven; it stays");
            }
            Err(error) => return Err(error),
        }
    }
    let last = "SELECT coalesce(max(id), 0) FROM accounts";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    Ok((reached < last).then_some(reached))
}

/// The number of transfers of an account, which must come to nothing.
fn proven(connection: &Connection, row: i64, last: TransferId) -> Result<u64, StoreError> {
    let (ids, own) = removed::walk(connection, Some(last))?;
    if own.get(&row).is_some_and(|rest| *rest != 0) {
        return Err(StoreError::Corrupt("a balance"));
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

fn find_claims(
    connection: &Connection,
    (from, to): (i64, i64),
    before: UnixMillis,
) -> Result<Vec<(i64, AccountId, TransferId)>, StoreError> {
    let sql = "SELECT c.account, c.name, a.last_transfer \
               FROM claims c JOIN accounts a ON a.id = c.account \
               JOIN transfers t ON t.id = a.last_transfer \
               WHERE c.account > ?1 AND c.account <= ?2 AND a.balance = 0 AND t.at < ?3 \
               AND (c.expires_at < ?3 OR c.kind = 4 OR a.calls_used >= c.calls) AND NOT EXISTS \
               (SELECT 1 FROM change o WHERE o.account = c.name AND o.msat > 0) \
               ORDER BY c.account LIMIT ?4";
    let values = (from, to, instant_column(before), STEP_ACCOUNTS);
    connection.readable(sql, values, |row| {
        Ok((row.get(0)?, AccountId::from_bytes(row.get(1)?), row.get(2)?))
    })
}

const KEYS: &str = "SELECT k.name, p.name FROM keys k LEFT JOIN keys p ON p.account = k.parent \
     WHERE k.account > ?2 AND k.account <= ?3 AND ((k.parent IS NULL AND k.funded_at IS NULL \
     AND k.created_at < ?1 AND NOT EXISTS (SELECT 1 FROM names n WHERE n.account = k.account \
     AND n.state IN (3, 4) AND n.state = 3)) \
     OR (k.parent IS NOT NULL AND (k.revoked_at < ?4 OR k.expires_at < ?4)))";

fn find_keys(
    connection: &Connection,
    (from, to): (i64, i64),
    step: PruneStep,
    closed: &mut Closed,
) -> Result<(), StoreError> {
    let [before, children] = [step.before, step.children()].map(instant_column);
    let found = connection.readable(KEYS, (before, from, to, children), |row| {
        let parent: Option<[u8; 32]> = row.get(1)?;
        let key = AccountId::from_bytes(row.get(0)?);
        Ok((key, parent.map(AccountId::from_bytes)))
    })?;
    closed.keys.extend(found);
    Ok(())
}

#[cfg(test)]
mod tests;
