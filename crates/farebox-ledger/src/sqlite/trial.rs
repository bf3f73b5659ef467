//! The trial balance: everything added up, in one snapshot.

use std::collections::HashMap;

use farebox_core::Msat;
use rusqlite::Transaction;

use crate::name::HouseName;
use crate::store::StoreError;
use crate::view::TrialBalance;

pub(super) fn balance(snapshot: &Transaction<'_>) -> Result<TrialBalance, StoreError> {
    let mut trial = TrialBalance::default();
    let mut proof = add_up_transfers(snapshot, &mut trial)?;
    add_up_accounts(snapshot, &mut trial, &mut proof)?;
    add_up_holds(snapshot, &mut trial)?;
    // What is left moved money from or to accounts that do not exist.
    trial.unproven += count(proof.values().filter(|sum| **sum != 0).count());
    Ok(trial)
}

fn add_up_transfers(
    snapshot: &Transaction<'_>,
    trial: &mut TrialBalance,
) -> Result<HashMap<i64, i128>, StoreError> {
    let mut proof: HashMap<i64, i128> = HashMap::new();
    let mut statement = snapshot.prepare("SELECT debit, credit, msat FROM transfers")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let amount = i128::from(row.get::<_, i64>(2)?);
        *proof.entry(row.get(0)?).or_default() -= amount;
        *proof.entry(row.get(1)?).or_default() += amount;
        trial.transfers += 1;
    }
    Ok(proof)
}

fn add_up_accounts(
    snapshot: &Transaction<'_>,
    trial: &mut TrialBalance,
    proof: &mut HashMap<i64, i128>,
) -> Result<(), StoreError> {
    let mut statement = snapshot.prepare(
        "SELECT a.id, a.balance, h.name FROM accounts a LEFT JOIN house h ON h.account = a.id",
    )?;
    let mut found = statement.query([])?;
    let mut payers: i128 = 0;
    while let Some(row) = found.next()? {
        let balance: i64 = row.get(1)?;
        trial.sum += i128::from(balance);
        trial.unproven +=
            u64::from(proof.remove(&row.get(0)?).unwrap_or_default() != i128::from(balance));
        match row.get::<_, Option<String>>(2)? {
            Some(name) => {
                trial.overdrawn += u64::from(is_impossible(&name, balance));
                trial.house.push((name, balance));
            }
            None => {
                trial.accounts += 1;
                payers += i128::from(balance);
            }
        }
    }
    trial.house.sort();
    trial.payers = total(payers);
    Ok(())
}

fn add_up_holds(snapshot: &Transaction<'_>, trial: &mut TrialBalance) -> Result<(), StoreError> {
    let sums = |sql: &str| {
        snapshot.query_row(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
    };
    let (holds, held) = sums("SELECT count(*), coalesce(sum(msat), 0) FROM holds")?;
    let open = "SELECT count(*), coalesce(sum(sold + excess), 0) FROM payouts WHERE state = 1";
    let (payouts, reserved) = sums(open)?;
    let calls = "SELECT count(*), 0 FROM held_calls WHERE state < 4";
    let (calls, _) = sums(calls)?;
    trial.open_holds = holds.unsigned_abs();
    trial.open_payouts = payouts.unsigned_abs();
    trial.held_calls = calls.unsigned_abs();
    trial.payouts_held = total(i128::from(reserved));
    trial.held = total(i128::from(held) + i128::from(reserved));
    for wrong in [OVERDRAWN, OVERDRAWN_KEYS, STRAY_HOLDS, STRAY_PAYOUTS] {
        let (found, _) = sums(wrong)?;
        trial.overdrawn += found.unsigned_abs();
    }
    for wrong in [
        MISCOUNTED_KEYS,
        MISCOUNTED_CHILDREN,
        UNPROVEN_CHARGES,
        MISCOUNTED_CHANGE,
        MISCOUNTED_COINS,
    ] {
        let (found, _) = sums(wrong)?;
        trial.unproven += found.unsigned_abs();
    }
    Ok(())
}

/// Accounts that hold more than they have, of what is for sale or of the excess, or more calls.
const OVERDRAWN: &str = "SELECT count(*), 0 FROM claims c JOIN accounts a ON a.id = c.account \
     LEFT JOIN (SELECT account, sum(msat) AS msat, count(*) AS calls FROM holds GROUP BY account) h \
     ON h.account = c.account \
     LEFT JOIN (SELECT account, sum(sold) AS sold, sum(excess) AS excess, sum(calls) AS calls \
     FROM payouts WHERE state = 1 GROUP BY account) p ON p.account = c.name \
     WHERE a.balance < coalesce(h.msat, 0) + coalesce(p.sold, 0) + coalesce(p.excess, 0) \
     OR (c.kind <> 4 AND a.balance - c.excess < coalesce(h.msat, 0) + coalesce(p.sold, 0)) \
     OR (c.kind <> 4 AND c.excess < coalesce(p.excess, 0)) \
     OR (c.calls IS NOT NULL \
     AND a.calls_used + coalesce(h.calls, 0) + coalesce(p.calls, 0) > c.calls)";
/// Keys of whose money more is held than there is, and children that have money of their own.
const OVERDRAWN_KEYS: &str = "SELECT count(*), 0 FROM keys k JOIN accounts a ON a.id = k.account \
     LEFT JOIN (SELECT account, sum(msat) AS msat FROM holds GROUP BY account) h \
     ON h.account = k.account \
     LEFT JOIN (SELECT account, sum(sold + excess) AS msat FROM payouts WHERE state = 1 \
     GROUP BY account) p ON p.account = k.name \
     WHERE a.balance < coalesce(h.msat, 0) + coalesce(p.msat, 0) \
     OR (k.parent IS NOT NULL AND a.balance <> 0)";
/// Keys whose spending by day is not what was settled on their money.
const MISCOUNTED_KEYS: &str = "SELECT count(*), 0 FROM keys k \
     LEFT JOIN (SELECT account, sum(msat) AS msat FROM key_days GROUP BY account) d \
     ON d.account = k.account \
     LEFT JOIN (SELECT debit, sum(msat) AS msat FROM transfers WHERE kind = 2 \
     AND debit IN (SELECT account FROM keys) GROUP BY debit) t ON t.debit = k.account \
     WHERE k.parent IS NULL AND coalesce(d.msat, 0) <> coalesce(t.msat, 0)";
/// Days on which children spent more than counts for their parent.
const MISCOUNTED_CHILDREN: &str = "SELECT count(*), 0 FROM (SELECT k.parent, d.day, \
     sum(d.msat) AS msat FROM key_days d JOIN keys k ON k.account = d.account \
     WHERE k.parent IS NOT NULL GROUP BY k.parent, d.day) c \
     LEFT JOIN key_days p ON p.account = c.parent AND p.day = c.day \
     WHERE c.msat > coalesce(p.msat, 0)";
/// Charges whose details are not those of their transfer.
const UNPROVEN_CHARGES: &str = "SELECT count(*), 0 FROM charges c \
     LEFT JOIN transfers t ON t.id = c.id AND t.kind = 2 \
     WHERE t.msat IS NOT c.charged OR (t.id IS NOT NULL AND t.debit <> c.account) \
     OR coalesce(c.charged, 0) > min(c.held, c.used)";
/// Whether the change that is owed is not the sum of what was taken for it.
const MISCOUNTED_CHANGE: &str = "SELECT (SELECT coalesce(sum(a.balance), 0) FROM house h \
     JOIN accounts a ON a.id = h.account WHERE h.name LIKE 'owed:%') \
     <> (SELECT coalesce(sum(msat), 0) FROM change), 0";
/// Units of mints of which the coins that are ours are not worth what came in and did not go out.
const MISCOUNTED_COINS: &str = "SELECT count(*), 0 FROM (SELECT coalesce(sum(worth), 0) AS worth \
     FROM (SELECT 'ecash:' || printf('%016x', mint) AS name, msat AS worth FROM coins \
     WHERE state IN (1, 2, 4) UNION ALL SELECT h.name, a.balance FROM house h \
     JOIN accounts a ON a.id = h.account WHERE h.name LIKE 'ecash:%') GROUP BY name) \
     WHERE worth <> 0";
/// A hold on an account that does not exist holds nobody's money.
const STRAY_HOLDS: &str = "SELECT count(*), 0 FROM holds \
     WHERE account NOT IN (SELECT account FROM claims UNION ALL SELECT account FROM keys)";
/// Nor does such a payout.
const STRAY_PAYOUTS: &str = "SELECT count(*), 0 FROM payouts WHERE state = 1 AND account \
     NOT IN (SELECT name FROM claims UNION ALL SELECT name FROM keys)";

/// Whether an account of the house has a name or stands at a sum that it never could.
fn is_impossible(name: &str, balance: i64) -> bool {
    HouseName::parse(name).is_none_or(|name| name.is_impossible(balance))
}

fn total(sum: i128) -> Msat {
    u64::try_from(sum)
        .ok()
        .and_then(|sum| Msat::new(sum).ok())
        .unwrap_or_default()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
