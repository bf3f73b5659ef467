//! How many tokens a text has at most, where nobody tells them and nobody can count them: a token for
//! four bytes of words, and more for what vocabularies have no long tokens for.
//!
//! | text | bytes of four for a token, for each |
//! |---|---|
//! | small letters, a capital before them, spaces, `_` | byte: 1 |
//! | letters of a run that has digits, or other capitals (hexadecimal, base64) | byte: 3 |
//! | digits, and a space before them | byte: 4 |
//! | other characters of ASCII | byte: 3 |
//! | Latin and Cyrillic letters beyond ASCII | byte: 1 |
//! | all others (Chinese, Japanese, Korean, emoji) | byte: 4, as no vocabulary of bytes has more |
//!
//! What is in no language, such as small letters at random, may still have more.

/// How many bytes of words are one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// How many bytes of words a text is worth beyond its own.
#[must_use]
pub fn surplus(text: &str) -> u64 {
    let mut weight = Weight::default();
    text.chars().for_each(|character| weight.add(character));
    weight.end_run();
    weight.sum.saturating_sub(length(text))
}

/// The same of bytes that may be no text.
pub(crate) fn surplus_of_bytes(bytes: &[u8]) -> u64 {
    let chunks = bytes.utf8_chunks();
    chunks.fold(0, |sum, chunk| sum + surplus(chunk.valid()))
}

/// The same of the strings in a JSON document, as they read without escapes.
pub(crate) fn surplus_in_json(document: &[u8]) -> u64 {
    let mut sum = 0_u64;
    let mut rest = document;
    while let Some(start) = memchr::memchr(b'"', rest) {
        let string = &rest[start..];
        let mut end = 1;
        let mut is_escaped = false;
        while let Some(at) = memchr::memchr2(b'"', b'\\', &string[end..]) {
            end += at;
            if string[end] == b'"' {
                break;
            }
            is_escaped = true;
            end = string.len().min(end + 2);
        }
        let raw = &string[1..end];
        sum = sum.saturating_add(if is_escaped {
            let whole = &string[..string.len().min(end + 1)];
            let text: String = serde_json::from_slice(whole).unwrap_or_default();
            let escapes = raw.len().saturating_sub(text.len());
            surplus(&text).saturating_sub(u64::try_from(escapes).unwrap_or(u64::MAX))
        } else {
            surplus_of_bytes(raw)
        });
        rest = string.get(end + 1..).unwrap_or_default();
    }
    sum
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// What a text weighs, in bytes of words.
#[derive(Default)]
struct Weight {
    sum: u64,
    run: Run,
    after_space: bool,
}

/// Letters and digits of ASCII without anything in between.
#[derive(Default)]
struct Run {
    small: u64,
    capitals: u64,
    digits: u64,
    begins_with_capital: bool,
}

impl Weight {
    fn add(&mut self, character: char) {
        let is_first = self.run.is_empty();
        match character {
            'a'..='z' => self.run.small += 1,
            'A'..='Z' => {
                self.run.begins_with_capital |= is_first;
                self.run.capitals += 1;
            }
            '0'..='9' => {
                if is_first && self.after_space {
                    self.sum += 3;
                }
                self.run.digits += 1;
            }
            other => {
                self.end_run();
                self.sum += match other {
                    ' ' | '_' | '\0'..='\u{1f}' => 1,
                    '!'..='\u{7f}' => 3,
                    '\u{80}'..='\u{36f}' | '\u{400}'..='\u{4ff}' => 2,
                    other => 4 * u64::try_from(other.len_utf8()).unwrap_or(4),
                };
            }
        }
        self.after_space = character.is_ascii_whitespace();
    }

    fn end_run(&mut self) {
        self.sum += std::mem::take(&mut self.run).weight();
    }
}

impl Run {
    const fn is_empty(&self) -> bool {
        self.small + self.capitals + self.digits == 0
    }

    fn weight(&self) -> u64 {
        let letters = self.small + self.capitals;
        let is_word = self.capitals == u64::from(self.begins_with_capital) && self.digits == 0;
        let each = if is_word { 1 } else { 3 };
        letters * each + 4 * self.digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_weigh_their_bytes() {
        for words in [
            "",
            "Hello there friend",
            "snake_case",
            "größer",
            "слово",
            "A b\nc",
        ] {
            assert_eq!(surplus(words), 0, "{words}");
        }
    }

    #[test]
    fn what_has_no_long_tokens_weighs_more() {
        let weight = |text: &str| surplus(text) + length(text);
        for (text, expected) in [
            ("0123", 16),
            ("1 2\n3", 20),
            ("a1", 7),
            ("GETS", 12),
            ("getUser", 21),
            ("Zm9v", 13),
            ("{}", 6),
            ("中文", 24),
            ("😀", 16),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
    }

    #[test]
    fn no_text_weighs_more_than_a_token_for_each_byte() {
        let text: String = (0..0x3000).filter_map(char::from_u32).collect();
        for text in [text.as_str(), "aB1aB1 1 A 1", "x9 X9"] {
            assert!(surplus(text) <= 3 * length(text));
        }
    }

    #[test]
    fn in_json_only_what_its_strings_say_weighs_more() {
        for (json, expected) in [
            (r#"{"model":"small","list":[1,22,333],"x":{}}"#, 0),
            (r#"{"content":"12"}"#, 6),
            (r#"["12","a","34"]"#, 12),
            (r#""a\nb""#, 0),
            // Twelve for each, of which its escape has six.
            (r#""\u4e2d\u6587""#, 12),
            (r#""\\\"12""#, 8),
            // No request of that form is read at all.
            (r#"{"broken":"12"#, 0),
            ("\"\\", 0),
        ] {
            assert_eq!(surplus_in_json(json.as_bytes()), expected, "{json}");
        }
    }
}
