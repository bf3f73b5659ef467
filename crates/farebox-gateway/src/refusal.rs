//! Every way a request ends without an upstream's answer, and what whoever asked is told of it.
//!
//! One error type for each meaning; [`Refusal::entry`] is the table from all of them to HTTP. What
//! an entry looks like on the wire is `render`'s affair: nothing here knows bodies.

mod fields;
mod request;
#[cfg(test)]
mod tests;
mod upstream;

use farebox_http::aside::Busy;
use farebox_http::body_budget::{BodyError, BudgetExhausted};
use farebox_http::headers::FramingError;
use farebox_http::limits::{RetryAfter, TokenRefusal};
use farebox_http::path::PathError;
use farebox_ledger::{LedgerError, VoidReason};
use farebox_paywall::payout::RefundError;
use farebox_wire::problem::{Problem, ProblemKind};
use http::Method;

pub(crate) use farebox_paywall::error::{
    AdmissionError, Blame, EcashError, Entry, Error as PaywallError, HolderError, HolderOf,
    KeyFault, OUTAGE, Owed, PaymentError, PresentedError, PriceError, Unsold,
};
pub(crate) use fields::BadFields;
pub(crate) use request::{FormError, RequestError};
pub(crate) use upstream::UpstreamError;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// What was asked, or how.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Who asked, where only a holder may.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// Who pays, what it costs, or how it would be paid.
    #[error(transparent)]
    Paywall(#[from] PaywallError),
    /// What would be paid back.
    #[error(transparent)]
    Refund(Box<RefundError>),
    /// The money went out and came back.
    #[error("the payment failed; the money is back, ask with another invoice")]
    RefundFailed {
        /// The refund, as its holder is shown it.
        refund: serde_json::Value,
    },
    /// The upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// One of our own limits.
    #[error(transparent)]
    Overload(#[from] Overload),
}

/// Why there is no room for a request at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Overload {
    #[error("too many request bodies are held in memory")]
    Bodies(#[source] BudgetExhausted),
    /// It was not forwarded.
    #[error("too many answers are on their way to their clients; nothing was charged")]
    Room(#[source] BudgetExhausted),
    /// It was forwarded, and the upstream did answer.
    #[error("too many answers are held in memory")]
    Answers(#[source] BudgetExhausted),
}

impl Overload {
    const fn entry(&self) -> Entry {
        let entry = Entry::new(ProblemKind::OVERLOADED)
            .blaming(Blame::Client)
            .again_in(OUTAGE);
        match self {
            Self::Answers(_) => entry.voiding(VoidReason::CutShort),
            Self::Bodies(_) | Self::Room(_) => entry,
        }
    }
}

impl Refusal {
    /// Its line of the table.
    pub(crate) fn entry(&self) -> Entry {
        match self {
            Self::Request(error) => error.entry(),
            Self::Holder(error) => error.entry(),
            Self::Paywall(error) => error.entry(),
            Self::Refund(error) => {
                let entry = Entry::new(error.problem());
                match error.retry_after() {
                    Some(wait) => entry.again_in(wait),
                    None => entry,
                }
            }
            Self::RefundFailed { .. } => {
                Entry::new(ProblemKind::REFUND_FAILED).blaming(Blame::Client)
            }
            Self::Upstream(error) => error.entry(),
            Self::Overload(error) => error.entry(),
        }
    }

    /// Adds to the problem document what this error alone can tell.
    pub(crate) fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::Request(error) => error.describe(problem),
            Self::Paywall(error) => error.describe(problem),
            Self::RefundFailed { refund } => problem.with("refund", refund.clone()),
            _ => problem,
        }
    }

    /// The methods that would have been taken, where it is about the method.
    pub(crate) fn allowed(&self) -> Option<&[Method]> {
        match self {
            Self::Request(RequestError::Method { allowed }) => Some(allowed),
            _ => None,
        }
    }
}

impl From<RefundError> for Refusal {
    fn from(error: RefundError) -> Self {
        Self::Refund(Box::new(error))
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => RequestError::BodyTooLarge {
                limit: limit as u64,
            }
            .into(),
            BodyError::BudgetExhausted(full) => Overload::Bodies(full).into(),
            BodyError::TimedOut => RequestError::BodyTooSlow.into(),
            BodyError::Broken(cause) => RequestError::BodyBroken(cause).into(),
        }
    }
}

/// Errors that are one step away from theirs in [`Refusal`].
macro_rules! by_way_of {
    ($($error:ty => $group:ty;)*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                <$group>::from(error).into()
            }
        })*
    };
}

by_way_of! {
    PathError => RequestError;
    FramingError => RequestError;
    BadFields => RequestError;
    FormError => RequestError;
    KeyFault => PaywallError;
    AdmissionError => PaywallError;
    TokenRefusal => PaywallError;
    PriceError => PaywallError;
    Unsold => PaywallError;
    PaymentError => PaywallError;
    EcashError => PaywallError;
    Busy => PaywallError;
    RetryAfter => PaywallError;
    LedgerError => PaywallError;
}
