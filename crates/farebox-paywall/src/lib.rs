//! The paywall: from who pays to what is settled, for every kind of offer and price, whoever serves
//! what is sold: a gateway, or a program of the seller's.
//!
//! | step | what it answers |
//! |---|---|
//! | [`credential`], [`claim`] | what was presented, proven |
//! | [`payer`] | who pays for this request, if anybody |
//! | [`price`] | what it costs that payer: asked once |
//! | [`admit`] | what is held for it, or why nothing is |
//! | [`challenge`] | what has to be paid first |
//! | [`gauge`], [`settle`] | what an answer that was used costs, and what becomes of its hold |
//!
//! All of it works on facts that were read off a request ([`ask`]), for what is [sold](sale).
//!
//! Never here: the body of a request or of an answer, a socket, a configuration file.

pub mod admit;
pub mod ask;
pub mod by_use;
pub mod capability;
pub mod challenge;
pub mod claim;
pub mod credential;
pub mod due;
pub mod ecash;
pub mod error;
pub mod gauge;
pub mod keyring;
pub mod keys;
pub mod metrics;
pub mod mints;
pub mod model_headers;
pub mod model_query;
pub mod payer;
pub mod payment_fields;
pub mod payout;
pub mod price;
pub mod receipt;
pub mod retry_words;
pub mod sale;
pub mod settle;
pub mod settled;
pub mod tenure;
pub mod tokens;
pub mod webhook;

mod paywall;

pub use paywall::{Parts, Paywall};
