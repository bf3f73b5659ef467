//! Reading what a provider answers: pure functions from bytes to values. Every field that matters
//! is checked here or carried on as a type; nothing else of the JSON is kept.

use farebox_core::{Msat, PaymentHash};
use http::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::answer::printable;
use crate::invoice::{check_length, parse_invoice};
use crate::lenient::{self, Number};
use crate::{AmountLimits, AnswerFault, InvoiceFault, NodeError};
use farebox_http::client::Answer;

/// The longest callback URL, in bytes.
const MAX_CALLBACK: usize = 2048;

/// The longest `verify` URL that is kept, in bytes.
const MAX_VERIFY: usize = 512;

/// What an address takes, and where (LUD-06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayParameters {
    /// Where invoices are asked for.
    pub callback: Uri,
    /// The amounts it takes.
    pub limits: AmountLimits,
    /// The SHA-256 of the metadata, to which every invoice commits.
    pub metadata_hash: [u8; 32],
    /// How long a comment may be; zero for none (LUD-12).
    pub comment_allowed: usize,
}

/// An answer of the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceAnswer {
    /// The invoice, unread.
    pub bolt11: String,
    /// Where to ask whether it was paid (LUD-21).
    pub verify: Option<Uri>,
}

/// An answer of a `verify` URL (LUD-21). The preimage that may stand in it is not read: whoever receives
/// the money says whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyAnswer {
    /// Whether the provider calls it settled.
    pub settled: bool,
    /// The payment hash of the invoice it speaks about, if it names one that can be read.
    pub invoice_hash: Option<PaymentHash>,
}

/// Why an answer gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// `"status": "ERROR"`, with the reason cut and made printable.
    #[error("refused: {0}")]
    Refused(String),
    /// HTTP 429 or 5xx.
    #[error("HTTP status {0}")]
    Unavailable(u16),
    /// Not what the protocol says.
    #[error("{0}")]
    Fault(#[from] AnswerFault),
    /// The invoice inside is none.
    #[error("{0}")]
    Invoice(#[from] InvoiceFault),
}

impl AnswerError {
    pub(super) fn at(self, host: String) -> NodeError {
        match self {
            Self::Refused(reason) => NodeError::Refused { host, reason },
            Self::Unavailable(status) => NodeError::Unavailable { host, status },
            Self::Fault(fault) => NodeError::BadAnswer { host, fault },
            Self::Invoice(fault) => NodeError::BadInvoice(fault),
        }
    }
}

/// Looks at the status first: providers send their reasons with 200 as well as with 400.
pub(super) fn judge<T>(
    answer: &Answer,
    parse: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
) -> Result<T, AnswerError> {
    let status = answer.status.as_u16();
    if status == 429 || answer.status.is_server_error() {
        return Err(AnswerError::Unavailable(status));
    }
    if answer.status.is_success() {
        let parsed = parse(&answer.body);
        return if answer.is_web_page {
            parsed.map_err(|_| AnswerFault::WebPage.into())
        } else {
            parsed
        };
    }
    match parse(&answer.body) {
        Err(refused @ AnswerError::Refused(_)) => Err(refused),
        _ => Err(AnswerFault::Status(status).into()),
    }
}

#[derive(Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "lenient::read")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayJson {
    tag: Option<String>,
    callback: Option<String>,
    min_sendable: Option<Number>,
    max_sendable: Option<Number>,
    metadata: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    comment_allowed: Option<Number<usize>>,
}

#[derive(Deserialize)]
struct InvoiceJson {
    pr: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    verify: Option<String>,
}

#[derive(Deserialize)]
struct VerifyJson {
    settled: Option<bool>,
    #[serde(default, deserialize_with = "lenient::read")]
    pr: Option<String>,
}

/// Parses what the well-known URL answers.
///
/// # Errors
/// [`AnswerError`].
pub fn parse_pay_parameters(body: &[u8]) -> Result<PayParameters, AnswerError> {
    let json: PayJson = read(body)?;
    if json.tag.as_deref() != Some("payRequest") {
        return Err(AnswerFault::Tag.into());
    }
    let metadata = json.metadata.ok_or(AnswerFault::Missing("metadata"))?;
    check_metadata(&metadata)?;
    let callback = json.callback.ok_or(AnswerFault::Missing("callback"))?;
    Ok(PayParameters {
        callback: parse_url(&callback, MAX_CALLBACK).ok_or(AnswerFault::Url)?,
        limits: limits(
            json.min_sendable
                .ok_or(AnswerFault::Missing("minSendable"))?,
            json.max_sendable
                .ok_or(AnswerFault::Missing("maxSendable"))?,
        )?,
        metadata_hash: Sha256::digest(&metadata).into(),
        comment_allowed: json.comment_allowed.unwrap_or_default().0,
    })
}

/// Parses what the callback answers.
///
/// # Errors
/// [`AnswerError`].
pub fn parse_invoice_answer(body: &[u8]) -> Result<InvoiceAnswer, AnswerError> {
    let json: InvoiceJson = read(body)?;
    let bolt11 = json.pr.ok_or(AnswerFault::Missing("pr"))?;
    check_length(&bolt11)?;
    let verify = json.verify.and_then(|url| parse_url(&url, MAX_VERIFY));
    Ok(InvoiceAnswer { bolt11, verify })
}

/// Parses what a `verify` URL answers.
///
/// # Errors
/// [`AnswerError`].
pub fn parse_verify_answer(body: &[u8]) -> Result<VerifyAnswer, AnswerError> {
    let json: VerifyJson = read(body)?;
    Ok(VerifyAnswer {
        settled: json.settled.ok_or(AnswerFault::Missing("settled"))?,
        invoice_hash: json
            .pr
            .and_then(|pr| parse_invoice(&pr).ok())
            .map(|pr| pr.payment_hash),
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, AnswerError> {
    if let Ok(Status {
        status: Some(status),
        reason,
    }) = serde_json::from_slice(body)
        && status.eq_ignore_ascii_case("error")
    {
        return Err(AnswerError::Refused(printable(&reason.unwrap_or_default())));
    }
    serde_json::from_slice(body).map_err(|error| AnswerFault::json(&error).into())
}

/// An absolute URL with a host. Whether it may be called is for the guard to say, at the call.
fn parse_url(text: &str, limit: usize) -> Option<Uri> {
    let url: Uri = text.parse().ok().filter(|_| text.len() <= limit)?;
    (url.scheme().is_some() && url.host().is_some_and(|host| !host.is_empty())).then_some(url)
}

/// A `maxSendable` beyond what an invoice can ask for means no limit.
fn limits(Number(min): Number, Number(max): Number) -> Result<AmountLimits, AnswerFault> {
    let most = AmountLimits::ANY.max;
    let max = Msat::new(max).unwrap_or(most).min(most);
    let min = Msat::new(min).map_err(|_| AnswerFault::Limits)?;
    if min.is_zero() || min > max {
        Err(AnswerFault::Limits)
    } else {
        Ok(AmountLimits {
            min,
            max,
            step: AmountLimits::ANY.step,
        })
    }
}

/// Entries are arrays that begin with a type; items after it may be anything (LUD-06).
fn check_metadata(metadata: &str) -> Result<(), AnswerFault> {
    let entries: Vec<Vec<serde_json::Value>> =
        serde_json::from_str(metadata).map_err(|_| AnswerFault::Metadata)?;
    let texts = entries.iter().filter(|entry| is_plain_text(entry)).count();
    if texts == 1 {
        Ok(())
    } else {
        Err(AnswerFault::Metadata)
    }
}

fn is_plain_text(entry: &[serde_json::Value]) -> bool {
    matches!(entry, [kind, text, ..] if kind == "text/plain" && text.is_string())
}

#[cfg(test)]
mod tests;
