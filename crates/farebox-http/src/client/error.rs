//! Why a call gave no answer. Nothing here holds a credential or a whole URL: at most a host.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Why a call gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The request could not even be sent: no connection was made.
    #[error("{host} cannot be reached: {}", root_cause(source.as_ref()))]
    NotConnected {
        /// Whom we called.
        host: String,
        /// What the connection said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {}", root_cause(source.as_ref()))]
    Unreachable {
        /// Whom we called.
        host: String,
        /// What the connection said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{host} did not answer within {limit:?}")]
    TimedOut {
        /// Whom we called.
        host: String,
        /// How long we waited.
        limit: Duration,
    },
    /// So many calls are under way that one more is not started.
    #[error("{limit} calls to the same host are under way already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The host is, or resolves to, an address that we do not call.
    #[error(
        "{host} is at an address that is not public; list it under the allowed hosts if it is meant"
    )]
    Blocked {
        /// The host and port.
        host: String,
    },
    /// The URL is malformed or has a scheme that we do not call.
    #[error("a URL at {host} cannot be called")]
    Url {
        /// The host and port; empty where the URL names none.
        host: String,
    },
    /// A redirect; following one would let an answer choose whom we call next.
    #[error("{host} redirects (HTTP status {status}), which is not followed")]
    Redirect {
        /// Whom we called.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// More bytes than the limit.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// Whom we called.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl CallError {
    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::NotConnected { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. } => true,
            Self::Blocked { .. }
            | Self::Url { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// Whether it is certain that nothing was sent. Anything else, a broken connection or a time-out
    /// among them, leaves open what the other side did.
    #[must_use]
    pub const fn reached_nobody(&self) -> bool {
        match self {
            Self::NotConnected { .. } | Self::Busy { .. } | Self::Blocked { .. } => true,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Url { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// Whether an answer was there and is of no use, or a URL named by one cannot be called.
    #[must_use]
    pub const fn is_bad_answer(&self) -> bool {
        matches!(
            self,
            Self::Url { .. } | Self::Redirect { .. } | Self::TooLarge { .. }
        )
    }
}

/// The innermost cause says what happened; the layers above only say that it went through them.
fn root_cause<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
