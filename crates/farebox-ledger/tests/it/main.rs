//! The contract, and what is SQLite's own, against real files.

#[cfg(test)]
mod child;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crash_charges;
#[cfg(test)]
mod crash_keys;
#[cfg(test)]
mod crash_payouts;
#[cfg(test)]
mod files;
#[cfg(test)]
mod place;

mod contract {
    farebox_ledger_contract::every_store!(crate::place::SqlitePlace::new());
    farebox_ledger_contract::exclusive_store!(crate::place::SqlitePlace::new());
}
