//! What is wrong with a configuration, each mistake with its key, value and reason.

use std::fmt;

use serde::Serialize;

use crate::document::Document;
pub use crate::key::{KeyPath, Segment};
use crate::schema;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Which setting.
    pub key: KeyPath,
    /// Its line in the file, counted from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What was written there, unless it may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong with it, and where it helps, what to write instead.
    pub reason: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds a mistake, unless one at or inside the same key has been noted: what surrounds a
    /// broken value is only broken by it.
    pub fn note(&mut self, key: KeyPath, reason: impl fmt::Display) {
        if self.0.iter().any(|noted| key.is_around(&noted.key)) {
            return;
        }
        self.0.push(Mistake {
            key,
            line: None,
            value: None,
            reason: reason.to_string(),
        });
    }

    /// Adds a mistake that belongs to no key.
    pub fn note_unkeyed(&mut self, line: Option<usize>, reason: String) {
        self.0.push(Mistake {
            key: KeyPath::default(),
            line,
            value: None,
            reason,
        });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much is wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The mistakes, in the order of the file where it is known.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    /// Fills in where each stands in the file and what is written there, and sorts by line.
    pub(crate) fn locate(&mut self, document: &Document<'_>) {
        for mistake in &mut self.0 {
            let key = &mistake.key;
            mistake.line = mistake.line.or_else(|| document.line_of(key));
            mistake.value = document.written(key, schema::is_secret);
        }
        self.0
            .sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
    }

    /// `value` when nothing is wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.segments().is_empty() {
            write!(f, "{}", self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.reason)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
