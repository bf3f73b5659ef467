//! Accounts that go: their transfers become summaries between the house's accounts.

use std::collections::BTreeMap;

use farebox_core::UnixMillis;
use rusqlite::Connection;

use super::columns::instant_column;
use super::sql::Sql as _;
use super::swaps;
use super::write::Numbers;
use crate::rows::{Account, TransferId};
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::working::Removed;

/// What the transfers of an account come to, account by account.
pub(super) type Net = BTreeMap<i64, i64>;

/// Removes accounts with all that is kept of them.
pub(super) fn remove(
    connection: &Connection,
    gone: &[Removed],
    epoch: u32,
    numbers: &mut Numbers,
) -> Result<(), StoreError> {
    let mut net = Net::new();
    for removed in gone {
        swaps::remove(connection, &removed.id)?;
        remove_one(connection, &removed.account, &mut net)?;
    }
    let at = gone.iter().map(|removed| removed.at).max();
    let Some(at) = at else { return Ok(()) };
    for (debit, credit, amount) in between(net) {
        let id = summary_id(at, epoch, numbers);
        let sql = "INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)";
        let (kind, at) = (TransferKind::Summary.code(), instant_column(at));
        connection.run(sql, (id, debit, credit, amount, kind, at))?;
        numbers.newest = numbers.newest.max(id);
    }
    Ok(())
}

/// An id like those of other transfers, out of the upper half of the sequence.
fn summary_id(at: UnixMillis, epoch: u32, numbers: &mut Numbers) -> TransferId {
    numbers.summary += 1;
    let sequence = numbers.summary | (1 << 47);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.get().to_be_bytes()[2..]);
    id[6..10].copy_from_slice(&epoch.to_be_bytes());
    id[10..].copy_from_slice(&sequence.to_be_bytes()[2..]);
    id
}

fn remove_one(connection: &Connection, account: &Account, net: &mut Net) -> Result<(), StoreError> {
    let (ids, own) = walk(connection, account.last_transfer)?;
    for id in &ids {
        connection.run("DELETE FROM transfers WHERE id = ?1", [id])?;
        connection.run("DELETE FROM charges WHERE id = ?1", [id])?;
    }
    for (row, amount) in own {
        *net.entry(row).or_default() += amount;
    }
    for sql in [
        "DELETE FROM claims WHERE account = ?1",
        "DELETE FROM keys WHERE account = ?1",
        "DELETE FROM key_days WHERE account = ?1",
        "DELETE FROM accounts WHERE id = ?1",
        "DELETE FROM retries WHERE account = ?1",
        "DELETE FROM charges WHERE account = ?1 AND charged IS NULL",
    ] {
        connection.run(sql, [account.row])?;
    }
    Ok(())
}

/// Follows the chain of an account's transfers and adds them up.
pub(super) fn walk(
    connection: &Connection,
    last: Option<TransferId>,
) -> Result<(Vec<TransferId>, Net), StoreError> {
    let sql = "SELECT debit, credit, msat, previous FROM transfers WHERE id = ?1";
    const BROKEN: StoreError = StoreError::Corrupt("a chain of transfers");
    let mut next = last;
    let (mut ids, mut net) = (Vec::new(), Net::new());
    // A chain that comes back to where it was has no end.
    let mut seen = None;
    while let Some(id) = next {
        if seen == Some(id) {
            return Err(BROKEN);
        }
        if ids.len().is_power_of_two() {
            seen = Some(id);
        }
        let found = connection.first(sql, [id], |row| {
            let amount: i64 = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, amount, row.get(3)?))
        })?;
        let (debit, credit, amount, previous) = found.ok_or(BROKEN)?;
        *net.entry(debit).or_default() -= amount;
        *net.entry(credit).or_default() += amount;
        ids.push(id);
        next = previous;
    }
    Ok((ids, net))
}

/// Transfers that come to the same as those removed.
fn between(net: Net) -> Vec<(i64, i64, i64)> {
    let givers = net.iter().filter(|(_, sum)| **sum < 0);
    let mut givers: Vec<_> = givers.map(|(row, sum)| (*row, -sum)).collect();
    let mut takers: Vec<_> = net.into_iter().filter(|(_, sum)| *sum > 0).collect();
    let mut summaries = Vec::new();
    while let (Some(giver), Some(taker)) = (givers.last_mut(), takers.last_mut()) {
        let amount = giver.1.min(taker.1);
        summaries.push((giver.0, taker.0, amount));
        giver.1 -= amount;
        taker.1 -= amount;
        givers.retain(|giver| giver.1 > 0);
        takers.retain(|taker| taker.1 > 0);
    }
    summaries
}
