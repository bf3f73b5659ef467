//! One number out of somebody else's JSON, digit for digit as it was written.
//!
//! What does not lie on the way is only read to know that it is JSON, and numbers are read as text: no
//! floating point comes near a price or a rate.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decimal::{BadDecimal, Decimal};
use crate::json::{BYTE_ORDER_MARK, Name, scalars};

/// The most steps of a pointer.
pub const MAX_STEPS: usize = 16;

/// Where a number stands (RFC 6901): `/data/amount`, `/result/0/price`. The step `*` stands for the
/// only member of an object, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// The pointer as it is written.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// Text that is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON pointer such as /data/amount")]
pub struct BadPointer;

/// Why there is no number.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The document is not what it is taken for.
    #[error("not JSON, or not of the expected shape")]
    Shape(#[from] serde_json::Error),
    /// It leads nowhere.
    #[error("nothing is at {0}")]
    Missing(Pointer),
    /// Something else than a number stands there.
    #[error(transparent)]
    Number(#[from] BadDecimal),
}

impl Pointer {
    /// The number there, written as a number or as text.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decimal(&self, document: &[u8]) -> Result<Decimal, Unreadable> {
        decimal(self.get(document)?)
    }

    /// The same for a cost: digits beyond those that are kept round it up.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn cost(&self, document: &[u8]) -> Result<Decimal, Unreadable> {
        Ok(Decimal::rounded_up(&text(self.get(document)?)?)?)
    }

    fn get<'a>(&self, document: &'a [u8]) -> Result<&'a RawValue, Unreadable> {
        let found = self.find(document)?;
        found.ok_or_else(|| Unreadable::Missing(self.clone()))
    }

    /// The value there, as it is written.
    ///
    /// # Errors
    /// Where the document is not JSON.
    pub fn find<'a>(&self, document: &'a [u8]) -> serde_json::Result<Option<&'a RawValue>> {
        let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
        let mut input = serde_json::Deserializer::from_slice(document);
        let found = Seek(&self.0).deserialize(&mut input)?;
        input.end()?;
        Ok(found)
    }
}

/// A number that is written as one, or as text.
///
/// # Errors
/// [`Unreadable`].
pub fn decimal(raw: &RawValue) -> Result<Decimal, Unreadable> {
    Ok(text(raw)?.parse()?)
}

fn text(raw: &RawValue) -> Result<Cow<'_, str>, Unreadable> {
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get())?;
        return Ok(Cow::Owned(text));
    }
    Ok(Cow::Borrowed(raw.get()))
}

/// Looks for the value at the end of these steps.
#[derive(Clone, Copy)]
struct Seek<'s>(&'s [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(input).map(Some);
        }
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((step, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        let (mut found, mut only, mut members) = (None, None, 0_usize);
        while let Some(Name(name)) = map.next_key()? {
            members += 1;
            if name == *step {
                found = Some(map.next_value_seed(Seek(rest))?);
            } else if step == "*" && members == 1 {
                only = map.next_value_seed(Seek(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.unwrap_or(only.filter(|_| members == 1)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let place = self.0.first().and_then(|step| step.parse::<usize>().ok());
        let rest = self.0.get(1..).unwrap_or_default();
        for at in 0_usize.. {
            if place == Some(at) {
                let found = list.next_element_seed(Seek(rest))?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(found.flatten());
            }
            if list.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(None)
    }

    scalars!(None);
}

impl From<Vec<String>> for Pointer {
    fn from(steps: Vec<String>) -> Self {
        Self(steps)
    }
}

impl std::str::FromStr for Pointer {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let steps = text.strip_prefix('/').ok_or(BadPointer)?.split('/');
        let steps: Vec<String> = steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        (steps.len() <= MAX_STEPS)
            .then_some(Self(steps))
            .ok_or(BadPointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str, pointer: &str) -> Result<String, Unreadable> {
        let pointer: Pointer = pointer.parse().unwrap();
        let number = pointer.decimal(document.as_bytes())?;
        Ok(number.to_string())
    }

    #[test]
    fn numbers_keep_their_digits_however_they_are_written() {
        let document = r#"{"a": {"b/c": ["1", 97123.100000000000000001, "9.5e4"]}, "d": 3}"#;
        assert_eq!(
            read(document, "/a/b~1c/1").unwrap(),
            "97123.100000000000000001"
        );
        assert_eq!(read(document, "/a/b~1c/2").unwrap(), "95000");
        assert_eq!(read(document, "/d").unwrap(), "3");
    }

    #[test]
    fn a_star_is_the_only_member_and_never_one_of_several() {
        let document = r#"{"result": {"XXBTZUSD": {"c": ["97000.1", "0.1"]}}}"#;
        assert_eq!(read(document, "/result/*/c/0").unwrap(), "97000.1");
        let two = r#"{"result": {"a": 1, "b": 2}}"#;
        assert!(matches!(
            read(two, "/result/*"),
            Err(Unreadable::Missing(_))
        ));
    }

    #[test]
    fn what_is_not_there_or_not_a_number_is_none() {
        assert!(matches!(read("[1]", "/1"), Err(Unreadable::Missing(_))));
        assert!(matches!(read("{}", "/a"), Err(Unreadable::Missing(_))));
        assert!(matches!(read("<html>", "/a"), Err(Unreadable::Shape(_))));
        for value in ["null", "true", "-5", "\"NaN\"", "\"1,000\"", "[1]"] {
            let document = format!("{{\"a\": {value}}}");
            assert!(
                matches!(read(&document, "/a"), Err(Unreadable::Number(_))),
                "{value}"
            );
        }
        assert!("a".parse::<Pointer>().is_err());
    }
}
