//! What a node's complete answer means: its status, and what its JSON says.

use farebox_http::client::Answer;
use serde::de::DeserializeOwned;

use crate::{AnswerFault, NodeError};

/// How much of a node's reason is repeated, in characters.
const MAX_REASON: usize = 200;

/// Judges a complete [`Answer`] of a node.
pub(crate) trait JudgeAnswer {
    /// Reads the JSON of a success.
    ///
    /// # Errors
    /// What [`check_status`](Self::check_status) and [`parse`](Self::parse) say.
    fn json<T: DeserializeOwned>(&self) -> Result<T, NodeError>;

    /// Refuses every status but a success, in the sense that HTTP gives it. An API that refuses
    /// with 5xx has to look at the body first.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`] for 401 and 403, [`NodeError::Unavailable`] for 429 and 5xx,
    /// [`NodeError::BadAnswer`] for the rest.
    fn check_status(&self) -> Result<(), NodeError>;

    /// Reads the JSON whatever the status.
    ///
    /// # Errors
    /// [`NodeError::BadAnswer`], which shows nothing of what stands there.
    fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeError>;

    /// What the node refused with; none for a success. A refusal that says nothing is an empty one.
    fn refusal<T: DeserializeOwned + Default>(&self) -> Option<T>;

    /// The node said no, and why.
    fn refused(&self, reason: &str) -> NodeError;

    /// This answer cannot be used.
    fn bad(&self, fault: AnswerFault) -> NodeError;
}

impl JudgeAnswer for Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        self.check_status()?;
        self.parse()
    }

    fn check_status(&self) -> Result<(), NodeError> {
        let host = self.host.to_string();
        let status = self.status.as_u16();
        match status {
            200..=299 => Ok(()),
            401 | 403 => Err(NodeError::Forbidden { host, status }),
            429 | 500.. => Err(NodeError::Unavailable { host, status }),
            _ => Err(self.bad(AnswerFault::Status(status))),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        serde_json::from_slice(&self.body).map_err(|error| self.bad(AnswerFault::json(&error)))
    }

    fn refusal<T: DeserializeOwned + Default>(&self) -> Option<T> {
        let is_refused = !self.status.is_success();
        is_refused.then(|| self.parse().unwrap_or_default())
    }

    fn refused(&self, reason: &str) -> NodeError {
        NodeError::Refused {
            host: self.host.to_string(),
            reason: printable(reason),
        }
    }

    fn bad(&self, fault: AnswerFault) -> NodeError {
        NodeError::bad_answer(&self.host, fault)
    }
}

/// A reason, cut and made printable.
pub(crate) fn printable(reason: &str) -> String {
    let clean = |c: char| {
        if c.is_alphanumeric() || c.is_ascii_graphic() {
            c
        } else {
            ' '
        }
    };
    let reason: String = reason.chars().take(MAX_REASON).map(clean).collect();
    if reason.trim().is_empty() {
        "no reason given".to_owned()
    } else {
        reason
    }
}

/// An answer as a test wants it.
#[cfg(test)]
pub(crate) fn recorded(status: u16, body: &str) -> Answer {
    Answer {
        host: "node".into(),
        status: http::StatusCode::from_u16(status).unwrap(),
        is_web_page: false,
        retry_after: None,
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
    }
}
