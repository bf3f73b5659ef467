//! What every way of selling needs, whether a gateway or a program of the seller's sells: the keys
//! that sign tokens, prepaid keys, money paid back, receipts.
//!
//! Never here: the body of a request or of an answer, a socket, a configuration file.

pub mod capability;
pub mod claim;
pub mod credential;
pub mod error;
pub mod keyring;
pub mod keys;
pub mod payout;
pub mod receipt;
pub mod settled;
