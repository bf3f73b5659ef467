//! What a wallet answers, once decrypted: the result of a method, or why not. Pure. Nothing read
//! here has a `Debug`, since a preimage may be in it, and an error says where reading stopped and
//! not what stood there.

use farebox_core::{Msat, PaymentHash};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lenient::{self, Instant, Number};
use crate::{AnswerFault, InvoiceState, PaymentFailure, PaymentState, proof};

/// An answer that has the form of one.
pub(super) enum Reply {
    /// The wallet did it.
    Done(Value),
    /// The wallet did not. Code and message follow as it wrote them: a stranger's words.
    Refused(Code, String),
}

/// The wallet's no.
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) words: String,
    /// The relay that brought it first.
    pub(super) via: usize,
}

/// NIP-47's error codes, as far as we tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    RateLimited,
    NotImplemented,
    InsufficientBalance,
    QuotaExceeded,
    Restricted,
    Unauthorized,
    UnsupportedEncryption,
    NotFound,
    PaymentFailed,
    Other,
}

impl Code {
    fn read(code: &str) -> Self {
        match code {
            "RATE_LIMITED" => Self::RateLimited,
            "NOT_IMPLEMENTED" => Self::NotImplemented,
            "INSUFFICIENT_BALANCE" => Self::InsufficientBalance,
            "QUOTA_EXCEEDED" => Self::QuotaExceeded,
            "RESTRICTED" => Self::Restricted,
            "UNAUTHORIZED" => Self::Unauthorized,
            "UNSUPPORTED_ENCRYPTION" => Self::UnsupportedEncryption,
            "NOT_FOUND" => Self::NotFound,
            "PAYMENT_FAILED" => Self::PaymentFailed,
            _ => Self::Other,
        }
    }

    /// Whether the wallet refused before it began, as NIP-47 describes the code. `PAYMENT_FAILED`
    /// may be a time-out, and after `INTERNAL` or `OTHER` nobody knows.
    pub(super) const fn is_before_the_start(self) -> bool {
        match self {
            Self::RateLimited
            | Self::NotImplemented
            | Self::InsufficientBalance
            | Self::QuotaExceeded
            | Self::Restricted
            | Self::Unauthorized
            | Self::UnsupportedEncryption => true,
            Self::NotFound | Self::PaymentFailed | Self::Other => false,
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    result_type: Option<String>,
    error: Option<WireRefusal>,
    result: Option<Value>,
}

#[derive(Deserialize)]
struct WireRefusal {
    #[serde(default, deserialize_with = "lenient::read")]
    code: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    message: Option<String>,
}

/// Reads the answer to a request for `method`.
pub(super) fn read(text: &str, method: &str) -> Result<Reply, AnswerFault> {
    let envelope: Envelope = json(serde_json::from_str(text))?;
    if let Some(refusal) = envelope.error {
        let code = refusal.code.unwrap_or_default();
        let words = format!("{code}: {}", refusal.message.unwrap_or_default());
        return Ok(Reply::Refused(Code::read(&code), words));
    }
    if envelope.result_type.as_deref() != Some(method) {
        return Err(AnswerFault::Missing("result_type of the request"));
    }
    let result = envelope.result.filter(|result| !result.is_null());
    result
        .map(Reply::Done)
        .ok_or(AnswerFault::Missing("result"))
}

/// A notification's kind and what it is about.
pub(super) fn read_notification(text: &str) -> Result<(String, Value), AnswerFault> {
    #[derive(Deserialize)]
    struct Notification {
        notification_type: String,
        notification: Value,
    }
    let read: Notification = json(serde_json::from_str(text))?;
    Ok((read.notification_type, read.notification))
}

/// A value as one of the types below.
pub(super) fn fields<T: DeserializeOwned>(value: Value) -> Result<T, AnswerFault> {
    json(serde_json::from_value(value))
}

fn json<T>(read: Result<T, serde_json::Error>) -> Result<T, AnswerFault> {
    read.map_err(|error| AnswerFault::json(&error))
}

/// An invoice or a payment, as `make_invoice`, `lookup_invoice` and the notifications show it.
#[derive(Deserialize)]
pub(super) struct Transaction {
    #[serde(rename = "type")]
    kind: Option<String>,
    state: Option<String>,
    pub(super) invoice: Option<String>,
    pub(super) payment_hash: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    preimage: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    fees_paid: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    settled_at: Option<Instant>,
}

/// Which way the money of a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Incoming,
    Outgoing,
    Unsaid,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Pending,
    Accepted,
    Settled,
    Expired,
    Failed,
}

impl Transaction {
    pub(super) fn direction(&self) -> Direction {
        match self.kind.as_deref() {
            Some("incoming") => Direction::Incoming,
            Some("outgoing") => Direction::Outgoing,
            _ => Direction::Unsaid,
        }
    }

    /// The state, or what the time of settlement says where the wallet has no states. A preimage
    /// alone says nothing: some wallets show that of an unpaid invoice.
    pub(super) fn standing(&self) -> Standing {
        match self
            .state
            .as_deref()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("settled") => Standing::Settled,
            Some("accepted") => Standing::Accepted,
            Some("expired") => Standing::Expired,
            Some("failed") => Standing::Failed,
            Some(_) => Standing::Pending,
            None if self.settled_at.is_some_and(|Instant(at)| at > 0) => Standing::Settled,
            None => Standing::Pending,
        }
    }

    /// Whether it has a state, and another one than settled.
    pub(super) fn says_unsettled(&self) -> bool {
        self.state.is_some() && self.standing() != Standing::Settled
    }

    /// The hash, which must be the one asked about.
    pub(super) fn check_hash(&self, asked: &PaymentHash) -> Result<(), AnswerFault> {
        if self.hash()? == *asked {
            Ok(())
        } else {
            Err(AnswerFault::OtherInvoice)
        }
    }

    pub(super) fn hash(&self) -> Result<PaymentHash, AnswerFault> {
        let hex = self.payment_hash.as_deref();
        hex.and_then(|hex| PaymentHash::from_hex(hex).ok())
            .ok_or(AnswerFault::Missing("payment_hash"))
    }

    pub(super) fn amount(&self) -> Option<Msat> {
        self.amount.and_then(Number::msat)
    }
}

/// What `pay_invoice` answers.
#[derive(Deserialize)]
pub(super) struct Paid {
    preimage: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    fees_paid: Option<Number>,
}

/// What a transaction says about our payment; none where it is no payment of ours.
pub(super) fn outgoing(
    result: Value,
    hash: &PaymentHash,
) -> Result<Option<PaymentState>, AnswerFault> {
    let transaction: Transaction = fields(result)?;
    transaction.check_hash(hash)?;
    if transaction.direction() != Direction::Outgoing {
        return Ok(None);
    }
    Ok(Some(match transaction.standing() {
        Standing::Settled => PaymentState::Succeeded {
            fee: fee(transaction.fees_paid),
            preimage: proof::shown(transaction.preimage.as_deref(), hash),
        },
        Standing::Failed => PaymentState::Failed(PaymentFailure::Other),
        Standing::Pending | Standing::Accepted | Standing::Expired => PaymentState::Pending,
    }))
}

/// What the wallet says of an invoice of ours; its word is enough, whatever preimage stands beside it. Its
/// amount is what was received, or, from a wallet that shows the invoice's, the least that can have
/// been: nobody settles for less.
pub(super) fn incoming(result: Value, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
    let transaction: Transaction = fields(result)?;
    transaction.check_hash(hash)?;
    if transaction.direction() == Direction::Outgoing {
        return Ok(InvoiceState::Unknown);
    }
    Ok(match transaction.standing() {
        Standing::Pending | Standing::Failed => InvoiceState::Open,
        Standing::Accepted => InvoiceState::Held,
        Standing::Expired => InvoiceState::Canceled,
        Standing::Settled => InvoiceState::Settled {
            received: transaction.amount(),
        },
    })
}

/// The result of `pay_invoice`, which is worth what its preimage proves: without it nothing says
/// that this very invoice was paid.
pub(super) fn paid(result: Value, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
    let paid: Paid = fields(result)?;
    let hex = paid.preimage.ok_or(AnswerFault::Missing("preimage"))?;
    Ok(PaymentState::Succeeded {
        preimage: Some(proof::preimage(&hex, hash)?),
        fee: fee(paid.fees_paid),
    })
}

/// A wallet that does not say what the payment cost is taken to have paid nothing on top.
fn fee(told: Option<Number>) -> Msat {
    told.and_then(Number::msat).unwrap_or(Msat::ZERO)
}

/// What `get_info` answers, as far as it is shown.
#[derive(Deserialize)]
pub(super) struct WalletInfo {
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) alias: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) network: Option<String>,
    #[serde(default)]
    pub(super) methods: Vec<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) notifications: Option<Vec<String>>,
}

/// What `get_balance` answers.
#[derive(Deserialize)]
pub(super) struct Balance {
    pub(super) balance: Number,
}

#[cfg(test)]
mod tests;
