//! The contract, and what is SQLite's own, against real files.

mod crash;
mod files;
mod place;

mod contract {
    farebox_ledger::ledger_contract!(crate::place::SqlitePlace::new());
}
