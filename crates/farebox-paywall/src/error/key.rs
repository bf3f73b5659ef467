//! Why a key does not pay for a request, and what its holder is told. Never an invoice.

use std::time::Duration;

use crate::keys::BadKey;
use farebox_core::UnixMillis;
use farebox_ledger::KeyRefusal;
use farebox_wire::problem::{Problem, ProblemKind};
use http::StatusCode;

use super::entry::Entry;

/// Where a key gets more money from.
const TOP_UP: &str = "/.farebox/keys/top-up";
const AUTHENTICATE: &[&str] = &["Bearer realm=\"farebox\""];

/// Why a key does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the key is malformed: sk-farebox- and 64 hex digits in lower case are expected")]
    Malformed,
    #[error("the request has more than one credential; send exactly one key")]
    Ambiguous,
    #[error(
        "a key stands where it pays for nothing; send it as Authorization: Bearer sk-farebox-…"
    )]
    Misplaced,
    #[error(
        "a key stands in the address, which others write into their logs; make a new one, and send it \
         as Authorization: Bearer sk-farebox-…"
    )]
    InAddress,
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
        /// None where no day allows so much.
        resets_at: Option<(UnixMillis, Duration)>,
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
}

impl From<BadKey> for KeyFault {
    fn from(bad: BadKey) -> Self {
        match bad {
            BadKey::Malformed => Self::Malformed,
            BadKey::Ambiguous => Self::Ambiguous,
            BadKey::Misplaced => Self::Misplaced,
        }
    }
}

impl KeyFault {
    pub fn of(refusal: KeyRefusal, now: UnixMillis) -> Self {
        match refusal {
            KeyRefusal::Unknown => Self::Unknown,
            KeyRefusal::Inactive => Self::NotFunded,
            KeyRefusal::Route => Self::Route,
            KeyRefusal::Model => Self::Model,
            KeyRefusal::TotalLimit => Self::TotalLimit,
            KeyRefusal::DayLimit { resets_at } => Self::DayLimit {
                resets_at: resets_at.map(|at| {
                    let wait = at.get().saturating_sub(now.get());
                    (at, Duration::from_millis(wait))
                }),
            },
        }
    }

    /// Its entry in the table. A client of a provider's API takes 401 for a bad key, and 402 for an
    /// empty account.
    pub const fn entry(self) -> Entry {
        let (kind, reason) = match self {
            Self::Malformed => (ProblemKind::CREDENTIAL_MALFORMED, "malformed"),
            Self::Ambiguous => (ProblemKind::CREDENTIAL_AMBIGUOUS, "ambiguous"),
            Self::Misplaced => (ProblemKind::CREDENTIAL_MALFORMED, "misplaced"),
            Self::InAddress => (ProblemKind::CREDENTIAL_MALFORMED, "in_address"),
            Self::Missing => (ProblemKind::CREDENTIAL_REQUIRED, "no_credential"),
            Self::Unknown => (ProblemKind::CREDENTIAL_INVALID, "unknown_key"),
            Self::Revoked => (ProblemKind::CREDENTIAL_REVOKED, "revoked"),
            Self::Expired => (ProblemKind::CREDENTIAL_EXPIRED, "expired"),
            Self::NotFunded => (ProblemKind::PAYMENT_REQUIRED, "not_funded"),
            Self::UsedUp => (ProblemKind::CREDENTIAL_EXHAUSTED, "used_up"),
            Self::Route => (ProblemKind::FORBIDDEN, "wrong_route"),
            Self::Model => (ProblemKind::FORBIDDEN, "wrong_model"),
            Self::TotalLimit => (ProblemKind::RATE_LIMITED, "total_limit"),
            Self::DayLimit { .. } => (ProblemKind::RATE_LIMITED, "day_limit"),
            Self::NoSuchKey => (ProblemKind::NOT_FOUND, "no_such_key"),
            Self::NotParent => (ProblemKind::FORBIDDEN, "not_a_parent"),
            Self::Child => (ProblemKind::FORBIDDEN, "child_key"),
            Self::Full => (ProblemKind::RATE_LIMITED, "full"),
            Self::Body => (ProblemKind::BAD_REQUEST, "bad_body"),
            Self::NotSold => (ProblemKind::NOT_FOUND, "not_sold"),
        };
        let entry = Entry::new(kind).because(reason);
        match self {
            Self::Malformed
            | Self::Ambiguous
            | Self::Misplaced
            | Self::InAddress
            | Self::Missing
            | Self::Unknown => entry.asking_for(AUTHENTICATE),
            Self::Revoked | Self::Expired => entry
                .with_status(StatusCode::UNAUTHORIZED)
                .asking_for(AUTHENTICATE),
            Self::DayLimit {
                resets_at: Some((_, wait)),
            } => entry.again_in(wait),
            _ => entry,
        }
    }

    pub fn describe(self, problem: Problem) -> Problem {
        match self {
            Self::NotFunded | Self::UsedUp => problem.with("top_up", TOP_UP),
            Self::DayLimit {
                resets_at: Some((at, _)),
            } => problem.with("resets_at", at.as_secs()),
            _ => problem,
        }
    }
}
