//! Named points at which a test kills the process, on the way of a refund.

/// A payout is written down, and nothing sent to the node yet.
pub(super) const BEFORE_SEND: &str = "payout-before-send";
/// The node has answered a payment, or the wait for its answer is over.
pub(super) const AFTER_SEND: &str = "payout-after-send";
/// The end of a payout is known and not written down.
pub(super) const BEFORE_FINISH: &str = "payout-before-finish";

/// Every point of a refund that the gateway itself passes through, in order; the ledger's own,
/// `payout-before-commit` and `payout-after-commit`, lie around each writing down.
pub const CRASH_POINTS: [&str; 3] = [BEFORE_SEND, AFTER_SEND, BEFORE_FINISH];
