//! What tells the charge of an answer, where that is not the whole hold.

pub(crate) mod model;
pub(crate) mod report;

pub use model::{Billing, OnDisconnect, Unsaid};
