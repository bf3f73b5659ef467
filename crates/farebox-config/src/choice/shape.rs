//! Settings of request templates, answers and capabilities that can be written in more than one form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, MapAccess, SeqAccess};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::Choice;
use crate::section::section;

/// What a field of a client's body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// True or false.
    Bool,
    /// Any JSON.
    #[serde(alias = "any")]
    Json,
}

/// A field of a client's body: its type alone, or with more.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FieldSetting {
    /// Its type.
    Type(FieldType),
    /// Its type, and where it lands.
    Table(FieldTable),
}

/// A field of a client's body.
#[derive(Clone, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldTable {
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The JSON pointer of its place in the template. Default: its name.
    #[serde(default)]
    pub to: Option<String>,
    /// Whether a body without it is refused. Default: the template's own value stays.
    #[serde(default)]
    pub required: bool,
    /// Whether a number, or true and false, may also be written as text, as clients of lsat-proxy do.
    #[serde(default)]
    pub from_text: bool,
}

/// What may be asked of a route: names alone, or with the requests that need each.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CapabilitiesSetting {
    /// Every request needs all of them.
    Listed(Vec<String>),
    /// Requests need those that are for them.
    Rules(BTreeMap<String, CapabilityTable>),
}

section! {
    /// Which requests need a capability.
    pub struct CapabilityTable {
        /// Those with one of these methods. Default: any.
        pub http_methods: Option<Vec<String>>,
        /// Those for one of these paths or for what lies under it. Default: any.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub paths: Vec<String>,
    }
}

impl CapabilitiesSetting {
    /// Each name with its rule.
    pub fn rules(&self) -> Vec<(&str, CapabilityTable)> {
        match self {
            Self::Listed(names) => {
                let names = names.iter().map(String::as_str);
                names
                    .map(|name| (name, CapabilityTable::default()))
                    .collect()
            }
            Self::Rules(rules) => {
                let rules = rules.iter();
                rules
                    .map(|(name, rule)| (name.as_str(), rule.clone()))
                    .collect()
            }
        }
    }
}

impl Choice for CapabilitiesSetting {
    const EXPECTED: &'static str =
        "a list of names, or a table such as { read = { http_methods = [\"GET\"] } }";

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Self::Rules)
    }

    fn from_seq<'de, A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Self::Listed)
    }
}

impl FieldSetting {
    /// All of it, with defaults.
    pub fn table(&self) -> FieldTable {
        match self {
            Self::Type(kind) => FieldTable {
                kind: *kind,
                to: None,
                required: false,
                from_text: false,
            },
            Self::Table(table) => table.clone(),
        }
    }
}

impl Choice for FieldSetting {
    const EXPECTED: &'static str =
        "\"string\", \"int\", \"float\", \"bool\", \"json\" or { type = \"…\", to = \"/…\" }";

    fn from_text(text: &str) -> Result<Self, String> {
        let kind =
            FieldType::deserialize(de::value::StrDeserializer::<de::value::Error>::new(text));
        kind.map(Self::Type)
            .map_err(|_| format!("expected {}", Self::EXPECTED))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        FieldTable::deserialize(MapAccessDeserializer::new(map)).map(Self::Table)
    }
}
