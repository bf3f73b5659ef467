//! Pruning: closed accounts go, their transfers become summaries, their payments stay spent.
//!
//! An account is closed when nothing is on it and nothing can be bought from it any more. One with
//! value stays, expired or not: its owner may still ask for it.

use std::collections::BTreeMap;
use std::time::Duration;

use farebox_core::{AccountId, Msat, UnixMillis};
use rusqlite::{Connection, OptionalExtension};

use super::columns::{self, instant_column};
use super::{flush, held, prune_keys};
use crate::Pruned;
use crate::book::{AccountRow, Book, Transfer, TransferId};
use crate::store::{PruneStep, StoreError};
use crate::view::TransferKind;

/// Accounts looked at in one step.
const STEP_ROWS: i64 = 4_096;
/// Accounts removed in one step.
const STEP_ACCOUNTS: u32 = 256;
/// How long the answer of a held call is kept after it was settled.
const ANSWER_KEEP: Duration = Duration::from_secs(25 * 60 * 60);
/// How long is remembered that a payment nobody claimed brought more than was sold, at least.
const UNCLAIMED_KEEP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A closed account.
struct Closed {
    row: AccountRow,
    name: AccountId,
    key_epoch: u32,
    last_transfer: Option<TransferId>,
}

/// What the transfers of an account come to, account by account.
type Net = BTreeMap<AccountRow, i64>;

/// Looks at the next accounts, inside the open transaction.
pub(super) fn step(
    book: &mut Book,
    connection: &Connection,
    step: PruneStep,
) -> Result<(Pruned, Option<u64>), StoreError> {
    if step.cursor == 0 {
        prune_seldom(connection, step)?;
        prune_keys::prune(book, connection, step)?;
    }
    let from = i64::try_from(step.cursor).unwrap_or(i64::MAX);
    let to = from.saturating_add(STEP_ROWS);
    let closed = find_closed(connection, from, to, instant_column(step.before))?;
    let full = u32::try_from(closed.len()).is_ok_and(|count| count >= STEP_ACCOUNTS);
    let reached = closed.last().filter(|_| full).map_or(to, |last| last.row);

    let mut pruned = Pruned::default();
    let mut net = Net::new();
    for account in &closed {
        if book.is_in_use(&account.name) {
            continue;
        }
        if let Some(transfers) = remove(connection, account, &mut net)? {
            book.forget(&account.name);
            pruned.accounts += 1;
            pruned.transfers += transfers;
        }
    }
    pruned.retries = remove_retries(connection, from, reached, instant_column(step.before))?;
    summarise(book, connection, net, step)?;
    let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM accounts", [], |r| {
        r.get(0)
    })?;
    Ok((
        pruned,
        (reached < last).then(|| u64::try_from(reached).unwrap_or(0)),
    ))
}

/// What is not part of an account. Payouts stay for ever.
fn prune_seldom(connection: &Connection, step: PruneStep) -> Result<(), StoreError> {
    held::prune(connection, before(step.now, ANSWER_KEEP), step.before)?;
    let unclaimed = before(step.now, UNCLAIMED_KEEP).min(step.before);
    let sql = "DELETE FROM received WHERE at < ?1 \
               AND payment_hash NOT IN (SELECT payment_hash FROM claims)";
    connection
        .prepare_cached(sql)?
        .execute([instant_column(unclaimed)])?;
    Ok(())
}

fn before(now: UnixMillis, span: Duration) -> UnixMillis {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(span))
}

fn find_closed(
    connection: &Connection,
    from: i64,
    to: i64,
    before: i64,
) -> Result<Vec<Closed>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.account, c.payment_hash, c.key_epoch, a.last_transfer \
         FROM claims c JOIN accounts a ON a.id = c.account \
         JOIN transfers t ON t.id = a.last_transfer \
         WHERE c.account > ?1 AND c.account <= ?2 AND a.balance = 0 AND t.at < ?3 \
         AND (c.expires_at < ?3 OR c.kind = 4 OR a.calls_used >= c.calls) \
         ORDER BY c.account LIMIT ?4",
    )?;
    let mut found = statement.query((from, to, before, STEP_ACCOUNTS))?;
    let mut closed = Vec::new();
    while let Some(row) = found.next()? {
        closed.push(Closed {
            row: row.get(0)?,
            name: AccountId::from_bytes(row.get(1)?),
            key_epoch: row.get(2)?,
            last_transfer: row.get(3)?,
        });
    }
    Ok(closed)
}

/// Removes an account and its transfers, and adds what they come to for the house to `net`. An
/// account whose transfers do not come to nothing is evidence: it stays.
fn remove(
    connection: &Connection,
    account: &Closed,
    net: &mut Net,
) -> Result<Option<u64>, StoreError> {
    let (ids, own) = walk(connection, account)?;
    if own.get(&account.row).is_some_and(|rest| *rest != 0) {
        tracing::error!(
            account = account.row,
            "an account's balance is not proven; it stays"
        );
        return Ok(None);
    }
    let mut delete = connection.prepare_cached("DELETE FROM transfers WHERE id = ?1")?;
    let mut forget = connection.prepare_cached("DELETE FROM charges WHERE id = ?1")?;
    for id in &ids {
        delete.execute([id])?;
        forget.execute([id])?;
    }
    for (row, amount) in own {
        *net.entry(row).or_default() += amount;
    }
    for sql in [
        "DELETE FROM claims WHERE account = ?1",
        "DELETE FROM accounts WHERE id = ?1",
        "DELETE FROM retries WHERE account = ?1",
        "DELETE FROM charges WHERE account = ?1 AND charged IS NULL",
    ] {
        connection.prepare_cached(sql)?.execute([account.row])?;
    }
    connection
        .prepare_cached("DELETE FROM received WHERE payment_hash = ?1")?
        .execute([account.name.as_bytes()])?;
    connection
        .prepare_cached("INSERT INTO spent VALUES (?1, ?2)")?
        .execute((account.name.as_bytes(), account.key_epoch))?;
    Ok(Some(u64::try_from(ids.len()).unwrap_or(u64::MAX)))
}

/// Follows the chain of an account's transfers and adds them up.
fn walk(connection: &Connection, account: &Closed) -> Result<(Vec<TransferId>, Net), StoreError> {
    let sql = "SELECT debit, credit, msat, previous FROM transfers WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut next = account.last_transfer;
    let (mut ids, mut net) = (Vec::new(), Net::new());
    while let Some(id) = next {
        let read = |row: &rusqlite::Row<'_>| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get(3)?,
            ))
        };
        let found = statement.query_row([id], read).optional()?;
        let (debit, credit, amount, previous) =
            found.ok_or(StoreError::Corrupt("a chain of transfers"))?;
        *net.entry(debit).or_default() -= amount;
        *net.entry(credit).or_default() += amount;
        ids.push(id);
        next = previous;
    }
    Ok((ids, net))
}

fn remove_retries(
    connection: &Connection,
    from: i64,
    to: i64,
    before: i64,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM retries WHERE account > ?1 AND account <= ?2 AND settled_at < ?3";
    let removed = connection
        .prepare_cached(sql)?
        .execute((from, to, before))?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

/// Writes transfers between the house's accounts that come to the same as those removed.
fn summarise(
    book: &mut Book,
    connection: &Connection,
    net: Net,
    step: PruneStep,
) -> Result<(), StoreError> {
    let mut givers: Vec<_> = net
        .iter()
        .filter(|(_, sum)| **sum < 0)
        .map(|(r, s)| (*r, -s))
        .collect();
    let mut takers: Vec<_> = net.into_iter().filter(|(_, sum)| *sum > 0).collect();
    let mut summaries = Vec::new();
    while let (Some(giver), Some(taker)) = (givers.last_mut(), takers.last_mut()) {
        let amount = giver.1.min(taker.1);
        summaries.push((giver.0, taker.0, columns::msat(amount)?));
        giver.1 -= amount;
        taker.1 -= amount;
        givers.retain(|giver| giver.1 > 0);
        takers.retain(|taker| taker.1 > 0);
    }
    let summaries: Vec<_> = summaries
        .into_iter()
        .map(|(debit, credit, amount)| {
            summary(book.fresh_id(step.now), debit, credit, amount, step)
        })
        .collect();
    flush::append_transfers(connection, &summaries)
}

const fn summary(
    id: TransferId,
    debit: AccountRow,
    credit: AccountRow,
    amount: Msat,
    step: PruneStep,
) -> Transfer {
    Transfer {
        id,
        debit,
        credit,
        amount,
        kind: TransferKind::Summary,
        at: step.now,
        previous: None,
    }
}
