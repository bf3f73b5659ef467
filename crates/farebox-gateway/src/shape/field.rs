//! One field of a client's body: what it may hold, and how it is passed on.
//!
//! Values are passed on as they were written. A number never becomes a floating-point one.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The longest number that is passed on, in characters.
const MAX_NUMBER_CHARS: usize = 64;

farebox_core::words! {
    /// What a field holds, as a client is told to send it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum FieldKind {
        /// Text.
        Text = "a string",
        /// A whole number.
        Integer = "an integer",
        /// Any number.
        Number = "a number",
        /// True or false.
        Bool = "true or false",
        /// Any JSON.
        Json = "JSON",
    }
}

/// One field of a client's body that goes on to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the client's body.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether a number or a truth value may also be written as text, as clients of lsat-proxy do.
    pub from_text: bool,
    /// Whether a body without it is refused.
    pub required: bool,
    /// Where it lands in the template, as the steps of a JSON pointer.
    pub to: Vec<String>,
}

impl FieldKind {
    /// Whether JSON that is known to be well-formed is of this kind.
    fn fits(self, json: &str) -> bool {
        match self {
            Self::Text => json.starts_with('"'),
            Self::Integer => is_integer(json) && json.len() <= MAX_NUMBER_CHARS,
            Self::Number => is_number(json) && json.len() <= MAX_NUMBER_CHARS,
            Self::Bool => matches!(json, "true" | "false"),
            Self::Json => true,
        }
    }
}

impl Field {
    /// The JSON to pass on for what the client wrote, unless it is of another kind.
    pub(super) fn read<'a>(&self, written: &'a RawValue) -> Option<Cow<'a, str>> {
        let json = written.get();
        if self.kind.fits(json) {
            return Some(Cow::Borrowed(json));
        }
        if !self.from_text || !json.starts_with('"') {
            return None;
        }
        let text: String = serde_json::from_str(json).ok()?;
        let inner: &RawValue = serde_json::from_str(&text).ok()?;
        let plain = inner.get() == text && self.kind.fits(&text);
        plain.then_some(Cow::Owned(text))
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn is_integer(json: &str) -> bool {
    is_number(json) && json.bytes().skip(1).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: FieldKind, from_text: bool, json: &str) -> Option<String> {
        let field = Field {
            name: "a".to_owned(),
            kind,
            from_text,
            required: false,
            to: vec!["a".to_owned()],
        };
        let written: &RawValue = serde_json::from_str(json).unwrap();
        field.read(written).map(Cow::into_owned)
    }

    fn passes(kind: FieldKind, json: &str) {
        assert_eq!(read(kind, false, json).as_deref(), Some(json));
    }

    #[test]
    fn values_are_passed_on_as_they_were_written() {
        passes(FieldKind::Text, r#""\u00e9\n""#);
        passes(FieldKind::Integer, "-9007199254740993");
        passes(FieldKind::Number, "0.10000000000000000000001");
        passes(FieldKind::Number, "1.50E+2");
        passes(FieldKind::Bool, "false");
        passes(FieldKind::Json, r#"{"b" : [1, null]}"#);
    }

    #[test]
    fn another_kind_is_refused_and_so_is_null() {
        for (kind, json) in [
            (FieldKind::Text, "1"),
            (FieldKind::Text, "null"),
            (FieldKind::Text, r#"["a"]"#),
            (FieldKind::Integer, "1.0"),
            (FieldKind::Integer, "1e2"),
            (FieldKind::Integer, "\"1\""),
            (FieldKind::Integer, "null"),
            (FieldKind::Number, "\"0.5\""),
            (FieldKind::Number, "true"),
            (FieldKind::Bool, "1"),
            (FieldKind::Bool, "\"true\""),
        ] {
            assert_eq!(read(kind, false, json), None, "{kind:?} {json}");
        }
        assert_eq!(read(FieldKind::Integer, false, &"9".repeat(65)), None);
    }

    #[test]
    fn text_becomes_a_number_only_where_that_is_allowed_and_it_is_one() {
        let integer = |json| read(FieldKind::Integer, true, json);
        assert_eq!(integer("\"57\"").as_deref(), Some("57"));
        assert_eq!(integer("57").as_deref(), Some("57"));
        let number = |json| read(FieldKind::Number, true, json);
        assert_eq!(number("\"0.70\"").as_deref(), Some("0.70"));
        let truth = |json| read(FieldKind::Bool, true, json);
        assert_eq!(truth("\"true\"").as_deref(), Some("true"));
        for bad in [
            "\" 57\"",
            "\"57 \"",
            "\"+57\"",
            "\"057\"",
            "\"0x10\"",
            "\"\"",
            "\"NaN\"",
            "\"1,\\\"store\\\":true\"",
            "\"[1]\"",
        ] {
            assert_eq!(integer(bad), None, "{bad}");
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
