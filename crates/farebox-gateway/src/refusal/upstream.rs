//! Why the upstream gave no answer that could be passed on. Nothing is charged for that, unless the act of
//! forwarding is what is sold.

use std::error::Error;

use farebox_ledger::VoidReason;
use farebox_wire::problem::ProblemKind;

use farebox_http::upstream::SendError;
use farebox_paywall::error::{Blame, Entry};

/// Why there is no answer of the upstream's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] SendError),
    #[error("the upstream did not answer in time")]
    TimedOut,
    #[error("the upstream does not accept the seller's own credentials")]
    RefusesSeller,
    #[error("the upstream broke the protocol")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the upstream's answer does not have what the route sells")]
    Unsellable(#[source] Box<dyn Error + Send + Sync>),
    /// A fault of ours: the upstream was never asked.
    #[error("the request could not be put to the upstream; nothing was charged")]
    NotSent(#[source] SendError),
}

impl UpstreamError {
    /// The upstream broke the protocol, in this way.
    pub(crate) fn broken(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(cause.into())
    }

    pub(super) const fn entry(&self) -> Entry {
        let (kind, void) = match self {
            Self::Unreachable(_) => (ProblemKind::UPSTREAM_FAILED, VoidReason::Unreachable),
            Self::TimedOut => (ProblemKind::UPSTREAM_TIMEOUT, VoidReason::TimedOut),
            Self::RefusesSeller => (ProblemKind::UPSTREAM_FAILED, VoidReason::Refused),
            Self::Broken(_) | Self::Unsellable(_) => {
                (ProblemKind::UPSTREAM_FAILED, VoidReason::CutShort)
            }
            Self::NotSent(_) => return Entry::new(ProblemKind::INTERNAL),
        };
        Entry::new(kind).blaming(Blame::Upstream).voiding(void)
    }
}
