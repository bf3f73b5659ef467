//! What can go wrong, as statuses and stable codes.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use farebox_ledger::LedgerError;
use farebox_lightning::mock::PayError;
use farebox_paywall::keyring::KeyringError;
use farebox_paywall::payout::{CloseError, RefundError};
use serde_json::json;

/// Why the console did not do what was asked. Answered as `{"error": code, "message": text}`.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// No admin token, or another one.
    #[error("the admin token is needed: Authorization: Bearer <token>")]
    Unauthorized,
    /// The `Host` is not one of ours.
    #[error("this host name is not the console's; console.hosts lists more of them")]
    Host,
    /// Nothing is there.
    #[error("there is nothing here")]
    NotFound,
    /// Not with this method.
    #[error("not with this method")]
    MethodNotAllowed,
    /// No account with this payment hash: never claimed, or pruned.
    #[error("no account has this payment hash: it was never used, or long ago")]
    NoAccount,
    /// The request is not as it should be.
    #[error("{what}")]
    BadRequest {
        /// What should be otherwise.
        what: String,
    },
    /// The ledger did not answer.
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
    /// The keys could not be rotated.
    #[error("the keys were not rotated")]
    Keyring(#[from] KeyringError),
    /// Nothing was paid back.
    #[error(transparent)]
    Refund(#[from] RefundError),
    /// No refund has this id.
    #[error("no refund has this id")]
    NoPayout,
    /// A refund was not closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// No prepaid key has this id.
    #[error("no prepaid key has this id")]
    NoKey,
    /// No charge has this id: there never was one, or its account was pruned since.
    #[error("no charge has this id: there never was one, or long ago")]
    NoCharge,
    /// The system has no randomness.
    #[error("no key can be drawn: {0}")]
    Random(String),
    /// The test money was not paid.
    #[error(transparent)]
    Pay(#[from] PayError),
    /// Metrics could not be written.
    #[error("the metrics cannot be written")]
    Metrics(#[from] std::fmt::Error),
    /// A background task ended early.
    #[error("the work was given up")]
    Task(#[from] tokio::task::JoinError),
}

impl ConsoleError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound | Self::NoAccount | Self::NoPayout | Self::NoKey | Self::NoCharge => {
                StatusCode::NOT_FOUND
            }
            Self::Close(CloseError::Unknown) => StatusCode::NOT_FOUND,
            Self::Close(CloseError::Ledger(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Close(_) => StatusCode::CONFLICT,
            Self::Refund(error) => error.problem().status,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Pay(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Keyring(_) | Self::Metrics(_) | Self::Task(_) | Self::Random(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    const fn code(&self) -> &'static str {
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
            Self::BadRequest { .. } => "bad_request",
            Self::Pay(_) => "not_paid",
            Self::Ledger(_) => "ledger",
            Self::Keyring(_) => "keys",
            Self::Metrics(_) | Self::Task(_) | Self::Random(_) => "internal",
        }
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(
                error = &self as &dyn std::error::Error,
                "the console failed"
            );
        }
        let body = Json(json!({ "error": self.code(), "message": self.to_string() }));
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
