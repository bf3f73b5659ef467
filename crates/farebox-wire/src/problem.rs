//! Problem documents (RFC 9457): how every refusal of ours reads to a program.
//!
//! A [`ProblemKind`] is a promise: its code, and with it the type URI, never changes its meaning.
//! Texts may be improved. Nothing a client sent is repeated without JSON's own escaping.

mod kind;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

pub use kind::ProblemKind;

/// The media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The header that repeats for people why a credential was refused, such as `quota exhausted`,
/// `expired` or `wrong route`.
pub const REASON_HEADER: &str = "x-reason";

const TYPE_PREFIX: &str = "https://farebox.dev/problems/";
/// The members RFC 9457 section 3.1 defines; no extension may take their names.
const STANDARD: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// One problem document.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: ProblemKind,
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    extensions: Vec<(&'static str, Value)>,
}

impl Problem {
    /// A problem of this kind, with the kind's status.
    #[must_use]
    pub const fn new(kind: ProblemKind) -> Self {
        Self {
            kind,
            status: kind.status,
            detail: None,
            extensions: Vec::new(),
        }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The HTTP status that the document names and its answer must have.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong, in one sentence: the detail, else what the kind says.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.kind.title)
    }

    /// The member `name` beyond those that RFC 9457 defines.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        let found = self.extensions.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value)
    }

    /// Why what was presented does not pay, in the words of [`REASON_HEADER`]; nothing where nothing
    /// was presented.
    #[must_use]
    pub fn spoken_reason(&self) -> Option<String> {
        const NOTHING_PRESENTED: &str = "no_credential";
        match self.member("reason")?.as_str()? {
            NOTHING_PRESENTED => None,
            "used_up" => Some("quota exhausted".to_owned()),
            word => Some(word.replace('_', " ")),
        }
    }

    /// Replaces the kind's status, where the payment method or the configuration asks for another.
    #[must_use]
    pub const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// What went wrong this time, for a person.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds or replaces the member `name`. The members of RFC 9457 cannot be replaced so.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        if STANDARD.contains(&name) {
            return self;
        }
        self.extensions.retain(|(other, _)| *other != name);
        self.extensions.push((name, value.into()));
        self
    }

    /// `retry_after`: whole seconds, rounded up and at least one, as in the header of that name.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let seconds = wait
            .as_secs()
            .saturating_add(u64::from(wait.subsec_nanos() > 0));
        self.with("retry_after", seconds.max(1))
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and JSON values always serialize")
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("type", &self.kind.type_uri())?;
        members.serialize_entry("title", self.kind.title)?;
        members.serialize_entry("status", &self.status.as_u16())?;
        if let Some(detail) = &self.detail {
            members.serialize_entry("detail", detail)?;
        }
        for (name, value) in &self.extensions {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}
