//! The `farebox` command: from configuration files and flags to a running gateway.
//!
//! Rooms: [`config`] turns what was written into what will run, [`import`] reads other paywalls'
//! files. Nothing here decides about money; that is
//! the gateway's and the ledger's.

pub mod clock;
pub mod config;
pub mod import;
