//! Judging a complete answer: what its status means, and what its JSON says.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::{AnswerFault, NodeError};

/// How much of a node's reason is repeated, in characters.
const MAX_REASON: usize = 200;

/// A complete answer that is not a redirect.
pub(crate) struct RestAnswer {
    host: Arc<str>,
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The body.
    pub(crate) body: Bytes,
}

impl RestAnswer {
    pub(super) const fn new(host: Arc<str>, status: StatusCode, body: Bytes) -> Self {
        Self { host, status, body }
    }

    #[cfg(test)]
    pub(crate) fn recorded(status: u16, body: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self::new(
            "node".into(),
            status,
            Bytes::copy_from_slice(body.as_bytes()),
        )
    }

    /// The host and port that answered.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Reads the JSON of a success.
    ///
    /// # Errors
    /// What [`check_status`](Self::check_status) and [`parse`](Self::parse) say.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        self.check_status()?;
        self.parse()
    }

    /// Refuses every status but a success, in the sense that HTTP gives it. An API that refuses
    /// with 5xx has to look at the body first.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`] for 401 and 403, [`NodeError::Unavailable`] for 429 and 5xx,
    /// [`NodeError::BadAnswer`] for the rest.
    pub(crate) fn check_status(&self) -> Result<(), NodeError> {
        let host = self.host.to_string();
        let status = self.status.as_u16();
        match status {
            200..=299 => Ok(()),
            401 | 403 => Err(NodeError::Forbidden { host, status }),
            429 | 500.. => Err(NodeError::Unavailable { host, status }),
            _ => Err(self.bad(AnswerFault::Status(status))),
        }
    }

    /// Reads the JSON whatever the status.
    ///
    /// # Errors
    /// [`NodeError::BadAnswer`], which shows nothing of what stands there.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.bad(AnswerFault::Json {
                line: error.line(),
                column: error.column(),
            })
        })
    }

    /// The node said no, and why.
    pub(crate) fn refused(&self, reason: &str) -> NodeError {
        NodeError::Refused {
            host: self.host.to_string(),
            reason: printable(reason),
        }
    }

    /// This answer cannot be used.
    pub(crate) fn bad(&self, fault: AnswerFault) -> NodeError {
        NodeError::BadAnswer {
            host: self.host.to_string(),
            fault,
        }
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
