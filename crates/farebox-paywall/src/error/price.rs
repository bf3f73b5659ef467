//! Why a request has no price.

use std::error::Error;

use farebox_market::rates::NoRate;
use farebox_meter::{Refused, Unpriced};
use farebox_wire::grpc::Code;
use farebox_wire::problem::ProblemKind;
use http::StatusCode;
use http::header::HeaderName;

use super::entry::{Blame, Entry, OUTAGE};

/// Why a request has no price.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    #[error(transparent)]
    Unsold(#[from] Unsold),
    #[error("nobody says at the moment what this costs; ask again")]
    Untold(#[source] Box<dyn Error + Send + Sync>),
    #[error("nobody is asked at the moment what this costs: too many asked; ask again")]
    TooOften,
    #[error("the seller does not sell this: {0}")]
    Declined(String),
}

/// Why a call is not sold.
#[derive(Debug, thiserror::Error)]
pub enum Unsold {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] Refused),
    /// The path.
    #[error("this endpoint is not sold here")]
    Endpoint,
    /// The model has no price.
    #[error("the model {0:?} is not sold here")]
    Model(String),
    /// Something that it may use has no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// Prices in fiat, and no rate.
    #[error(transparent)]
    NoRate(#[from] NoRate),
    /// A compressed request, where its bytes are sold.
    #[error("{header}: requests are sold by their bytes here, and not taken compressed")]
    Compressed {
        /// Which header says so.
        header: HeaderName,
    },
    /// A header asks for something that has no price.
    #[error("{beta} in the header {header} is not sold here")]
    Beta {
        /// Which header.
        header: String,
        /// What it asks for.
        beta: String,
    },
}

impl PriceError {
    pub const fn entry(&self) -> Entry {
        match self {
            Self::Unsold(Unsold::NoRate(_)) | Self::Untold(_) => {
                Entry::new(ProblemKind::PAYMENT_UNAVAILABLE).again_in(OUTAGE)
            }
            Self::TooOften => Entry::new(ProblemKind::PAYMENT_UNAVAILABLE)
                .blaming(Blame::Client)
                .again_in(OUTAGE),
            Self::Declined(_) => Entry::new(ProblemKind::FORBIDDEN),
            Self::Unsold(Unsold::Endpoint | Unsold::Model(_)) => Entry::new(ProblemKind::NOT_FOUND),
            Self::Unsold(Unsold::Compressed { .. }) => Entry::new(ProblemKind::NOT_SOLD)
                .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .with_grpc(Code::Unimplemented),
            Self::Unsold(_) => Entry::new(ProblemKind::NOT_SOLD),
        }
    }
}
