//! Where a secret is to be found. It is never written into the file itself.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, MapAccess};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::Choice;

/// Where a secret is to be found: the environment or a file, never the configuration itself.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretSource {
    /// In an environment variable.
    Env {
        /// The variable's name.
        env: String,
    },
    /// In a file.
    File {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Default, DeriveDeserialize)]
#[serde(default)]
struct Table {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl Choice for SecretSource {
    const EXPECTED: &'static str = "{ env = \"…\" } or { file = \"…\" }";

    fn from_text(_: &str) -> Result<Self, String> {
        Err(format!(
            "a secret is not written here: put it into the environment or a file of its own, and \
             write {}",
            Self::EXPECTED
        ))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        match (table.env, table.file) {
            (Some(env), None) => Ok(Self::Env { env }),
            (None, Some(file)) => Ok(Self::File { file }),
            _ => Err(de::Error::custom("needs exactly one of `env` and `file`")),
        }
    }
}

impl fmt::Display for SecretSource {
    /// Which variable or file it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { env } => f.write_str(env),
            Self::File { file } => file.display().fmt(f),
        }
    }
}
