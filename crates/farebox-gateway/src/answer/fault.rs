//! Why answers break off.

use std::time::Duration;

use farebox_http::decode::InflowError;

/// Why an answer broke off. The client sees a closed connection or a reset stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerFault {
    /// The upstream connection broke, or what came over it cannot be read.
    #[error(transparent)]
    Upstream(InflowError),
    /// The upstream said nothing for too long.
    #[error("the upstream was silent for {0:?}")]
    Silent(Duration),
    /// What paid for it is over.
    #[error("what paid for the answer is over")]
    Over,
    /// The client did not read on, and the upstream's part was let go.
    #[error("the client stopped reading")]
    Unread,
}
