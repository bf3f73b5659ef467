//! Why nothing is paid out, in words that hold for holder and operator alike.

use std::time::Duration;

use farebox_core::Msat;
use farebox_ledger::LedgerError;
use farebox_lightning::{InvoiceFault, NodeError};
use farebox_wire::problem::ProblemKind;

use crate::error::{BRIEFLY, OUTAGE};

/// When it is worth asking again where a limit over 24 hours is reached.
const LONG: Duration = Duration::from_secs(60 * 60);

/// Why a refund was not begun. In each case nothing was reserved and nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// Switched off for holders.
    #[error("this server pays nothing back to holders; its operator can")]
    Disabled,
    /// No backend can pay.
    #[error("no Lightning backend of this server can pay")]
    NoPayer,
    /// The backends cannot say what became of an invoice, so nothing they received is proven.
    #[error("no Lightning backend of this server can look invoices up, so nothing is paid back")]
    NoLookup,
    /// The node does not call what was paid for this account settled.
    #[error("the node does not say that what was asked for was paid in full")]
    NotSettled,
    /// The node calls it settled, but not with how much.
    #[error("the backend does not say how much was received, so nothing is paid back")]
    AmountUnknown,
    /// The ledger does not know the account: its token was never used.
    #[error("no account has this payment hash: its token was never used, or long ago")]
    Unknown,
    /// The key spends the money of another one.
    #[error("this key spends the money of another one; only that one can be paid back")]
    Child,
    /// The `Idempotency-Key` came with another wish before.
    #[error("the Idempotency-Key was used for another refund; nothing was begun for this one")]
    Repeated,
    /// The key of this token was voided before the token was used.
    #[error("the token was never used before its key was voided")]
    Voided,
    /// Another refund of this account has no end yet.
    #[error("another refund of the same token or key is under way")]
    UnderWay,
    /// Everything that is left is held by requests in flight.
    #[error("what is left is held by requests in flight")]
    Reserved,
    /// There is nothing, or not as much.
    #[error("{available} can be paid back, fees included")]
    NothingLeft {
        /// What is there.
        available: Msat,
    },
    /// Less than is ever paid back.
    #[error("less than {least} is not paid back")]
    BelowLeast {
        /// The least amount.
        least: Msat,
    },
    /// Too much went to holders within 24 hours.
    #[error("as much as this server pays back within 24 hours has been paid back")]
    DailyTotal,
    /// Too much of it would go to this token or key.
    #[error(
        "one token or key is paid back a part of what this server pays back within 24 hours: \
         {left} more at the moment"
    )]
    DailyShare {
        /// What is left of its part.
        left: Msat,
    },
    /// Too many payouts are open, or too many that were asked for from there.
    #[error("as many payments as this server makes at one time are under way")]
    TooManyOpen,
    /// This account was refunded too often within 24 hours.
    #[error("this token or key was paid back as often as is possible within 24 hours")]
    TooOften,
    /// The operator revoked the token or the key.
    #[error("the operator revoked it; only the operator can pay back what is left")]
    Revoked,
    /// The token says something else than what was credited.
    #[error("the token says something else than what was sold")]
    TermsMismatch,
    /// It is neither an invoice nor a Lightning Address.
    #[error("the destination is neither a BOLT 11 invoice nor a Lightning Address (user@host)")]
    NoDestination,
    /// The invoice cannot be paid by us.
    #[error("the invoice cannot be paid: {0}")]
    Invoice(#[from] InvoiceFault),
    /// The invoice and the request name different amounts.
    #[error("the invoice is for {invoice}, and {asked} was asked for")]
    OtherAmount {
        /// What the invoice says.
        invoice: Msat,
        /// What the request says.
        asked: Msat,
    },
    /// The invoice is one of our own.
    #[error("the invoice is one of this server's own")]
    OwnInvoice,
    /// The invoice was used for another account.
    #[error("the invoice was used before")]
    UsedInvoice,
    /// The payee takes only other amounts.
    #[error("the address takes {min} to {max}")]
    PayeeLimits {
        /// The least it takes.
        min: Msat,
        /// The most it takes.
        max: Msat,
    },
    /// The address gave no invoice.
    #[error("the address gave no invoice: {}", told(.0))]
    Address(#[source] NodeError),
    /// Our own node did not answer.
    #[error("the Lightning node does not answer at the moment")]
    Node(#[source] NodeError),
    /// The ledger did not answer.
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
    /// The system gave no random bytes, or the process is ending.
    #[error("the server cannot begin a payment at the moment")]
    Unable,
}

/// What a stranger may learn of a failed fetch: nothing of what our side saw beyond the host that
/// the stranger named, lest the errors map our own network.
fn told(error: &NodeError) -> String {
    match error {
        NodeError::Refused { host, reason } => format!("{host} refused: {reason}"),
        NodeError::BadInvoice(fault) => fault.to_string(),
        NodeError::AmountOutOfRange { min, max, .. } => format!("it takes {min} to {max}"),
        NodeError::BadAnswer { host, fault } => format!("{host}: {fault}"),
        NodeError::Call(error) if error.is_bad_answer() => error.to_string(),
        NodeError::RepeatedPaymentHash { .. } => "it repeats an invoice".to_owned(),
        _ => "it cannot be reached".to_owned(),
    }
}

impl RefundError {
    /// The kind of problem, whose code and status never change their meaning.
    #[must_use]
    pub const fn problem(&self) -> ProblemKind {
        match self {
            Self::Disabled | Self::NoPayer | Self::NoLookup | Self::AmountUnknown => {
                ProblemKind::REFUNDS_UNAVAILABLE
            }
            Self::NotSettled => ProblemKind::PAYMENT_NOT_SETTLED,
            Self::Unknown => ProblemKind::NOT_FOUND,
            Self::Child => ProblemKind::FORBIDDEN,
            Self::Repeated => ProblemKind::IDEMPOTENCY_CONFLICT,
            Self::Voided | Self::Revoked => ProblemKind::REFUND_REVOKED,
            Self::UnderWay => ProblemKind::REFUND_UNDER_WAY,
            Self::Reserved => ProblemKind::VALUE_RESERVED,
            Self::NothingLeft { .. } => ProblemKind::NOTHING_TO_REFUND,
            Self::BelowLeast { .. } => ProblemKind::REFUND_TOO_SMALL,
            Self::DailyTotal | Self::DailyShare { .. } | Self::TooManyOpen | Self::TooOften => {
                ProblemKind::REFUND_LIMIT
            }
            Self::TermsMismatch => ProblemKind::CREDENTIAL_INVALID,
            Self::NoDestination
            | Self::Invoice(_)
            | Self::OtherAmount { .. }
            | Self::OwnInvoice
            | Self::UsedInvoice
            | Self::PayeeLimits { .. }
            | Self::Address(_) => ProblemKind::REFUND_DESTINATION,
            Self::Node(_) => ProblemKind::PAYMENT_UNAVAILABLE,
            Self::Ledger(_) | Self::Unable => ProblemKind::OVERLOADED,
        }
    }

    /// When it is worth asking again, if it is.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::UnderWay | Self::Reserved => Some(BRIEFLY),
            Self::TooManyOpen | Self::Node(_) | Self::Ledger(_) | Self::Unable => Some(OUTAGE),
            Self::DailyTotal | Self::DailyShare { .. } | Self::TooOften => Some(LONG),
            // Whether an address may answer later is not said: it would tell what lies inside.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use farebox_http::client::CallError;

    use super::*;

    #[test]
    fn a_stranger_learns_nothing_of_our_network_from_a_failed_fetch() {
        let inside = |host: &str| {
            NodeError::Call(CallError::Blocked {
                host: host.to_owned(),
            })
        };
        let away = NodeError::Call(CallError::TimedOut {
            host: "10.0.0.1:22".to_owned(),
            limit: Duration::from_secs(5),
        });
        let blocked = RefundError::Address(inside("10.0.0.1:22")).to_string();
        assert_eq!(blocked, RefundError::Address(away).to_string());
        assert!(!blocked.contains("10.0.0.1"), "{blocked}");
    }
}
