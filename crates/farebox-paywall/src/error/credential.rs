//! Why what was presented does not pay, and who may ask for what only a holder is told.

use farebox_wire::credential::{CredentialError, VerifyError};
use farebox_wire::problem::ProblemKind;
use http::StatusCode;

use super::entry::Entry;

/// Why what was presented proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresentedError {
    #[error(transparent)]
    Unreadable(#[from] CredentialError),
    #[error(transparent)]
    Unproven(#[from] VerifyError),
    #[error("the credential was signed with a key that this server does not have")]
    UnknownKey,
}

/// Why something is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// Nothing was presented.
    Nothing,
    /// What was presented proves nothing.
    Unproven(PresentedError),
    /// The token is for another route.
    WrongRoute,
    /// The token is for other methods.
    WrongMethod,
    /// The token is for another request.
    WrongRequest,
    /// A holder left the token less than the request needs.
    MissingCapability,
    /// Its time is over.
    Expired,
    /// The operator revoked it.
    Revoked,
    /// Nothing is left that this request could use.
    Exhausted,
    /// It was never used before its key was voided.
    Voided,
    /// It says something else than what was credited.
    TermsMismatch,
    /// The invoice that was made for this client is not paid yet.
    NotPaidYet,
    /// The preimage is right, but the node says that it does not have the money, and never will.
    NotSettled,
}

/// What only a holder is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderOf {
    /// What can be paid back on a token.
    Refund,
    /// What a request was charged.
    Receipt,
}

/// Why somebody is not told what only a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    #[error("{}", .0.bring())]
    Missing(HolderOf),
    #[error("{1}")]
    Unproven(HolderOf, #[source] PresentedError),
    #[error("a holder narrowed this token; the token as it was sold is needed")]
    Attenuated,
}

impl PresentedError {
    const fn kind(self) -> ProblemKind {
        match self {
            Self::Unreadable(CredentialError::Ambiguous) => ProblemKind::CREDENTIAL_AMBIGUOUS,
            Self::Unreadable(_) => ProblemKind::CREDENTIAL_MALFORMED,
            Self::Unproven(_) | Self::UnknownKey => ProblemKind::CREDENTIAL_INVALID,
        }
    }

    /// The word in logs and problem documents.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "malformed",
            Self::Unproven(_) => "unproven",
            Self::UnknownKey => "unknown_key",
        }
    }

    const fn entry(self) -> Entry {
        Entry::new(self.kind()).because(self.reason())
    }
}

impl Owed {
    /// Its entry in the table: 401 for what can never pay, unless the seller has all of them be 402.
    pub const fn entry(self) -> Entry {
        match self {
            Self::Nothing => Entry::new(ProblemKind::PAYMENT_REQUIRED).because("no_credential"),
            Self::NotPaidYet => Entry::new(ProblemKind::PAYMENT_REQUIRED).because("not_paid_yet"),
            Self::NotSettled => {
                Entry::new(ProblemKind::PAYMENT_REQUIRED).because("no_settled_invoice")
            }
            // It may have been signed by a key of ours that is gone, and be worth buying anew.
            Self::Unproven(PresentedError::UnknownKey) => PresentedError::UnknownKey
                .entry()
                .with_status(StatusCode::PAYMENT_REQUIRED),
            Self::Unproven(error) => error.entry(),
            Self::WrongRoute => out_of_scope("wrong_route"),
            Self::WrongMethod => out_of_scope("wrong_method"),
            Self::WrongRequest => out_of_scope("wrong_request"),
            Self::MissingCapability => out_of_scope("missing_capability"),
            Self::Expired => Entry::new(ProblemKind::CREDENTIAL_EXPIRED).because("expired"),
            Self::Revoked => Entry::new(ProblemKind::CREDENTIAL_REVOKED).because("revoked"),
            Self::Voided => {
                Entry::new(ProblemKind::CREDENTIAL_REVOKED).because("voided_by_rotation")
            }
            Self::Exhausted => Entry::new(ProblemKind::CREDENTIAL_EXHAUSTED).because("used_up"),
            Self::TermsMismatch => {
                Entry::new(ProblemKind::CREDENTIAL_INVALID).because("terms_mismatch")
            }
        }
    }
}

const fn out_of_scope(reason: &'static str) -> Entry {
    Entry::new(ProblemKind::CREDENTIAL_OUT_OF_SCOPE).because(reason)
}

impl HolderOf {
    const fn bring(self) -> &'static str {
        match self {
            Self::Refund => "present the paid token: Authorization: L402 <macaroon>:<preimage>",
            Self::Receipt => "present the token or the key that paid for the request",
        }
    }

    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Refund => &["L402 realm=\"refund\""],
            Self::Receipt => &["L402 realm=\"receipts\"", "Bearer realm=\"farebox\""],
        }
    }
}

impl HolderError {
    pub const fn entry(self) -> Entry {
        match self {
            Self::Missing(of) => Entry::new(ProblemKind::CREDENTIAL_REQUIRED)
                .because("no_credential")
                .asking_for(of.schemes()),
            Self::Unproven(of, error) => error.entry().asking_for(of.schemes()),
            Self::Attenuated => Entry::new(ProblemKind::CREDENTIAL_ATTENUATED),
        }
    }
}
