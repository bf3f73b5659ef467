//! Settings that can be written in more than one form: a path, a price, a header's value.
//!
//! Each reads its forms itself, because a derived choice could only say that nothing matched.

mod price;
mod secret;
mod shape;

pub(crate) use price::KINDS;
pub use price::{Free, MissingSetting, Money, OfSetting, PriceSetting, UsePrice, WebhookPrice};
pub use secret::SecretSource;
pub use shape::{CapabilitiesSetting, CapabilityTable, FieldSetting, FieldTable, FieldType};

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use farebox_core::Msat;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use crate::section::section;
use crate::units::{ByteSize, Lasting};

/// Which paths a route takes.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PathMatch {
    /// The path and everything under it.
    Prefix(String),
    /// This path only.
    Exact {
        /// The path.
        exact: String,
    },
    /// Paths that match as a whole.
    Regex {
        /// The pattern.
        regex: String,
    },
}

/// An amount of money: `{ msat = 2000 }` or `{ sat = 2 }`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(try_from = "AmountTable", into = "AmountTable")]
pub struct Amount(pub Msat);

/// An amount of money: exactly one of the two.
#[derive(Default, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(default, expecting = "expected { msat = … } or { sat = … }")]
#[schemars(extend("title" = "amount", "minProperties" = 1, "maxProperties" = 1))]
struct AmountTable {
    /// Millisatoshi.
    msat: Option<u64>,
    /// Satoshi.
    sat: Option<u64>,
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderText {
    /// The value itself.
    Text(String),
    /// The value of an environment variable.
    Env {
        /// The variable's name.
        env: String,
        /// What stands in front of it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
    /// The content of a file, without the line's end.
    File {
        /// The file.
        file: PathBuf,
        /// What stands in front of it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
}

/// How finished answers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ReplaySetting {
    /// `false`: not at all. `true` is read as what is kept unless something else is said.
    Switch(bool),
    /// Up to a size, for a time.
    Kept(ReplayTable),
}

section! {
    /// How finished answers are kept for clients that lost their connection.
    #[derive(Copy)]
    pub struct ReplayTable {
        /// The longest body kept.
        pub max_bytes: ByteSize = ByteSize(256 << 10),
        /// How long it is kept.
        pub ttl: Lasting = Lasting::seconds(600),
    }
}

/// One text, or several.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Listed(Vec<String>),
}

/// How a choice reads each of its forms; the ones it does not have are errors.
trait Choice: Sized {
    const EXPECTED: &'static str;

    fn from_text(_: &str) -> Result<Self, String> {
        Err(format!("expected {}, not text", Self::EXPECTED))
    }

    fn from_bool(value: bool) -> Result<Self, String> {
        Err(format!("expected {}, not {value}", Self::EXPECTED))
    }

    fn from_map<'de, A: MapAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(de::Error::custom(format!(
            "expected {}, not a table",
            Self::EXPECTED
        )))
    }

    fn from_seq<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(de::Error::custom(format!(
            "expected {}, not a list",
            Self::EXPECTED
        )))
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Choice> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::from_seq(seq)
    }
}

macro_rules! reads_as_choice {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(PhantomData))
            }
        }
    )+};
}

reads_as_choice!(
    PathMatch,
    PriceSetting,
    HeaderText,
    ReplaySetting,
    Texts,
    SecretSource,
    FieldSetting,
    CapabilitiesSetting
);

/// The tables of the choices, before it is known that exactly one form was written.
mod tables {
    use super::{DeriveDeserialize, PathBuf};

    #[derive(Default, DeriveDeserialize)]
    #[serde(default)]
    pub(super) struct Path {
        pub(super) exact: Option<String>,
        pub(super) regex: Option<String>,
    }

    #[derive(Default, DeriveDeserialize)]
    #[serde(default)]
    pub(super) struct Header {
        pub(super) env: Option<String>,
        pub(super) file: Option<PathBuf>,
        pub(super) prefix: String,
    }
}

impl Choice for PathMatch {
    const EXPECTED: &'static str = "a path, { exact = \"…\" } or { regex = \"…\" }";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::Prefix(text.to_owned()))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let table = tables::Path::deserialize(MapAccessDeserializer::new(map))?;
        match (table.exact, table.regex) {
            (Some(exact), None) => Ok(Self::Exact { exact }),
            (None, Some(regex)) => Ok(Self::Regex { regex }),
            _ => Err(de::Error::custom(
                "needs exactly one of `exact` and `regex`",
            )),
        }
    }
}

impl TryFrom<AmountTable> for Amount {
    type Error = String;

    fn try_from(table: AmountTable) -> Result<Self, String> {
        let amount = match (table.msat, table.sat) {
            (Some(msat), None) => Msat::new(msat),
            (None, Some(sat)) => Msat::from_sat(sat),
            _ => return Err("needs exactly one of `msat` and `sat`".to_owned()),
        };
        amount.map(Self).map_err(|error| error.to_string())
    }
}

impl From<Amount> for AmountTable {
    fn from(amount: Amount) -> Self {
        Self {
            msat: Some(amount.0.get()),
            sat: None,
        }
    }
}

impl Choice for HeaderText {
    const EXPECTED: &'static str = "text, { env = \"…\" } or { file = \"…\" }";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::Text(text.to_owned()))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let table = tables::Header::deserialize(MapAccessDeserializer::new(map))?;
        match (table.env, table.file, table.prefix) {
            (Some(env), None, prefix) => Ok(Self::Env { env, prefix }),
            (None, Some(file), prefix) => Ok(Self::File { file, prefix }),
            _ => Err(de::Error::custom("needs exactly one of `env` and `file`")),
        }
    }
}

impl Choice for ReplaySetting {
    const EXPECTED: &'static str = "{ max_bytes = \"…\", ttl = \"…\" } or false";

    fn from_bool(value: bool) -> Result<Self, String> {
        Ok(if value {
            Self::default()
        } else {
            Self::Switch(false)
        })
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        ReplayTable::deserialize(MapAccessDeserializer::new(map)).map(Self::Kept)
    }
}

impl Choice for Texts {
    const EXPECTED: &'static str = "a text, or a list of texts";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::One(text.to_owned()))
    }

    fn from_seq<'de, A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Self::Listed)
    }
}

impl AsRef<[String]> for Texts {
    fn as_ref(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Listed(texts) => texts,
        }
    }
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix(String::new())
    }
}

impl Default for ReplaySetting {
    fn default() -> Self {
        Self::Kept(ReplayTable::default())
    }
}
