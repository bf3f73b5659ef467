//! Why a backend made no invoice. Nothing here holds a preimage, a credential or a whole URL: at
//! most a host, and at most a short, printable cut of what a stranger wrote.

use farebox_core::{Msat, PaymentHash};
use farebox_http::client::CallError;

use crate::invoice::Network;

/// Why a backend did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeError {
    /// It gave no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered that it cannot serve at the moment (HTTP 429 or 5xx).
    #[error("{host} is not able to serve at the moment (HTTP status {status})")]
    Unavailable {
        /// Whom we called.
        host: String,
        /// The HTTP status.
        status: u16,
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
    /// The mock node was switched off.
    #[error("the mock node is switched off")]
    Down,
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
    /// A status other than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A web page where JSON belongs.
    #[error("it is a web page, not JSON")]
    WebPage,
    /// Not JSON, or a member of another type than the protocol has. What stands there is not shown:
    /// it may be a preimage.
    #[error("it is not the JSON of the protocol (line {line}, column {column})")]
    Json {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// JSON, but a member has another type than in the protocol.
    #[error("a member of it has another type than in the protocol")]
    Shape,
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

impl AnswerFault {
    /// What was read as JSON and is not the protocol's.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        match (error.line(), error.column()) {
            // It was read as JSON before, so nobody knows the place any more.
            (0, _) => Self::Shape,
            (line, column) => Self::Json { line, column },
        }
    }
}

impl NodeError {
    /// An answer of this host that cannot be used.
    pub(crate) fn bad_answer(host: &str, fault: AnswerFault) -> Self {
        Self::BadAnswer {
            host: host.to_owned(),
            fault,
        }
    }

    /// Whether the same call may succeed later without anyone changing anything: an outage, as
    /// opposed to a wrong address or a provider that lies.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Call(error) => error.is_temporary(),
            Self::Unavailable { .. } | Self::Down => true,
            Self::Forbidden { .. }
            | Self::NotOffered { .. }
            | Self::Refused { .. }
            | Self::AmountOutOfRange { .. }
            | Self::BadInvoice(_)
            | Self::BadAnswer { .. }
            | Self::RepeatedPaymentHash { .. } => false,
        }
    }

    /// Whether it is certain that the backend did nothing of what it was asked: it was not reached,
    /// or it refused before it began. Anything else, a broken connection or a time-out among them,
    /// leaves the outcome unknown.
    #[must_use]
    pub const fn is_certain_refusal(&self) -> bool {
        match self {
            Self::Call(error) => error.reached_nobody(),
            Self::AmountOutOfRange { .. }
            | Self::Forbidden { .. }
            | Self::NotOffered { .. }
            | Self::Down => true,
            Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::BadInvoice(_)
            | Self::BadAnswer { .. }
            | Self::RepeatedPaymentHash { .. } => false,
        }
    }
}
