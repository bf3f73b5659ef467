//! The text of an answer, kept for a while to be counted by who knows the model's tokens.

/// The most text of one answer that is kept, in bytes: some 30,000 tokens.
pub const MAX_KEPT_TEXT: usize = 128 * 1024;

/// Text as it came, up to [`MAX_KEPT_TEXT`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptText {
    text: String,
    is_full: bool,
}

impl KeptText {
    /// Adds a part, unless it is too much already.
    pub fn push(&mut self, part: &str) {
        self.is_full |= self.text.len() + part.len() > MAX_KEPT_TEXT;
        if !self.is_full {
            self.text.push_str(part);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes back what came after that.
    pub(super) fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.is_full = false;
    }

    /// What was kept. It may be less than came.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}
