//! LND's JSON: 64-bit numbers are strings, bytes are Base64, refusals are gRPC statuses whatever
//! HTTP says. Preimages that stand beside invoices are never read.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use farebox_core::{Msat, PaymentHash};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::JudgeAnswer;
use crate::lenient::{self, Number};
use crate::{AnswerFault, NodeError};
use farebox_http::client::Answer;

/// `lnrpc.Invoice`, as far as it is read.
#[derive(Deserialize)]
pub(super) struct InvoiceJson {
    pub(super) r_hash: String,
    pub(super) state: String,
    #[serde(default, deserialize_with = "lenient::read")]
    value_msat: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    amt_paid_msat: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    settle_index: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) htlcs: Option<Vec<HtlcJson>>,
}

/// `lnrpc.InvoiceHTLC`, as far as it is read.
#[derive(Deserialize)]
pub(super) struct HtlcJson {
    pub(super) state: String,
    #[serde(default)]
    pub(super) amt_msat: Number,
    #[serde(default)]
    pub(super) expiry_height: Number<u32>,
}

impl InvoiceJson {
    /// What it asks for; none where the payer chooses.
    pub(super) fn asked(&self) -> Option<Msat> {
        let asked = self.value_msat.and_then(Number::msat);
        asked.filter(|asked| !asked.is_zero())
    }

    /// What was received, where that is told.
    pub(super) fn received(&self) -> Option<Msat> {
        self.amt_paid_msat.and_then(Number::msat)
    }

    /// Its place among the settled ones; zero for one that is not settled.
    pub(super) fn settle_index(&self) -> u64 {
        self.settle_index.unwrap_or_default().0
    }

    pub(super) fn hash(&self) -> Result<PaymentHash, AnswerFault> {
        hash_from_base64(&self.r_hash).ok_or(AnswerFault::Missing("r_hash"))
    }

    /// An answer about another invoice says nothing.
    pub(super) fn check_hash(&self, hash: PaymentHash) -> Result<(), AnswerFault> {
        if self.hash()? == hash {
            Ok(())
        } else {
            Err(AnswerFault::OtherInvoice)
        }
    }
}

pub(super) fn hash_from_base64(text: &str) -> Option<PaymentHash> {
    let bytes = STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(PaymentHash::from_bytes)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// For paths: with the padding, which LND's gateway demands.
pub(super) fn base64_for_path(hash: PaymentHash) -> String {
    URL_SAFE.encode(hash.as_bytes())
}

pub(super) fn hex(hash: PaymentHash) -> String {
    hex::encode(hash.as_bytes())
}

/// The JSON of a success, or what LND said instead.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Denial> {
    check(answer)?;
    answer.parse().map_err(Denial::Failed)
}

/// Whether it is a success.
pub(super) fn check(answer: &Answer) -> Result<(), Denial> {
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Status::read(&answer.body).map_or_else(
        || Denial::Failed(answer.check_status().err().unwrap_or_else(|| odd(answer))),
        |status| status.denial(answer),
    ))
}

fn odd(answer: &Answer) -> NodeError {
    answer.bad(AnswerFault::Status(answer.status.as_u16()))
}

/// How LND did not do it.
#[derive(Debug)]
pub(super) enum Denial {
    /// There is no such invoice or payment.
    NotFound(NodeError),
    /// There is one already.
    Exists(NodeError),
    /// Its handler looked at the request and refused it; it did nothing.
    Refused(NodeError),
    /// Anything else.
    Failed(NodeError),
}

impl From<Denial> for NodeError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NotFound(error)
            | Denial::Exists(error)
            | Denial::Refused(error)
            | Denial::Failed(error) => error,
        }
    }
}

impl From<NodeError> for Denial {
    fn from(error: NodeError) -> Self {
        Self::Failed(error)
    }
}

/// A gRPC status in JSON, either bare or as the `error` of a stream.
struct Status {
    code: u64,
    message: String,
}

const INVALID_ARGUMENT: u64 = 3;
const NOT_FOUND: u64 = 5;
const ALREADY_EXISTS: u64 = 6;
const PERMISSION_DENIED: u64 = 7;
const FAILED_PRECONDITION: u64 = 9;
const UNAUTHENTICATED: u64 = 16;
/// What LND's handlers answer where they name no code.
const UNKNOWN: u64 = 2;

/// Canceled, deadline exceeded, resource exhausted, aborted, unimplemented (services that have not
/// started yet), internal, unavailable: nothing was decided.
const PASSING: [u64; 7] = [1, 4, 8, 10, 12, 13, 14];

impl Status {
    fn read(body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        Self::of(&json)
    }

    fn of(json: &Value) -> Option<Self> {
        let inner = json.get("error").filter(|error| error.is_object());
        let inner = inner.unwrap_or(json);
        let code = inner.get("code").or_else(|| inner.get("grpc_code"));
        Some(Self {
            code: code?.as_u64()?,
            message: inner.get("message")?.as_str()?.to_owned(),
        })
    }

    fn denial(&self, answer: &Answer) -> Denial {
        let error = self.error(answer);
        match self.code {
            // The gateway's own "Not Found" is about the path, not about what was asked for.
            NOT_FOUND if self.message != "Not Found" => Denial::NotFound(error),
            ALREADY_EXISTS => Denial::Exists(error),
            UNKNOWN if self.says(&["unable to locate invoice", "no existing invoices"]) => {
                Denial::NotFound(error)
            }
            UNKNOWN if self.says(&["already paid", "in transition", "payment already exists"]) => {
                Denial::Exists(error)
            }
            UNKNOWN | INVALID_ARGUMENT | FAILED_PRECONDITION
                if matches!(error, NodeError::Refused { .. }) =>
            {
                Denial::Refused(error)
            }
            _ => Denial::Failed(error),
        }
    }

    /// LND sends credentials that do not fit, and its own starting up, as unknown errors.
    fn error(&self, answer: &Answer) -> NodeError {
        let host = answer.host.to_string();
        let status = answer.status.as_u16();
        if self.is_about_credentials() {
            NodeError::Forbidden { host, status }
        } else if self.is_passing() {
            NodeError::Unavailable { host, status }
        } else {
            answer.refused(&self.message)
        }
    }

    fn is_about_credentials(&self) -> bool {
        matches!(self.code, PERMISSION_DENIED | UNAUTHENTICATED)
            || self.code == UNKNOWN
                && self.says(&[
                    "permission denied",
                    "macaroon",
                    "verification failed",
                    "caveat",
                    "root key with id",
                    "unmarshal v2",
                ])
    }

    fn is_passing(&self) -> bool {
        PASSING.contains(&self.code)
            || self.says(&[
                "waiting to start",
                "in the process of starting",
                "wallet locked",
                "wallet not created",
                "shutting down",
                "server exiting",
            ])
    }

    fn says(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.message.contains(part))
    }
}

/// A line of a stream of this host: what it carries, or the error that ended it.
pub(super) fn read_line<T: DeserializeOwned>(
    host: &str,
    line: &[u8],
) -> Result<Option<T>, NodeError> {
    #[derive(Deserialize)]
    struct Line<T> {
        result: Option<T>,
    }
    let read: Result<Line<T>, _> = serde_json::from_slice(line);
    read.map(|line| line.result)
        .map_err(|error| NodeError::bad_answer(host, AnswerFault::json(&error)))
}

#[cfg(test)]
mod tests;
