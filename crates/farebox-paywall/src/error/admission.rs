//! Why a request that could be paid for is not let in at the moment, or not again.

use farebox_ledger::Receipt;
use farebox_wire::problem::{Problem, ProblemKind};

use super::entry::{BRIEFLY, Entry};
use farebox_http::limits::TokenRefusal;

/// Why nothing is held for a request.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    #[error("the same request is still being served; ask again for its answer")]
    InFlight,
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    #[error("this was served and charged before, and its answer is no longer kept")]
    Finished(Receipt),
    #[error("what is left on the token is held by requests in flight")]
    Reserved,
    #[error("too many attempts with this token failed; what is left on it is not lost")]
    TooManyVoids,
    #[error(transparent)]
    Limit(#[from] TokenRefusal),
}

impl AdmissionError {
    pub const fn entry(&self) -> Entry {
        match self {
            Self::InFlight => Entry::new(ProblemKind::REQUEST_IN_FLIGHT).again_in(BRIEFLY),
            Self::IdempotencyConflict => Entry::new(ProblemKind::IDEMPOTENCY_CONFLICT),
            Self::Finished(_) => Entry::new(ProblemKind::ANSWER_GONE),
            Self::Reserved => Entry::new(ProblemKind::VALUE_RESERVED).again_in(BRIEFLY),
            Self::TooManyVoids => Entry::new(ProblemKind::CREDENTIAL_SUSPENDED),
            Self::Limit(refusal) => {
                Entry::new(ProblemKind::RATE_LIMITED).again_in(refusal.retry_after().0)
            }
        }
    }

    pub fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::Finished(receipt) => problem
                .with("receipt", receipt.hold.to_string())
                .with("charged_msat", receipt.charged.get()),
            _ => problem,
        }
    }
}
