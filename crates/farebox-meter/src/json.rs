//! Reading a JSON body so that nobody downstream can read it differently.
//!
//! Two members of one name are read differently by different servers, so a body with duplicate
//! names, at any depth, is refused. What is kept is the text of each member: an edited body has
//! every other value byte for byte as it came, and what is forwarded is what was priced.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// May stand at the beginning of an answer, and is no part of what it says.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How deep objects and lists may lie in each other.
pub const MAX_DEPTH: usize = 64;

/// A JSON object whose members are known by name, each as it was written.
#[derive(Clone)]
pub struct Object {
    members: Vec<(String, Box<RawValue>)>,
}

/// Why a body is not one JSON object that everybody reads alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or something behind it.
    #[error("the body is not JSON (line {line}, column {column})")]
    Malformed {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// A list, a text or a number.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Two members of one name.
    #[error("the body names {0:?} twice in one object")]
    Duplicate(String),
    /// Deeper than [`MAX_DEPTH`].
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl Object {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(body: &[u8]) -> Result<Self, JsonError> {
        check(body)?;
        let object: Result<Self, _> = serde_json::from_slice(body);
        object.map_err(|_| JsonError::NotAnObject)
    }

    /// The text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let member = self.members.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| &**value)
    }

    /// A member as some type; nothing where it is absent or `null`.
    ///
    /// # Errors
    /// [`WrongType`] where it is something else.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, WrongType> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(value.get()).map_err(|_| WrongType(name.to_owned()))
    }

    /// Whether there is a member of this name that is not `null`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() != "null")
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Sets a member, in its place or at the end.
    pub fn set(&mut self, name: &str, value: &serde_json::Value) {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.set_raw(name, value);
        }
    }

    /// Sets a member to a text that is JSON already.
    pub fn set_raw(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// The object as the value of a member of another one.
    #[must_use]
    pub fn to_raw(&self) -> Option<Box<RawValue>> {
        let text = String::from_utf8(self.to_bytes()).ok()?;
        RawValue::from_string(text).ok()
    }

    /// Takes a member away, and gives it.
    pub fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let place = self.members.iter().position(|(known, _)| known == name)?;
        Some(self.members.remove(place).1)
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(known, _)| known != name);
    }

    /// The object as text.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length: usize = self
            .members
            .iter()
            .map(|(name, value)| name.len() + value.get().len() + 8)
            .sum();
        let mut out = Vec::with_capacity(length + 2);
        out.push(b'{');
        for (place, (name, value)) in self.members.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_name(name, &mut out);
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        out
    }
}

/// Writes the name of a member. Hardly any has a character in it that JSON escapes.
fn write_name(name: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if name.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    } else {
        let escaped = serde_json::Value::from(name).to_string();
        out.extend_from_slice(escaped.as_bytes());
    }
}

/// A member that is not of the type that the API has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} has a value of the wrong type")]
pub struct WrongType(pub String);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Looks at every level of a body.
fn check(body: &[u8]) -> Result<(), JsonError> {
    let mut found = None;
    let mut input = serde_json::Deserializer::from_slice(body);
    let walk = Walk {
        depth: 0,
        found: &mut found,
    };
    let ended = walk.deserialize(&mut input).and_then(|()| input.end());
    match (found, ended) {
        (Some(found), _) => Err(found),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(JsonError::Malformed {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// What a visitor makes of every value that is neither text nor has others in it.
macro_rules! plain {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

/// The same for texts too.
macro_rules! scalars {
    ($value:expr) => {
        $crate::json::plain!($value);

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}
pub(crate) use {plain, scalars};

/// Walks through a value and keeps nothing of it.
struct Walk<'a> {
    depth: usize,
    found: &'a mut Option<JsonError>,
}

impl Walk<'_> {
    fn below(&mut self) -> Walk<'_> {
        Walk {
            depth: self.depth + 1,
            found: self.found,
        }
    }

    fn refuse<E: de::Error>(&mut self, error: JsonError) -> E {
        let told = E::custom(&error);
        *self.found = Some(error);
        told
    }

    fn check_depth<E: de::Error>(&mut self) -> Result<(), E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut names = Names::default();
        while let Some(Name(name)) = map.next_key()? {
            if let Err(name) = names.insert(name) {
                return Err(self.refuse(JsonError::Duplicate(name.into_owned())));
            }
            map.next_value_seed(self.below())?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.check_depth()?;
        while list.next_element_seed(self.below())?.is_some() {}
        Ok(())
    }

    scalars!(());
}

/// The name of a member, out of the body itself where it has no escapes in it.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The names in one object. Most have so few that looking through them is the fastest.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

/// So many names are looked through.
const FEW_NAMES: usize = 16;

impl<'de> Names<'de> {
    /// Gives a name back that is there already.
    fn insert(&mut self, name: Cow<'de, str>) -> Result<(), Cow<'de, str>> {
        if self.few.contains(&name) || self.many.contains(&name) {
            return Err(name);
        }
        if self.few.len() < FEW_NAMES {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(body: &str) -> JsonError {
        Object::parse(body.as_bytes()).err().unwrap()
    }

    fn edited(body: &str, edit: impl FnOnce(&mut Object)) -> String {
        let mut object = Object::parse(body.as_bytes()).unwrap();
        edit(&mut object);
        String::from_utf8(object.to_bytes()).unwrap()
    }

    #[test]
    fn values_keep_their_text() {
        let body = r#"{"a": 1.10e2 , "b":{"x" : [1,2 ]},"c":"\u00e9\ud83d\ude00"}"#;
        let expected = r#"{"a":1.10e2,"b":{"x" : [1,2 ]},"c":"\u00e9\ud83d\ude00"}"#;
        assert_eq!(edited(body, |_| ()), expected);
    }

    #[test]
    fn a_member_is_set_in_its_place_or_at_the_end() {
        let body = r#"{"store":true,"model":"m"}"#;
        let store = |object: &mut Object| object.set("store", &false.into());
        assert_eq!(edited(body, store), r#"{"store":false,"model":"m"}"#);
        let n = |object: &mut Object| object.set("n", &2.into());
        assert_eq!(edited(body, n), r#"{"store":true,"model":"m","n":2}"#);
    }

    #[test]
    fn a_name_twice_is_refused_at_any_depth_and_in_any_spelling() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"messages":[{"content":{"x":1,"x":2}}]}"#,
        ] {
            assert!(matches!(error(body), JsonError::Duplicate(_)), "{body}");
        }
    }

    #[test]
    fn a_name_twice_is_refused_among_many_and_in_every_place() {
        let names: Vec<String> = (0..40).map(|number| format!("\"n{number}\":1")).collect();
        assert!(Object::parse(format!("{{{}}}", names.join(",")).as_bytes()).is_ok());
        for again in [0, FEW_NAMES - 1, FEW_NAMES, 39] {
            let body = format!("{{{},\"n{again}\":2}}", names.join(","));
            assert_eq!(error(&body), JsonError::Duplicate(format!("n{again}")));
        }
    }

    #[test]
    fn names_with_escapes_are_written_as_they_mean() {
        let body = r#"{"a\"b":1,"c\\d":2,"\n":3,"é":4,"\u00e9f":5}"#;
        let expected = r#"{"a\"b":1,"c\\d":2,"\n":3,"é":4,"éf":5}"#;
        assert_eq!(edited(body, |_| ()), expected);
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        assert_eq!(error("[]"), JsonError::NotAnObject);
        assert_eq!(error("\"text\""), JsonError::NotAnObject);
        for bad in [
            "",
            "{",
            "{}{}",
            "{\"a\":}",
            "{\"a\":1,}",
            "\u{feff}{}",
            "{'a':1}",
        ] {
            assert!(matches!(error(bad), JsonError::Malformed { .. }), "{bad}");
        }
        let deep = ["{\"a\":".repeat(100), "1".to_owned(), "}".repeat(100)].concat();
        assert_eq!(error(&deep), JsonError::TooDeep);
    }

    #[test]
    fn null_counts_as_absent_and_a_wrong_type_is_an_error() {
        let object = Object::parse(br#"{"n":null,"stream":"yes"}"#).unwrap();
        assert_eq!(object.read::<u64>("n"), Ok(None));
        assert!(!object.has("n"));
        assert_eq!(
            object.read::<bool>("stream"),
            Err(WrongType("stream".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_prints_what_reads_alike(body: Vec<u8>) {
            if let Ok(object) = Object::parse(&body) {
                let again = object.to_bytes();
                let (a, b): (serde_json::Value, serde_json::Value) =
                    (serde_json::from_slice(&body).unwrap(), serde_json::from_slice(&again).unwrap());
                prop_assert_eq!(a, b);
            }
        }
    }
}
