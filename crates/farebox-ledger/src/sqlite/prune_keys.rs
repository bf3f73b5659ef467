//! What goes of prepaid keys: invoices nobody paid, keys nobody paid for, children that ended.
//!
//! A key that was ever paid for stays, with all of its deposits: its owner may come back.

use std::time::Duration;

use farebox_core::{AccountId, UnixMillis};
use rusqlite::Connection;

use super::columns::instant_column;
use crate::book::{AccountRow, Book};
use crate::store::{PruneStep, StoreError};

/// How long an invoice for a key is remembered after it expired: while Farebox does not run, it may
/// have been paid in time.
const PENDING_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Keys removed in one round.
const ROUND_KEYS: u32 = 4_096;

pub(super) fn prune(
    book: &mut Book,
    connection: &Connection,
    step: PruneStep,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM pending_deposits WHERE expires_at < ?1";
    let keep = u64::try_from(PENDING_KEEP.as_millis()).unwrap_or(u64::MAX);
    let before = UnixMillis::new(step.now.get().saturating_sub(keep));
    let gone = connection
        .prepare_cached(sql)?
        .execute([instant_column(before)])?;
    book.forget_pending(u32::try_from(gone).unwrap_or(u32::MAX));
    for (account, name) in find_ended(connection, step.before)? {
        if !book.is_in_use(&name) {
            remove(connection, account)?;
            book.forget(&name);
        }
    }
    Ok(())
}

fn find_ended(
    connection: &Connection,
    before: UnixMillis,
) -> Result<Vec<(AccountRow, AccountId)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT account, key_hash FROM keys WHERE (parent IS NULL AND funded_at IS NULL \
         AND created_at < ?1 AND account NOT IN (SELECT account FROM pending_deposits)) \
         OR (parent IS NOT NULL AND (revoked_at < ?1 OR expires_at < ?1)) LIMIT ?2",
    )?;
    let mut found = statement.query((instant_column(before), ROUND_KEYS))?;
    let mut ended = Vec::new();
    while let Some(row) = found.next()? {
        ended.push((row.get(0)?, AccountId::from_bytes(row.get(1)?)));
    }
    Ok(ended)
}

fn remove(connection: &Connection, account: AccountRow) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM keys WHERE account = ?1",
        "DELETE FROM accounts WHERE id = ?1",
        "DELETE FROM key_days WHERE account = ?1",
        "DELETE FROM retries WHERE account = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([account])?;
    }
    Ok(())
}
