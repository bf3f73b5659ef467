//! Named points at which a test kills the process, on the way of a request through the gateway.

/// Admitted, and nothing sent to the upstream yet.
pub(crate) const FORWARD_BEFORE_SEND: &str = "forward-before-send";
/// The upstream has answered, and nothing has reached the client.
pub(crate) const FORWARD_HEADERS_RECEIVED: &str = "forward-headers-received";
/// The first bytes of an answer are told to the ledger and about to leave; more will follow. Passed
/// again by each later piece of the answer.
pub(crate) const FIRST_BYTE_RECORDED: &str = "first-byte-recorded";
/// The answer has ended and its settlement is queued.
pub(crate) const LAST_BYTE_SENT: &str = "last-byte-sent";

/// A held call is marked as begun, and nothing was sent to the upstream yet.
pub(crate) const HELD_RUNNING: &str = "held-running";
/// The answer of a held call is stored, and its payment not taken yet.
pub(crate) const HELD_ANSWERED: &str = "held-answered";
/// The payment of a held call is taken at the node, and not booked yet.
pub(crate) const HELD_TAKEN: &str = "held-taken";

/// Every point the gateway itself passes through, in the order of one paid request; those of
/// [`farebox_ledger::CRASH_POINTS`] lie before and behind.
pub const CRASH_POINTS: [&str; 4] = [
    FORWARD_BEFORE_SEND,
    FORWARD_HEADERS_RECEIVED,
    FIRST_BYTE_RECORDED,
    LAST_BYTE_SENT,
];

/// The points of a call whose payment is held, in order.
pub const HELD_CRASH_POINTS: [&str; 3] = [HELD_RUNNING, HELD_ANSWERED, HELD_TAKEN];
