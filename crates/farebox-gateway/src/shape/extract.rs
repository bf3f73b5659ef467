//! What of an upstream's answer is sold.
//!
//! The whole answer is read as it is written, in one pass for each field, and what is sold keeps its
//! text: numbers are not read as numbers. An answer without the field is a broken one.

use std::str::FromStr;

use farebox_meter::Pointer;
use farebox_meter::pointer::MAX_STEPS;
use http::HeaderValue;
use serde_json::value::RawValue;

/// The longest answer that a field is taken out of, in bytes.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The most fields that are taken out of one answer.
pub const MAX_PATHS: usize = 16;

/// What answers are cut down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extract {
    /// What is taken out; at least one.
    pub paths: Vec<Path>,
    /// How it is given.
    pub form: Form,
}

/// How what was taken out is given to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One value as it is: a string as text, anything else as JSON. Several as an object by path.
    Value,
    /// `{"data": […]}` with the paragraphs of each string, as lsat-proxy answered.
    LsatProxy,
}

/// Where a value stands in an answer: `choices.0.text`, or as a JSON pointer (RFC 6901). A number is
/// a place in a list and a name in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    written: String,
    place: Pointer,
}

/// Text that is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at most {MAX_STEPS} steps such as choices.0.text, or a pointer such as /choices/0/text"
)]
pub struct BadPath;

/// What is given to the client.
pub(crate) struct Extracted {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: HeaderValue,
}

/// Why there is nothing to give.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotThere {
    #[error("the answer is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("the answer has no {0}")]
    Missing(String),
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Extract {
    /// Cuts an answer down.
    pub(crate) fn apply(&self, answer: &[u8]) -> Result<Extracted, NotThere> {
        let values: Result<Vec<_>, _> = self.paths.iter().map(|path| path.find(answer)).collect();
        let values = values?;
        if self.form == Form::LsatProxy {
            return json(&paragraphs(&values)?);
        }
        match values.as_slice() {
            [only] => value(only),
            several => self.by_path(several),
        }
    }

    fn by_path(&self, values: &[&RawValue]) -> Result<Extracted, NotThere> {
        let mut body = b"{".to_vec();
        for (at, (path, value)) in self.paths.iter().zip(values).enumerate() {
            if at > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &path.written)?;
            body.push(b':');
            body.extend_from_slice(value.get().as_bytes());
        }
        body.push(b'}');
        let content_type = JSON;
        Ok(Extracted { body, content_type })
    }
}

fn value(value: &RawValue) -> Result<Extracted, NotThere> {
    if !value.get().starts_with('"') {
        return json(value);
    }
    let text: String = serde_json::from_str(value.get())?;
    Ok(Extracted {
        body: text.into_bytes(),
        content_type: TEXT,
    })
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Extracted, NotThere> {
    Ok(Extracted {
        body: serde_json::to_vec(value)?,
        content_type: JSON,
    })
}

fn paragraphs(values: &[&RawValue]) -> Result<serde_json::Value, NotThere> {
    let mut data = Vec::new();
    for value in values {
        match serde_json::from_str(value.get())? {
            serde_json::Value::String(text) => {
                data.extend(text.trim().split("\n\n").map(serde_json::Value::from));
            }
            other => data.push(other),
        }
    }
    Ok(serde_json::json!({ "data": data }))
}

impl Path {
    fn find<'a>(&self, answer: &'a [u8]) -> Result<&'a RawValue, NotThere> {
        let found = self.place.find(answer)?;
        found.ok_or_else(|| NotThere::Missing(self.written.clone()))
    }
}

impl FromStr for Path {
    type Err = BadPath;

    fn from_str(written: &str) -> Result<Self, BadPath> {
        let steps: Vec<String> = match written.strip_prefix('/') {
            Some(pointer) => {
                let steps = pointer.split('/');
                steps
                    .map(|step| step.replace("~1", "/").replace("~0", "~"))
                    .collect()
            }
            None => written.split('.').map(str::to_owned).collect(),
        };
        let is_path = steps.len() <= MAX_STEPS && steps.iter().all(|step| !step.is_empty());
        is_path
            .then(|| Self {
                written: written.to_owned(),
                place: steps.into(),
            })
            .ok_or(BadPath)
    }
}

#[cfg(test)]
mod tests;
