//! Why somebody does not get what he asked for, and what is said of it: the paywall's part of the
//! table from errors to HTTP. How an entry looks on the wire is the affair of whoever answers.

#![expect(missing_docs, reason = "the message of an error is its documentation")]

mod admission;
mod credential;
mod ecash;
mod entry;
mod key;
mod payment;
mod price;

use farebox_http::aside::Busy;
use farebox_http::limits::{RetryAfter, TokenRefusal};
use farebox_ledger::LedgerError;
use farebox_wire::problem::{Problem, ProblemKind};

pub use admission::{AdmissionError, Unlike};
pub use credential::{HolderError, HolderOf, Owed, PresentedError};
pub use ecash::EcashError;
pub use entry::{BRIEFLY, Blame, Entry, OUTAGE};
pub use key::KeyFault;
pub use payment::PaymentError;
pub use price::{PriceError, Unsold};

/// Why a request is neither admitted nor challenged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prepaid key.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// What the account is held for already.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// What it costs.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// How it would be paid.
    #[error(transparent)]
    Payment(#[from] PaymentError),
    /// The coins that pay for it.
    #[error(transparent)]
    Ecash(#[from] EcashError),
    /// A large request that has to be read beside the data threads.
    #[error("as many large requests as are kept waiting wait to be read; ask again")]
    Reading(#[from] Busy),
    /// A call whose payment would be held.
    #[error("as many calls as are kept at a time wait for their payment already")]
    HeldCalls,
    /// A fault of ours: a step needs the body that an earlier one did not keep.
    #[error("the body was read before, and was not kept")]
    BodyNotKept,
    /// A client's share of questions, whatever pays for them.
    #[error(transparent)]
    TooOften(#[from] RetryAfter),
    /// Our store.
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
}

impl Error {
    /// Its line of the table.
    pub fn entry(&self) -> Entry {
        match self {
            Self::Key(fault) => fault.entry(),
            Self::Admission(error) => error.entry(),
            Self::Price(error) => error.entry(),
            Self::Payment(error) => error.entry(),
            Self::Ecash(error) => error.entry(),
            Self::Reading(_) | Self::HeldCalls => Entry::new(ProblemKind::OVERLOADED)
                .blaming(Blame::Client)
                .again_in(OUTAGE),
            Self::BodyNotKept => Entry::new(ProblemKind::INTERNAL),
            Self::TooOften(RetryAfter(wait)) => Entry::new(ProblemKind::RATE_LIMITED)
                .because("too_often")
                .again_in(*wait),
            Self::Ledger(_) => Entry::new(ProblemKind::OVERLOADED).again_in(OUTAGE),
        }
    }

    /// Adds to the problem document what this error alone can tell.
    #[must_use]
    pub fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::Key(fault) => fault.describe(problem),
            Self::Admission(error) => error.describe(problem),
            Self::Ecash(error) => error.describe(problem),
            _ => problem,
        }
    }
}

impl From<TokenRefusal> for Error {
    fn from(refusal: TokenRefusal) -> Self {
        AdmissionError::from(refusal).into()
    }
}

impl From<Unsold> for Error {
    fn from(unsold: Unsold) -> Self {
        PriceError::from(unsold).into()
    }
}
