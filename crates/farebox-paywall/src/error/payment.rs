//! Why nobody can pay for a request at the moment, or nobody says whether it was paid.

use farebox_lightning::NodeError;
use farebox_wire::challenge::InvoiceTextError;
use farebox_wire::problem::ProblemKind;

use super::entry::{BRIEFLY, Entry, OUTAGE};

/// Why there is no invoice, or no word of a payment.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    #[error("no Lightning node makes invoices for this server at the moment")]
    NoNode,
    #[error("the Lightning node does not make invoices at the moment")]
    Node(#[source] NodeError),
    #[error("the Lightning node repeated an earlier invoice; ask again for another one")]
    RepeatedHash(#[source] NodeError),
    #[error("the Lightning node made an invoice that nobody could pay")]
    BadInvoice(#[from] InvoiceTextError),
    #[error("the Lightning node made an invoice for another payment than it was asked for")]
    OtherInvoice,
    #[error("no Lightning node of this server holds payments at the moment")]
    NoHolder,
    #[error("as many requests as may wait for an invoice do; ask again")]
    QueueFull,
    #[error("the system gives no random bytes at the moment")]
    Entropy(#[from] getrandom::Error),
    #[error("the secret that tokens are signed with is gone")]
    SigningKeyGone,
    #[error("the name of the new key was taken by chance; ask again for another one")]
    NameTaken,
    #[error("the Lightning node does not take this amount; the seller has to change the price")]
    AmountNotTaken,
    #[error("the Lightning node does not say at the moment whether this was paid; ask again")]
    Untold,
    #[error("the preimage is right, but the Lightning node does not say that it has the money")]
    NotSettled,
}

impl PaymentError {
    pub const fn entry(&self) -> Entry {
        let unavailable = Entry::new(ProblemKind::PAYMENT_UNAVAILABLE);
        match self {
            Self::NoNode
            | Self::Node(_)
            | Self::RepeatedHash(_)
            | Self::BadInvoice(_)
            | Self::OtherInvoice
            | Self::NoHolder
            | Self::QueueFull
            | Self::Entropy(_)
            | Self::SigningKeyGone
            | Self::NameTaken
            | Self::Untold => unavailable.again_in(OUTAGE),
            Self::AmountNotTaken => unavailable,
            Self::NotSettled => Entry::new(ProblemKind::REQUEST_IN_FLIGHT)
                .because("no_settled_invoice")
                .again_in(BRIEFLY),
        }
    }
}

impl From<NodeError> for PaymentError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::RepeatedPaymentHash { .. } => Self::RepeatedHash(error),
            error => Self::Node(error),
        }
    }
}
