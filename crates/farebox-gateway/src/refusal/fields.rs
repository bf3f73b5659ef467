//! What is wrong with what a client sent.

use farebox_meter::json::JsonError;

/// The most characters of a client's own names that are repeated to it.
const MAX_TOLD_CHARS: usize = 80;

/// Why a body does not fit into a route's template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFields {
    #[error(transparent)]
    Json(JsonError),
    #[error("the body has no {field:?}; expected {expected}")]
    Missing {
        field: String,
        expected: &'static str,
    },
    #[error("{field:?} in the body has to be {expected}")]
    WrongKind {
        field: String,
        expected: &'static str,
    },
    #[error("this route takes no {0:?} in the body")]
    NotTaken(String),
    #[error("the body is compressed, which this route does not read")]
    Compressed,
    #[error("this route takes no upgrades")]
    Upgrade,
}

impl BadFields {
    /// The field that it is about, and what is expected there.
    pub(crate) fn about(&self) -> Option<(&str, Option<&'static str>)> {
        match self {
            Self::Missing { field, expected } | Self::WrongKind { field, expected } => {
                Some((field, Some(expected)))
            }
            Self::NotTaken(field) | Self::Json(JsonError::Duplicate(field)) => Some((field, None)),
            Self::Json(_) | Self::Compressed | Self::Upgrade => None,
        }
    }

    pub(crate) fn not_taken(name: &str) -> Self {
        Self::NotTaken(told(name))
    }
}

impl From<JsonError> for BadFields {
    fn from(error: JsonError) -> Self {
        Self::Json(match error {
            JsonError::Duplicate(name) => JsonError::Duplicate(told(&name)),
            other => other,
        })
    }
}

fn told(name: &str) -> String {
    name.chars().take(MAX_TOLD_CHARS).collect()
}
