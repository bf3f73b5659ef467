//! What a request costs, before it is known who pays.

use crate::Msat;

/// The price of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    /// Nothing: the request is forwarded unpaid. A price of zero is written this way only.
    Free,
    /// Exactly this much, whatever the answer.
    Exactly(Msat),
}
