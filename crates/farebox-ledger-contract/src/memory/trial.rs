//! The trial balance of the store in memory.

use std::collections::BTreeMap;

use farebox_core::{AccountId, Msat};
use farebox_ledger::seam::Account;
use farebox_ledger::{PayoutState, TrialBalance};

use super::tables::{Party, Tables};

pub(super) fn trial_balance(tables: &Tables) -> TrialBalance {
    let mut proof: BTreeMap<Party, i128> = BTreeMap::new();
    for moved in tables.transfers.values() {
        let amount = i128::from(moved.amount.get());
        *proof.entry(moved.debit.clone()).or_default() -= amount;
        *proof.entry(moved.credit.clone()).or_default() += amount;
    }
    let mut trial = TrialBalance {
        transfers: tables.transfers.len() as u64,
        open_holds: tables.holds.len() as u64,
        ..TrialBalance::default()
    };
    add_house(tables, &mut proof, &mut trial);
    let mut payers = 0;
    for (id, entry) in &tables.entries {
        let call = entry.call.as_ref();
        trial.held_calls += u64::from(call.is_some_and(|row| !row.call.state.is_end()));
        let Some(account) = entry.account() else {
            continue;
        };
        let balance = i128::from(account.balance.get());
        payers += account.balance.get();
        trial.accounts += 1;
        trial.sum += balance;
        let proven = proof.remove(&Party::Payer(*id)).unwrap_or_default() == balance;
        trial.unproven += u64::from(!proven || !is_counted(id, account, tables));
        trial.overdrawn += u64::from(account.balance < held(account));
    }
    trial.payers = Msat::new(payers).unwrap_or(Msat::MAX);
    add_open(tables, &mut trial);
    trial.unproven += proof.values().filter(|sum| **sum != 0).count() as u64;
    trial.unproven += tables.miscounted_coins();
    trial
}

fn add_house(tables: &Tables, proof: &mut BTreeMap<Party, i128>, trial: &mut TrialBalance) {
    let mut sums: BTreeMap<_, i64> = BTreeMap::new();
    for ((name, _), balance) in &tables.house {
        *sums.entry(name.clone()).or_default() += balance;
    }
    for (name, sum) in sums {
        trial.sum += i128::from(sum);
        trial.overdrawn += u64::from(name.is_impossible(sum));
        let proven = proof
            .remove(&Party::House(name.clone()))
            .unwrap_or_default();
        trial.unproven += u64::from(proven != i128::from(sum));
        if sum != 0 {
            trial.house.push((name.to_string(), sum));
        }
    }
    trial.house.sort();
}

fn add_open(tables: &Tables, trial: &mut TrialBalance) {
    let open = tables
        .payouts
        .iter()
        .filter(|row| row.view.state == PayoutState::Open);
    let mut reserved = 0;
    for row in open {
        trial.open_payouts += 1;
        reserved += row.reserve.sold.get() + row.reserve.excess.get();
    }
    let holds: u64 = tables.holds.values().map(|hold| hold.amount.get()).sum();
    trial.payouts_held = Msat::new(reserved).unwrap_or(Msat::MAX);
    trial.held = Msat::new(reserved + holds).unwrap_or(Msat::MAX);
}

pub(super) fn held(account: &Account) -> Msat {
    let held = account.held.msat.checked_add(account.held.excess);
    held.unwrap_or(Msat::MAX)
}

/// Whether what the row says of its holds is what the holds and the open payout come to.
fn is_counted(id: &AccountId, account: &Account, tables: &Tables) -> bool {
    let holds = tables.holds.values().filter(|hold| hold.facts.payer == *id);
    let holds: u64 = holds.map(|hold| hold.amount.get()).sum();
    let open = tables
        .payouts
        .iter()
        .find(|row| row.view.account == *id && row.view.state == PayoutState::Open);
    let reserved = open.map_or(0, |row| row.reserve.sold.get() + row.reserve.excess.get());
    let spent = account.key().is_none_or(|key| {
        let days: u64 = key.days.values().map(|on| on.spent.get()).sum();
        key.spent.get() == days
    });
    held(account).get() == holds + reserved && spent
}
