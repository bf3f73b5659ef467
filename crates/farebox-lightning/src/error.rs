//! Why a backend made no invoice. Nothing here holds a preimage, a credential or a whole URL: at
//! most a host, and at most a short, printable cut of what a stranger wrote.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Msat, PaymentHash};

use crate::invoice::Network;

/// Why a backend did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeError {
    /// No connection, or it broke.
    #[error("{host} cannot be reached: {}", root_cause(source.as_ref()))]
    Unreachable {
        /// Whom we called.
        host: String,
        /// What the connection said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{host} did not answer within {limit:?}")]
    TimedOut {
        /// Whom we called.
        host: String,
        /// How long we waited.
        limit: Duration,
    },
    /// It answered that it cannot serve at the moment (HTTP 429 or 5xx).
    #[error("{host} is not able to serve at the moment (HTTP status {status})")]
    Unavailable {
        /// Whom we called.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// So many calls to the backend are under way that one more is not started.
    #[error("{limit} calls to the Lightning backend are under way already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// It understood and said no.
    #[error("{host} refused: {reason}")]
    Refused {
        /// Whom we called.
        host: String,
        /// Its reason, cut and made printable.
        reason: String,
    },
    /// The amount is outside of what the backend takes.
    #[error("{amount} is outside of what the Lightning backend takes ({min} to {max})")]
    AmountOutOfRange {
        /// What was asked for.
        amount: Msat,
        /// The least it takes.
        min: Msat,
        /// The most it takes.
        max: Msat,
    },
    /// The invoice is not the one that was asked for.
    #[error("the Lightning backend's invoice was refused: {0}")]
    BadInvoice(#[from] InvoiceFault),
    /// The answer is not what the protocol says.
    #[error("{host} gave an answer that cannot be used: {fault}")]
    BadAnswer {
        /// Whom we called.
        host: String,
        /// What is wrong with it.
        #[source]
        fault: AnswerFault,
    },
    /// An invoice with the payment hash of an earlier one: one payment would open both tokens, and
    /// whoever paid the first knows the preimage already. The provider is dishonest or broken.
    #[error("the Lightning backend repeated the payment hash {payment_hash} of an earlier invoice")]
    RepeatedPaymentHash {
        /// The hash.
        payment_hash: PaymentHash,
    },
    /// The host is, or resolves to, an address that we do not call.
    #[error(
        "{host} is at an address that is not public; list it under the allowed hosts if it is meant"
    )]
    BlockedAddress {
        /// The host and port.
        host: String,
    },
    /// The mock node was switched off.
    #[error("the mock node is switched off")]
    Down,
    /// What was asked for could not even be sent: no connection was made.
    #[error("{host} cannot be connected to: {}", root_cause(source.as_ref()))]
    NotConnected {
        /// Whom we called.
        host: String,
        /// What the connection said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The credential is not accepted, or does not allow this.
    #[error("{host} does not allow this with the configured credential (HTTP status {status})")]
    Forbidden {
        /// Whom we called.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// It says of itself that it cannot do this; it was not asked to.
    #[error("{host} does not offer {what}")]
    NotOffered {
        /// Who.
        host: String,
        /// What.
        what: &'static str,
    },
}

/// Why a call of a webhook changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The signature is missing, malformed or another one.
    #[error("the webhook's signature is not the backend's")]
    Signature,
    /// Longer than any event.
    #[error("the webhook is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Signed, and not an event that says that a payment came in.
    #[error("the webhook does not tell of a payment")]
    NotAPayment,
}

/// Why an invoice is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceFault {
    /// Longer than any BOLT 11 invoice needs to be.
    #[error("the invoice is longer than {limit} characters")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Not a BOLT 11 invoice, or one with an invalid signature or contradictory fields.
    #[error("the invoice cannot be read")]
    Malformed(#[source] lightning_invoice::ParseOrSemanticError),
    /// An invoice without an amount lets the payer choose one.
    #[error("the invoice names no amount")]
    Amountless,
    /// An amount of zero, or larger than all bitcoin.
    #[error("the invoice names an impossible amount")]
    ImpossibleAmount,
    /// Another amount than the one asked for.
    #[error("the invoice asks for {found} instead of {asked}")]
    Amount {
        /// What we asked for.
        asked: Msat,
        /// What the invoice says.
        found: Msat,
    },
    /// For another network.
    #[error("the invoice is for {found} instead of {asked}")]
    Network {
        /// The configured network.
        asked: Network,
        /// What the invoice says.
        found: Network,
    },
    /// Past, or so near that no payer would make it.
    #[error("the invoice expires too soon to be paid")]
    Expired,
    /// What was asked for does not fit an invoice.
    #[error("the invoice cannot be written")]
    Unwritable(#[source] lightning_invoice::CreationError),
    /// Its description hash is not that of the metadata, so it was made for something else.
    #[error("the invoice does not commit to the metadata of this Lightning Address")]
    DescriptionHash,
}

/// Why an HTTP answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// A redirect; following one would let an answer choose whom we call next.
    #[error("it redirects (HTTP status {0}), which is not followed")]
    Redirect(u16),
    /// A status other than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// More bytes than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A web page where JSON belongs.
    #[error("it is a web page, not JSON")]
    WebPage,
    /// Not JSON, or a field of another type than the protocol has. What stands there is not shown:
    /// it may be a preimage.
    #[error("it is not the JSON of the protocol (line {line}, column {column})")]
    Json {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// A field that the protocol demands is not there.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// The `tag` is not `payRequest` (LUD-06).
    #[error("it is not a payRequest")]
    Tag,
    /// `minSendable` and `maxSendable` contradict each other or are out of range (LUD-06).
    #[error("its limits make no sense")]
    Limits,
    /// `metadata` is not a JSON array with exactly one `text/plain` entry (LUD-06).
    #[error("its metadata is not as LUD-06 demands")]
    Metadata,
    /// A URL inside the answer is malformed, too long, or has a scheme that we do not call.
    #[error("it names a URL that cannot be called")]
    Url,
    /// It says settled and shows a preimage that does not open the payment hash.
    #[error("it shows a preimage that does not belong to the invoice")]
    Preimage,
    /// It speaks about another invoice than the one asked about.
    #[error("it is about another invoice")]
    OtherInvoice,
}

impl NodeError {
    /// Whether the same call may succeed later without anyone changing anything: an outage, as
    /// opposed to a wrong address or a provider that lies.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Busy { .. }
            | Self::NotConnected { .. }
            | Self::Down => true,
            Self::Forbidden { .. }
            | Self::NotOffered { .. }
            | Self::Refused { .. }
            | Self::AmountOutOfRange { .. }
            | Self::BadInvoice(_)
            | Self::BadAnswer { .. }
            | Self::RepeatedPaymentHash { .. }
            | Self::BlockedAddress { .. } => false,
        }
    }
}

impl NodeError {
    /// Whether it is certain that the backend did nothing of what it was asked: it was not reached,
    /// or it refused before it began. Anything else, a broken connection or a time-out among them,
    /// leaves the outcome unknown.
    #[must_use]
    pub const fn is_certain_refusal(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::AmountOutOfRange { .. }
            | Self::BlockedAddress { .. }
            | Self::NotConnected { .. }
            | Self::Forbidden { .. }
            | Self::NotOffered { .. }
            | Self::Down => true,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::BadInvoice(_)
            | Self::BadAnswer { .. }
            | Self::RepeatedPaymentHash { .. } => false,
        }
    }
}

/// The innermost cause says what happened; the layers above only say that it went through them.
fn root_cause<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
