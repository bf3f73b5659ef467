//! What can go wrong, as statuses and stable codes.

use std::error::Error;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use farebox_api::ErrorBody;
use farebox_ledger::LedgerError;
use farebox_lightning::mock::PayError;
use farebox_paywall::ecash::TillError;
use farebox_paywall::keyring::KeyringError;
use farebox_paywall::payout::{CloseError, RefundError};

/// Why the console did not do what was asked. Answered as an [`ErrorBody`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleError {
    #[error("the admin token is needed: Authorization: Bearer <token>")]
    Unauthorized,
    #[error("this host name is not the console's; console.hosts lists more of them")]
    Host,
    #[error("there is nothing here")]
    NotFound,
    #[error("not with this method")]
    MethodNotAllowed,
    #[error("no account has this payment hash: it was never used, or long ago")]
    NoAccount,
    /// The request is not as it should be.
    #[error("{0}")]
    BadRequest(Box<dyn Error + Send + Sync>),
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
    #[error("the keys were not rotated")]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Refund(#[from] RefundError),
    #[error("no refund has this id")]
    NoPayout,
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error(transparent)]
    Till(#[from] TillError),
    #[error("no withdrawal has this id")]
    NoWithdrawal,
    #[error("no prepaid key has this id")]
    NoKey,
    #[error("no charge has this id: there never was one, or long ago")]
    NoCharge,
    /// The system has no randomness.
    #[error("no key can be drawn: {0}")]
    Random(String),
    #[error(transparent)]
    Pay(#[from] PayError),
    #[error("the metrics cannot be written")]
    Metrics(#[from] std::fmt::Error),
    /// A background task ended early.
    #[error("the work was given up")]
    Task(#[from] tokio::task::JoinError),
}

impl ConsoleError {
    pub(crate) fn bad(what: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::BadRequest(what.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound
            | Self::NoAccount
            | Self::NoPayout
            | Self::NoKey
            | Self::NoCharge
            | Self::NoWithdrawal => StatusCode::NOT_FOUND,
            Self::Close(CloseError::Unknown) => StatusCode::NOT_FOUND,
            Self::Close(CloseError::Ledger(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Close(_) => StatusCode::CONFLICT,
            Self::Refund(error) => error.problem().status,
            Self::Till(TillError::NoMint { .. }) => StatusCode::NOT_FOUND,
            Self::Till(TillError::Short { .. } | TillError::Refused(_) | TillError::Lost) => {
                StatusCode::CONFLICT
            }
            Self::Till(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Pay(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Keyring(_) | Self::Metrics(_) | Self::Task(_) | Self::Random(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Host => "wrong_host",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoAccount => "no_account",
            Self::NoKey => "no_key",
            Self::NoCharge => "no_charge",
            Self::NoPayout | Self::Close(CloseError::Unknown) => "no_payout",
            Self::Close(_) => "not_closed",
            Self::Refund(error) => error.problem().code,
            Self::Till(TillError::NoMint { .. }) => "no_mint",
            Self::Till(TillError::Short { .. }) => "short",
            Self::Till(TillError::Refused(_)) => "mint_refused",
            Self::Till(TillError::Lost) => "lost",
            Self::Till(TillError::Ecash(_) | TillError::Ledger(_)) => "ledger",
            Self::Till(_) => "mint_unavailable",
            Self::NoWithdrawal => "no_withdrawal",
            Self::BadRequest(_) => "bad_request",
            Self::Pay(_) => "not_paid",
            Self::Ledger(_) => "ledger",
            Self::Keyring(_) => "keys",
            Self::Metrics(_) | Self::Task(_) | Self::Random(_) => "internal",
        }
    }
}

impl From<QueryRejection> for ConsoleError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection)
    }
}

impl From<JsonRejection> for ConsoleError {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad(rejection)
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let status = self.status();
        // A mint that is away is nobody's failure here.
        let is_ours = self.code() != "mint_unavailable";
        if status.is_server_error() && is_ours {
            tracing::error!(error = &self as &dyn Error, "the console failed");
        }
        let body = Json(ErrorBody {
            error: self.code().to_owned(),
            message: self.to_string(),
        });
        let mut response = (status, body).into_response();
        if matches!(self, Self::Unauthorized) {
            let challenge = HeaderValue::from_static("Bearer realm=\"farebox console\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(crate) async fn not_found() -> ConsoleError {
    ConsoleError::NotFound
}

pub(crate) async fn method_not_allowed() -> ConsoleError {
    ConsoleError::MethodNotAllowed
}
