//! What is wrong with a request, whoever pays for it.

use std::error::Error;

use farebox_wire::problem::{Problem, ProblemKind};
use http::uri::InvalidUri;
use http::{Method, StatusCode};

use super::fields::BadFields;
use farebox_http::headers::FramingError;
use farebox_http::path::PathError;
use farebox_paywall::error::{Entry, PresentedError};

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("no route takes this path")]
    NoRoute,
    #[error("there is no claim here that this server gave out for this request")]
    NoClaim,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("the request names no host, or two different ones")]
    Host,
    #[error("path and query are none that an upstream could be asked for")]
    Target(#[from] InvalidUri),
    #[error("this route does not take the method")]
    Method { allowed: Vec<Method> },
    #[error("the request body is longer than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the body came too slowly")]
    BodyTooSlow,
    #[error("the body broke off")]
    BodyBroken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the body is not JSON with \"invoice\" or \"address\", and perhaps \"amount_msat\"")]
    RefundBody,
    #[error("a list is read by \"after\" and \"limit\", which are numbers, and nothing else")]
    BadPage,
    #[error(transparent)]
    Fields(#[from] BadFields),
    #[error("this route runs calls while their payment is held: it takes no upgrades and no gRPC")]
    CannotHold,
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("no backend of this server signs its webhook so")]
    Unsigned,
}

/// Why a form with a preimage leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    #[error("this form can only be sent from the payment page of this server")]
    Foreign,
    #[error("the form cannot be read")]
    Unreadable,
    #[error("the form belongs to no address that its invoice was made for")]
    WrongAddress,
    #[error("this is not the preimage of the paid invoice: {0}")]
    Unproven(#[from] PresentedError),
}

impl RequestError {
    /// The path takes these methods alone.
    pub(crate) fn only(allowed: &[Method]) -> Self {
        let allowed = allowed.to_vec();
        Self::Method { allowed }
    }

    pub(super) const fn entry(&self) -> Entry {
        match self {
            Self::NoRoute | Self::NoClaim => Entry::new(ProblemKind::NOT_FOUND),
            Self::Path(_)
            | Self::Framing(_)
            | Self::Host
            | Self::Target(_)
            | Self::BodyBroken(_)
            | Self::RefundBody
            | Self::BadPage
            | Self::Fields(_)
            | Self::CannotHold => Entry::new(ProblemKind::BAD_REQUEST),
            Self::Method { .. } => Entry::new(ProblemKind::METHOD_NOT_ALLOWED),
            Self::BodyTooLarge { .. } => Entry::new(ProblemKind::BODY_TOO_LARGE),
            Self::BodyTooSlow => Entry::new(ProblemKind::REQUEST_TIMEOUT),
            Self::Form(error) => error.entry(),
            Self::Unsigned => {
                Entry::new(ProblemKind::SIGNATURE_REFUSED).asking_for(&["X-Phoenix-Signature"])
            }
        }
    }

    pub(super) fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::Method { allowed } => {
                let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
                problem.with("allowed", names)
            }
            Self::Fields(fields) => match fields.about() {
                Some((field, Some(expected))) => {
                    problem.with("field", field).with("expected", expected)
                }
                Some((field, None)) => problem.with("field", field),
                None => problem,
            },
            _ => problem,
        }
    }
}

impl FormError {
    /// A browser would take 401 for a question for a password.
    const fn entry(&self) -> Entry {
        match self {
            Self::Foreign => Entry::new(ProblemKind::FORBIDDEN),
            Self::Unreadable | Self::WrongAddress => Entry::new(ProblemKind::BAD_REQUEST),
            Self::Unproven(error) => Entry::new(ProblemKind::CREDENTIAL_INVALID)
                .with_status(StatusCode::BAD_REQUEST)
                .because(error.reason()),
        }
    }
}
