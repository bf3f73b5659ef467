//! The `farebox` command: from configuration files and flags to a running gateway.
//!
//! Who enters: people at a shell and service managers, through `cli`. `running` starts and ends
//! the parts in order, `command` has one file for each command. What was written becomes what will
//! run in `farebox-config`. Nothing here decides about money; that is the gateway's and the ledger's.

mod cli;
pub mod clock;
mod command;
mod following;
mod output;
mod running;
mod telemetry;
mod token_file;

pub use cli::run;
