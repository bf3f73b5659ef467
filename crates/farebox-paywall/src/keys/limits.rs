//! What a key may spend, as its parent or the operator writes it.

use farebox_api::KeyWish;
use farebox_core::{Msat, RouteName, UnixMillis};
use farebox_ledger::KeyLimits;

/// Limits, and a note for whoever reads the list.
#[derive(Clone, Debug)]
pub struct LimitsWish {
    /// The limits; none where nothing was said.
    pub limits: KeyLimits,
    /// The note.
    pub note: Option<String>,
}

/// Text that is no [`LimitsWish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected JSON with total_msat, per_day_msat, routes, models, expires_at (seconds since 1970) \
     and note, each of which may be absent, and nothing else"
)]
pub struct BadWish;

impl LimitsWish {
    /// Parses the JSON of a wish without a parent. An unknown member is a limit that would not hold.
    ///
    /// # Errors
    /// [`BadWish`].
    pub fn parse(body: &[u8]) -> Result<Self, BadWish> {
        let wish: KeyWish = serde_json::from_slice(body).map_err(|_| BadWish)?;
        if wish.parent.is_some() {
            return Err(BadWish);
        }
        wish.try_into()
    }
}

/// All but the parent, which is no limit.
impl TryFrom<KeyWish> for LimitsWish {
    type Error = BadWish;

    fn try_from(body: KeyWish) -> Result<Self, BadWish> {
        let routes = body.routes.map(|names| {
            let parsed = names.iter().map(|name| RouteName::parse(name));
            parsed.collect::<Result<Vec<_>, _>>()
        });
        let expires_at = body.expires_at.map(|seconds| {
            let millis = seconds.checked_mul(1000);
            millis.map(UnixMillis::new).ok_or(BadWish)
        });
        Ok(Self {
            limits: KeyLimits {
                total: msat(body.total_msat)?,
                per_day: msat(body.per_day_msat)?,
                routes: routes.transpose().map_err(|_| BadWish)?,
                models: body.models,
                expires_at: expires_at.transpose()?,
            },
            note: body.note,
        })
    }
}

fn msat(amount: Option<u64>) -> Result<Option<Msat>, BadWish> {
    amount.map(Msat::new).transpose().map_err(|_| BadWish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused_as_a_whole() {
        let body = r#"{"total_msat":5,"routes":["a"],"models":["m"],"expires_at":2}"#;
        let limits = LimitsWish::parse(body.as_bytes()).unwrap().limits;
        assert_eq!(limits.total.map(Msat::get), Some(5));
        assert_eq!(limits.expires_at, Some(UnixMillis::new(2000)));
        for wrong in [
            r#"{"routes":["a b"]}"#,
            r#"{"limit":1}"#,
            r#"{"parent":"fk_1"}"#,
            "[]",
            "",
        ] {
            assert!(LimitsWish::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
