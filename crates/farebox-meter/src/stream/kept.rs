//! The text of an answer, kept for a while to be counted by who knows the model's tokens.

use crate::density::surplus;

/// The most text of one answer that is kept, in bytes: some 30,000 tokens.
pub const MAX_KEPT_TEXT: usize = 128 * 1024;

/// Text as it came, up to [`MAX_KEPT_TEXT`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptText {
    text: String,
    is_full: bool,
    /// What the text that was not kept weighs beyond its bytes.
    left_out: u64,
}

/// Where a text ended.
#[derive(Clone, Copy)]
pub(super) struct EndOfText {
    length: usize,
    left_out: u64,
}

impl KeptText {
    /// Adds a part, unless it is too much already.
    pub fn push(&mut self, part: &str) {
        self.is_full |= self.text.len() + part.len() > MAX_KEPT_TEXT;
        if self.is_full {
            self.left_out = self.left_out.saturating_add(surplus(part));
        } else {
            self.text.push_str(part);
        }
    }

    pub(super) const fn end(&self) -> EndOfText {
        EndOfText {
            length: self.text.len(),
            left_out: self.left_out,
        }
    }

    /// Takes back what came after that.
    pub(super) fn truncate(&mut self, end: EndOfText) {
        self.text.truncate(end.length);
        self.left_out = end.left_out;
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.is_full = false;
        self.left_out = 0;
    }

    /// What was kept, and what the rest weighs beyond its bytes.
    #[must_use]
    pub fn into_text(self) -> (String, u64) {
        (self.text, self.left_out)
    }
}
