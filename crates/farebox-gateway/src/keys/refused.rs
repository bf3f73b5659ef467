//! Why a key does not pay for a request, and what its holder is told. Never an invoice.

use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_ledger::KeyRefusal;
use farebox_wire::problem::{Problem, ProblemKind};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::outcome::Outcome;
use crate::refusal::{document, seconds};

/// Where a key gets more money from.
const TOP_UP: &str = "/.farebox/keys/top-up";
const AUTHENTICATE: HeaderValue = HeaderValue::from_static("Bearer realm=\"farebox\"");

/// Why a key does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error("the key is malformed: sk-farebox- and 64 hex digits in lower case are expected")]
    Malformed,
    #[error("the request has more than one credential; send exactly one key")]
    Ambiguous,
    #[error("a prepaid key is needed: Authorization: Bearer sk-farebox-…")]
    Missing,
    #[error("this key is not known here")]
    Unknown,
    #[error("this key was revoked")]
    Revoked,
    #[error("this key has expired")]
    Expired,
    #[error("no payment for this key has arrived yet")]
    NotFunded,
    #[error("what is left on this key does not pay for this request; POST to {TOP_UP} adds to it")]
    UsedUp,
    #[error("this key may not use this route")]
    Route,
    #[error("this key may not use this model")]
    Model,
    #[error("this request would exceed what this key may spend in all")]
    TotalLimit,
    #[error("this request would exceed what this key may spend today")]
    DayLimit {
        resets_at: UnixMillis,
        wait: Duration,
    },
    #[error("no key has this id")]
    NoSuchKey,
    #[error("a key that spends the money of another one has no children")]
    NotParent,
    #[error("a key that spends the money of another one is not paid back; that one is")]
    Child,
    #[error("this key has as many invoices or children as it may have")]
    Full,
    #[error("the body is not the JSON that is expected here")]
    Body,
    #[error("no prepaid keys are sold here")]
    NotSold,
    #[error("too many requests")]
    TooOften { wait: Duration },
}

impl KeyFault {
    pub(super) fn of(refusal: KeyRefusal, now: UnixMillis) -> Self {
        match refusal {
            KeyRefusal::Unknown => Self::Unknown,
            KeyRefusal::Inactive => Self::NotFunded,
            KeyRefusal::Route => Self::Route,
            KeyRefusal::Model => Self::Model,
            KeyRefusal::TotalLimit => Self::TotalLimit,
            KeyRefusal::DayLimit { resets_at } => Self::DayLimit {
                resets_at,
                wait: Duration::from_millis(resets_at.get().saturating_sub(now.get())),
            },
        }
    }

    pub(crate) fn answer(self, exchange: &mut Exchange) -> Response<AnswerBody> {
        exchange.outcome = Outcome::Refused;
        exchange.reason = self.reason();
        let mut problem = Problem::new(self.kind())
            .with_status(self.status().as_u16())
            .with_detail(self.to_string())
            .with_reason(self.reason())
            .with_request_id(exchange.request_id);
        if self.status() == StatusCode::PAYMENT_REQUIRED {
            problem = problem.with("top_up", TOP_UP);
        }
        if let Self::DayLimit { resets_at, .. } = self {
            problem = problem.with("resets_at", resets_at.as_secs());
        }
        let wait = self.retry_after();
        if let Some(wait) = wait {
            problem = problem.with_retry_after(wait);
        }
        let mut response = document(&problem);
        let headers = response.headers_mut();
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, seconds(wait));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, AUTHENTICATE);
        }
        response
    }

    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::DayLimit { wait, .. } | Self::TooOften { wait } => Some(wait),
            _ => None,
        }
    }

    /// The word in logs and problem documents.
    const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Missing => "no_credential",
            Self::Unknown => "unknown_key",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotFunded => "not_funded",
            Self::UsedUp => "used_up",
            Self::Route => "wrong_route",
            Self::Model => "wrong_model",
            Self::TotalLimit => "total_limit",
            Self::DayLimit { .. } => "day_limit",
            Self::NoSuchKey => "no_such_key",
            Self::NotParent => "not_a_parent",
            Self::Child => "child_key",
            Self::Full => "full",
            Self::Body => "bad_body",
            Self::NotSold => "not_sold",
            Self::TooOften { .. } => "too_often",
        }
    }

    /// A client of a provider's API takes 401 for a bad key, and 402 for an empty account.
    fn status(self) -> StatusCode {
        match self {
            Self::Revoked | Self::Expired => StatusCode::UNAUTHORIZED,
            other => StatusCode::from_u16(other.kind().status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    pub(crate) const fn kind(self) -> ProblemKind {
        match self {
            Self::Malformed => ProblemKind::CREDENTIAL_MALFORMED,
            Self::Ambiguous => ProblemKind::CREDENTIAL_AMBIGUOUS,
            Self::Missing => ProblemKind::CREDENTIAL_REQUIRED,
            Self::Unknown => ProblemKind::CREDENTIAL_INVALID,
            Self::Revoked => ProblemKind::CREDENTIAL_REVOKED,
            Self::Expired => ProblemKind::CREDENTIAL_EXPIRED,
            Self::NotFunded => ProblemKind::PAYMENT_REQUIRED,
            Self::UsedUp => ProblemKind::CREDENTIAL_EXHAUSTED,
            Self::Route | Self::Model | Self::NotParent | Self::Child => ProblemKind::FORBIDDEN,
            Self::TotalLimit | Self::DayLimit { .. } | Self::Full | Self::TooOften { .. } => {
                ProblemKind::RATE_LIMITED
            }
            Self::NoSuchKey | Self::NotSold => ProblemKind::NOT_FOUND,
            Self::Body => ProblemKind::BAD_REQUEST,
        }
    }
}
