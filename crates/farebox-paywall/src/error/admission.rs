//! Why a request that could be paid for is not let in at the moment, or not again.

use farebox_http::replay::Differs;
use farebox_ledger::Receipt;
use farebox_wire::problem::{Problem, ProblemKind};
use serde_json::{Map, Value};

use super::entry::{BRIEFLY, Entry};
use farebox_http::limits::TokenRefusal;

/// A retry that asks for something else than the stored answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// What the first request was charged.
    pub receipt: Receipt,
    /// In which fields it differs, and what the first request sent there.
    pub differs: Vec<Differs>,
}

/// Why nothing is held for a request.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    #[error("the same request is still being served; ask again for its answer")]
    InFlight,
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    #[error("this was served and charged before, and its answer is no longer kept")]
    Finished(Receipt),
    #[error(
        "this was served and charged before, and its answer is kept for a request with other header fields"
    )]
    Unlike(Box<Unlike>),
    #[error("what is left on the token is held by requests in flight")]
    Reserved,
    #[error(transparent)]
    Limit(#[from] TokenRefusal),
}

impl AdmissionError {
    /// Fails where a retry differs in a field from the request that the stored answer is for.
    pub fn check_alike(receipt: Receipt, differs: Vec<Differs>) -> Result<(), Self> {
        if differs.is_empty() {
            return Ok(());
        }
        Err(Self::Unlike(Box::new(Unlike { receipt, differs })))
    }

    pub const fn entry(&self) -> Entry {
        match self {
            Self::InFlight => Entry::new(ProblemKind::REQUEST_IN_FLIGHT).again_in(BRIEFLY),
            Self::IdempotencyConflict => Entry::new(ProblemKind::IDEMPOTENCY_CONFLICT),
            Self::Finished(_) => Entry::new(ProblemKind::ANSWER_GONE),
            Self::Unlike(_) => Entry::new(ProblemKind::ANSWER_UNLIKE),
            Self::Reserved => Entry::new(ProblemKind::VALUE_RESERVED).again_in(BRIEFLY),
            Self::Limit(refusal) => {
                Entry::new(ProblemKind::RATE_LIMITED).again_in(refusal.retry_after().0)
            }
        }
    }

    pub fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::Finished(receipt) => with_receipt(problem, receipt),
            Self::Unlike(unlike) => {
                let sent = unlike.differs.iter();
                let sent: Map<String, Value> = sent
                    .map(|(name, sent)| (name.to_string(), sent.clone().into()))
                    .collect();
                with_receipt(problem, &unlike.receipt).with("send", sent)
            }
            _ => problem,
        }
    }
}

fn with_receipt(problem: Problem, receipt: &Receipt) -> Problem {
    problem
        .with("receipt", receipt.hold.to_string())
        .with("charged_msat", receipt.charged.get())
}
