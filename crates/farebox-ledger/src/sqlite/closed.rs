//! What pruning finds: accounts on which nothing is left, keys nobody paid for, children that ended,
//! invoices nobody paid.
//!
//! An account is closed when nothing is on it and nothing can be bought from it any more. One with
//! value stays, expired or not: its owner may still ask for it. A key that was ever paid for stays
//! with all of its deposits.

use std::time::Duration;

use farebox_core::{AccountId, KeyHash, PaymentHash, UnixMillis};
use rusqlite::Connection;

use super::columns::instant_column;
use super::{held, removed};
use crate::rows::TransferId;
use crate::store::{Closed, PruneStep, StoreError};

/// Accounts looked at in one step.
const STEP_ROWS: i64 = 4_096;
/// Accounts closed in one step.
const STEP_ACCOUNTS: u32 = 256;
/// Keys, invoices for keys and past payments removed in one round.
const ROUND_KEYS: u32 = 4_096;
/// How long the answer of a held call is kept after it was settled.
const ANSWER_KEEP: Duration = Duration::from_secs(25 * 60 * 60);
/// How long is remembered that a payment nobody claimed brought more than was sold, at least.
const UNCLAIMED_KEEP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long an invoice for a key is remembered after it expired: while Farebox does not run, it may
/// have been paid in time.
const PENDING_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Forgets what goes by its age alone.
pub(super) fn forget(connection: &Connection, step: PruneStep) -> Result<u64, StoreError> {
    held::forget_answers(connection, before(step.now, ANSWER_KEEP))?;
    let sql = "DELETE FROM retries WHERE settled_at < ?1";
    let retries = connection
        .prepare_cached(sql)?
        .execute([instant_column(step.before)])?;
    Ok(u64::try_from(retries).unwrap_or(u64::MAX))
}

pub(super) fn find(connection: &Connection, step: PruneStep) -> Result<Closed, StoreError> {
    let mut closed = Closed::default();
    if step.cursor == 0 {
        let calls = before(step.now, ANSWER_KEEP).min(step.before);
        let unclaimed = before(step.now, UNCLAIMED_KEEP).min(step.before);
        closed.stays = (calls, unclaimed);
        closed.past = find_past(connection, calls, unclaimed)?;
        closed.unpaid = find_unpaid(connection, before(step.now, PENDING_KEEP))?;
        closed.keys = find_keys(connection, step.before)?;
    }
    let from = i64::try_from(step.cursor).unwrap_or(i64::MAX);
    let to = from.saturating_add(STEP_ROWS);
    let found = find_accounts(connection, (from, to), step.before)?;
    let is_full = u32::try_from(found.len()).is_ok_and(|count| count >= STEP_ACCOUNTS);
    let reached = found.last().filter(|_| is_full).map_or(to, |last| last.0);
    for (row, name, last_transfer) in found {
        let (ids, own) = removed::walk(connection, Some(last_transfer))?;
        if own.get(&row).is_some_and(|rest| *rest != 0) {
            // It is evidence.
            tracing::error!(
                account = row,
                "an account's balance is not proven; it stays"
            );
            continue;
        }
        let transfers = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        closed.accounts.push((name, last_transfer, transfers));
    }
    let last = "SELECT coalesce(max(id), 0) FROM accounts";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    closed.next = (reached < last).then(|| u64::try_from(reached).unwrap_or(0));
    Ok(closed)
}

fn before(now: UnixMillis, span: Duration) -> UnixMillis {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(span))
}

fn find_accounts(
    connection: &Connection,
    (from, to): (i64, i64),
    before: UnixMillis,
) -> Result<Vec<(i64, AccountId, TransferId)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.account, c.name, a.last_transfer \
         FROM claims c JOIN accounts a ON a.id = c.account \
         JOIN transfers t ON t.id = a.last_transfer \
         WHERE c.account > ?1 AND c.account <= ?2 AND a.balance = 0 AND t.at < ?3 \
         AND (c.expires_at < ?3 OR c.kind = 4 OR a.calls_used >= c.calls) \
         AND NOT EXISTS (SELECT 1 FROM change o WHERE o.account = c.name AND o.told IS NULL) \
         ORDER BY c.account LIMIT ?4",
    )?;
    let mut found = statement.query((from, to, instant_column(before), STEP_ACCOUNTS))?;
    let mut closed = Vec::new();
    while let Some(row) = found.next()? {
        closed.push((row.get(0)?, AccountId::from_bytes(row.get(1)?), row.get(2)?));
    }
    Ok(closed)
}

fn find_keys(
    connection: &Connection,
    before: UnixMillis,
) -> Result<Vec<(AccountId, Option<AccountId>)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT k.name, p.name FROM keys k LEFT JOIN keys p ON p.account = k.parent \
         WHERE (k.parent IS NULL AND k.funded_at IS NULL AND k.created_at < ?1 AND NOT EXISTS \
         (SELECT 1 FROM names n WHERE n.account = k.account AND n.state = 3)) \
         OR (k.parent IS NOT NULL AND (k.revoked_at < ?1 OR k.expires_at < ?1)) LIMIT ?2",
    )?;
    let mut found = statement.query((instant_column(before), ROUND_KEYS))?;
    let mut keys = Vec::new();
    while let Some(row) = found.next()? {
        let parent: Option<[u8; 32]> = row.get(1)?;
        let key = AccountId::from_bytes(row.get(0)?);
        keys.push((key, parent.map(AccountId::from_bytes)));
    }
    Ok(keys)
}

fn find_past(
    connection: &Connection,
    calls: UnixMillis,
    unclaimed: UnixMillis,
) -> Result<Vec<AccountId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM held_calls WHERE state >= 4 AND ended_at < ?1 UNION ALL \
         SELECT name FROM names WHERE state = 0 AND received_at < ?2 LIMIT ?3",
    )?;
    let mut found =
        statement.query((instant_column(calls), instant_column(unclaimed), ROUND_KEYS))?;
    let mut past = Vec::new();
    while let Some(row) = found.next()? {
        past.push(AccountId::from_bytes(row.get(0)?));
    }
    Ok(past)
}

fn find_unpaid(
    connection: &Connection,
    before: UnixMillis,
) -> Result<Vec<(PaymentHash, KeyHash)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT n.name, k.name FROM names n JOIN keys k ON k.account = n.account \
         WHERE n.state = 3 AND n.at < ?1 LIMIT ?2",
    )?;
    let mut found = statement.query((instant_column(before), ROUND_KEYS))?;
    let mut unpaid = Vec::new();
    while let Some(row) = found.next()? {
        let payment = PaymentHash::from_bytes(row.get(0)?);
        unpaid.push((payment, KeyHash::from_bytes(row.get(1)?)));
    }
    Ok(unpaid)
}
