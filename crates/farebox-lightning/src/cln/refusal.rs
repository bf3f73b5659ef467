//! How `clnrest` says no: with the error of the JSON-RPC command, under a status that depends on
//! who refused. The body is looked at before the status, because 500 means any of them.

use serde::Deserialize;

use crate::NodeError;
use crate::answer::JudgeAnswer;
use crate::lenient;
use farebox_http::client::Answer;

/// A parameter is missing or malformed: the rune was accepted.
pub(super) const BAD_PARAMETERS: i64 = -32_602;
/// The command is not there.
pub(super) const UNKNOWN_COMMAND: i64 = -32_601;
/// A payment for the same hash is under way.
pub(super) const PAY_IN_PROGRESS: i64 = 200;
/// Waiting ended without an invoice being paid.
pub(super) const NOTHING_PAID: i64 = 904;

/// The runes' own errors: not authorized, not permitted, blacklisted.
const RUNE_ERRORS: std::ops::RangeInclusive<i64> = 1501..=1503;

/// What a command refused with.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    /// None where `clnrest` itself could not reach the node.
    pub(super) code: Option<i64>,
    #[serde(default, deserialize_with = "lenient::read")]
    message: Option<String>,
}

impl Refusal {
    /// As an error. What a rune forbids is told by the status alone: its reason may quote the rune.
    pub(super) fn error(&self, answer: &Answer) -> NodeError {
        let words = self.message.as_deref().unwrap_or_default();
        match (self.code, answer.check_status()) {
            (_, Err(forbidden @ NodeError::Forbidden { .. })) => forbidden,
            (Some(code), Err(_)) if !RUNE_ERRORS.contains(&code) => answer.refused(words),
            (_, Err(error)) => error,
            (_, Ok(())) => answer.refused(words),
        }
    }
}
