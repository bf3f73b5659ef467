//! Every way a request ends without an upstream's answer, and what the client is told.
//!
//! A refusal becomes an answer in one place, here. What is owed is answered by `challenge`.

use std::time::Duration;

use farebox_http::aside::Busy;
use farebox_http::body_budget::BodyError;
use farebox_http::headers::FramingError;
use farebox_http::limits::TokenRefusal;
use farebox_http::path::PathError;
use farebox_ledger::{LedgerError, Receipt, VoidReason};
use farebox_wire::problem::{self, Problem, ProblemKind};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::keys::KeyFault;
use crate::outcome::Outcome;
use crate::price::Unsold;
use crate::sdk_error::for_sdks;
use crate::shape::BadFields;

const REASON: HeaderName = HeaderName::from_static(problem::REASON_HEADER);
/// How long a client should wait before it asks again for a request that is in flight.
const IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);
/// How long a client should wait when our node or store is away.
pub(crate) const OUTAGE_RETRY: Duration = Duration::from_secs(5);

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no route takes this path")]
    NoRoute,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("the request names no host, or two different ones")]
    Host,
    #[error("this route does not take the method")]
    Method { allowed: Vec<Method> },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the request body is longer than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the same request is still being served; ask again for its answer")]
    InFlight,
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("this was served and charged before, and its answer is no longer kept")]
    Finished(Receipt),
    #[error("what is left on the token is held by requests in flight")]
    Reserved,
    #[error(transparent)]
    TooOften(#[from] TokenRefusal),
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error("too many attempts with this token failed; what is left on it is not lost")]
    TooManyVoids,
    #[error("the Lightning node does not make invoices at the moment")]
    NodeDown,
    #[error("the Lightning node does not say at the moment whether this was paid; ask again")]
    PaymentUnknown,
    #[error("there is no claim here that this server gave out for this request")]
    NoClaim,
    #[error("the Lightning node does not take this amount; the seller has to change the price")]
    AmountNotTaken,
    #[error("the preimage is right, but the Lightning node does not say that it has the money")]
    NotSettled,
    #[error(transparent)]
    Unsold(#[from] Unsold),
    #[error(transparent)]
    Fields(#[from] BadFields),
    #[error("as many calls as are kept at a time wait for their payment already")]
    TooManyHeld,
    #[error("this route runs calls while their payment is held: it takes no upgrades and no gRPC")]
    CannotHold,
    #[error("as many large requests as are kept waiting wait to be read; ask again")]
    Busy(#[from] Busy),
    #[error("nobody says at the moment what this costs; ask again")]
    Unquoted,
    #[error("the seller does not sell this: {0}")]
    Declined(String),
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
    #[error("the upstream cannot be reached; nothing was charged")]
    UpstreamUnreachable,
    #[error("the upstream did not answer in time; nothing was charged")]
    UpstreamTimedOut,
    #[error("the upstream does not accept the seller's own credentials; nothing was charged")]
    UpstreamRefusesSeller,
    #[error("the upstream broke the protocol; nothing was charged")]
    UpstreamBroken,
}

impl Refusal {
    pub(crate) fn answer(&self, exchange: &mut Exchange) -> Response<AnswerBody> {
        if let Self::Key(fault) = self {
            return fault.answer(exchange);
        }
        let kind = self.kind();
        exchange.outcome = self.outcome();
        exchange.reason = kind.code;
        let mut problem = Problem::new(kind)
            .with_detail(self.to_string())
            .with_request_id(exchange.request_id);
        if let Some(wait) = self.retry_after() {
            problem = problem.with_retry_after(wait);
        }
        if let Self::Finished(receipt) = self {
            problem = problem
                .with("receipt", receipt.hold.to_string())
                .with("charged_msat", receipt.charged.get());
        }
        if let Self::NotSettled = self {
            problem = problem.with_reason("no_settled_invoice");
        }
        if let Self::Fields(fields) = self {
            problem = name_field(problem, fields);
        }
        let mut response = document(&for_sdks(exchange, problem));
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds(wait));
        }
        if let Self::Method { allowed } = self
            && let Ok(list) = HeaderValue::from_str(&names(allowed))
        {
            response.headers_mut().insert(ALLOW, list);
        }
        response
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::NodeDown
            | Self::Unquoted
            | Self::PaymentUnknown
            | Self::AmountNotTaken
            | Self::Unsold(Unsold::NoRate(_))
            | Self::Ledger(_) => Outcome::Fault,
            Self::UpstreamUnreachable
            | Self::UpstreamTimedOut
            | Self::UpstreamRefusesSeller
            | Self::UpstreamBroken => Outcome::UpstreamFailed,
            _ => Outcome::Refused,
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unquoted | Self::Busy(_) => Some(OUTAGE_RETRY),
            Self::InFlight | Self::NotSettled | Self::Reserved => Some(IN_FLIGHT_RETRY),
            Self::TooOften(refusal) => Some(refusal.retry_after().0),
            Self::NodeDown
            | Self::PaymentUnknown
            | Self::TooManyHeld
            | Self::Unsold(Unsold::NoRate(_))
            | Self::Ledger(_)
            | Self::Body(BodyError::BudgetExhausted(_)) => Some(OUTAGE_RETRY),
            _ => None,
        }
    }

    const fn kind(&self) -> ProblemKind {
        match self {
            Self::NoRoute | Self::NoClaim => ProblemKind::NOT_FOUND,
            Self::Path(_) | Self::Framing(_) | Self::Host => ProblemKind::BAD_REQUEST,
            Self::Method { .. } => ProblemKind::METHOD_NOT_ALLOWED,
            Self::Body(BodyError::TooLarge { .. }) | Self::BodyTooLarge { .. } => {
                ProblemKind::BODY_TOO_LARGE
            }
            Self::Body(BodyError::BudgetExhausted(_)) => ProblemKind::OVERLOADED,
            Self::Body(BodyError::TimedOut) => ProblemKind::REQUEST_TIMEOUT,
            Self::Body(BodyError::Broken(_)) => ProblemKind::BAD_REQUEST,
            Self::InFlight | Self::NotSettled => ProblemKind::REQUEST_IN_FLIGHT,
            Self::KeyReused => ProblemKind::IDEMPOTENCY_CONFLICT,
            Self::Finished(_) => ProblemKind::ANSWER_GONE,
            Self::Reserved => ProblemKind::VALUE_RESERVED,
            Self::Key(fault) => fault.kind(),
            Self::TooOften(_) => ProblemKind::RATE_LIMITED,
            Self::TooManyVoids => ProblemKind::CREDENTIAL_SUSPENDED,
            Self::NodeDown | Self::PaymentUnknown | Self::AmountNotTaken => {
                ProblemKind::PAYMENT_UNAVAILABLE
            }
            Self::Ledger(_) | Self::TooManyHeld | Self::Busy(_) => ProblemKind::OVERLOADED,
            Self::Unquoted => ProblemKind::PAYMENT_UNAVAILABLE,
            Self::Declined(_) => ProblemKind::FORBIDDEN,
            Self::CannotHold | Self::Fields(_) => ProblemKind::BAD_REQUEST,
            Self::Unsold(Unsold::NoRate(_)) => ProblemKind::PAYMENT_UNAVAILABLE,
            Self::Unsold(Unsold::Endpoint | Unsold::Model(_)) => ProblemKind::NOT_FOUND,
            Self::Unsold(_) => ProblemKind::NOT_SOLD,
            Self::UpstreamUnreachable => ProblemKind::UPSTREAM_FAILED,
            Self::UpstreamTimedOut => ProblemKind::UPSTREAM_TIMEOUT,
            Self::UpstreamRefusesSeller => ProblemKind::UPSTREAM_FAILED,
            Self::UpstreamBroken => ProblemKind::UPSTREAM_FAILED,
        }
    }
}

fn names(methods: &[Method]) -> String {
    methods
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Says which field of the body was wrong, and what was expected there.
fn name_field(problem: Problem, fields: &BadFields) -> Problem {
    match fields.about() {
        Some((field, Some(expected))) => problem.with("field", field).with("expected", expected),
        Some((field, None)) => problem.with("field", field),
        None => problem,
    }
}

/// Whole seconds, rounded up, at least one.
pub(crate) fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(
        wait.as_secs()
            .saturating_add(u64::from(wait.subsec_nanos() > 0))
            .max(1),
    )
}

/// A problem document as an answer.
pub(crate) fn document(problem: &Problem) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(problem.to_json()));
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(problem::CONTENT_TYPE),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    speak(headers, problem);
    response
}

/// Says in a header why what was presented does not pay.
pub(crate) fn speak(headers: &mut HeaderMap, problem: &Problem) {
    let reason = problem.spoken_reason().map(HeaderValue::try_from);
    if let Some(Ok(reason)) = reason {
        headers.insert(REASON, reason);
    }
}

impl Refusal {
    /// How the hold of a request that never got an answer is released.
    pub(crate) const fn void_reason(&self) -> VoidReason {
        match self {
            Self::UpstreamTimedOut => VoidReason::TimedOut,
            Self::UpstreamBroken => VoidReason::CutShort,
            Self::UpstreamUnreachable => VoidReason::Unreachable,
            _ => VoidReason::NotForwarded,
        }
    }
}
