//! The kinds of prices. One table holds them all, and exactly one kind may be written in it.

use std::collections::BTreeMap;

use farebox_meter::{Currency, Decimal};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::{Amount, Choice, SecretSource};
use crate::file::{ModelTokensTable, UnsaidSetting};
use crate::key::explain_later;
use crate::section::{choices, section};
use crate::units::{Lasting, Percent};

/// The price of one request.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PriceSetting {
    /// Nothing.
    Free(Free),
    /// A fixed amount.
    Fixed(Amount),
    /// An amount in the money of some state, such as `{ usd = "0.002" }`.
    Fiat(#[schemars(with = "BTreeMap<String, String>")] BTreeMap<String, Decimal>),
    /// By what the call of a model uses.
    Models {
        /// How that is counted and charged.
        model_tokens: ModelTokensTable,
    },
    /// By what the answer turns out to have used.
    ByUse(Box<UsePrice>),
    /// What a program of the seller says.
    Webhook(Box<WebhookPrice>),
}

/// The word for a price of nothing.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Free {
    /// Nothing is charged.
    #[serde(rename = "free")]
    Free,
}

/// An amount in any currency, exact: `{ msat = "0.5" }`, `{ sat = 2 }`, `{ usd = "0.002" }`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(
    try_from = "BTreeMap<String, Decimal>",
    into = "BTreeMap<String, Decimal>"
)]
#[schemars(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>",
    extend("title" = "amount in any currency")
)]
pub struct Money {
    /// In which currency.
    pub currency: Currency,
    /// How much.
    pub amount: Decimal,
}

section! {
    /// A price by what the answer turns out to have used: the upstream says it, or bytes or seconds are
    /// counted. Exactly one of `upstream_header`, `upstream_json`, `per_byte`, `per_kib`, `per_mib` and
    /// `per_second`.
    #[schemars(extend("required" = ["at_most"]))]
    pub struct UsePrice {
        /// The header, or trailer, of the upstream's answer that says what it cost, or how much was
        /// used. The client does not see it.
        pub upstream_header: Option<String>,
        /// Where that stands in the upstream's JSON, as a JSON pointer such as `/usage/cost`; of a stream
        /// the last event that has it counts.
        pub upstream_json: Option<String>,
        /// What one byte costs.
        pub per_byte: Option<Money>,
        /// What 1024 bytes cost; parts of them cost their part.
        pub per_kib: Option<Money>,
        /// What 1024 times 1024 bytes cost.
        pub per_mib: Option<Money>,
        /// What a second costs, from the moment a request is forwarded to the end of its answer.
        pub per_second: Option<Money>,
        /// In what the upstream says a cost: `msat`, `sat`, `usd` or another currency.
        pub unit: Option<String>,
        /// What one of what the upstream says costs, where it says a quantity.
        pub each: Option<Money>,
        /// Whose bytes are counted. Default: the answer's.
        pub of: Option<OfSetting>,
        /// Whether requests whose bytes are counted may come compressed, and are then charged by what came.
        /// Default: they are refused with 415, since the upstream works on what they expand to.
        pub compressed: Option<bool>,
        /// What one call costs at most: held before it is forwarded. What it costs beyond that is the
        /// seller's loss.
        pub at_most: Option<Money>,
        /// What one call costs at least, where it is charged at all.
        pub least: Option<Money>,
        /// Percent on top of what the upstream says.
        pub markup_percent: Option<Percent>,
        /// What is charged for an answer with 2xx where the upstream does not say it. Default: the hold, since a
        /// client may ask for a form of the answer that says nothing. It is logged and counted.
        pub missing: Option<MissingSetting>,
        /// What is charged for an answer that the upstream broke off. Default: what was said or counted
        /// until then.
        pub broken_off: Option<UnsaidSetting>,
        /// How long the upstream is still listened to when the client leaves before it has said it.
        /// After that the whole hold is charged. Default: `10m`.
        pub drain: Option<Lasting>,
        /// Whether the client sees the upstream's header. Default: it does not.
        pub show: Option<bool>,
    }
}

section! {
    /// A price that a program of the seller says, request by request.
    #[schemars(extend("required" = ["webhook", "secret"]))]
    pub struct WebhookPrice {
        /// The URL that is asked, `http://` or `https://`.
        pub webhook: String,
        /// What each question is signed with (HMAC-SHA256).
        pub secret: Option<SecretSource>,
        /// How long one answer may take.
        pub timeout: Lasting = Lasting::seconds(5),
        /// How many questions may be open at a time. Beyond that requests are answered 503.
        pub max_in_flight: u32 = 64,
        /// How often it is asked what a call came to, before that counts as missing.
        pub attempts: u32 = 5,
        /// Names of request headers that it is told, by default `content-type` and `accept`. Credentials
        /// are never among them. With `calls = 1` there are none: a token is not bound to headers.
        pub tell: Option<Vec<String>>,
        /// What is charged where it does not say what a call came to.
        pub missing: MissingSetting,
    }
}

choices! {
    /// Whose bytes are counted.
    pub enum OfSetting => farebox_paywall::by_use::Of {
        /// The answer's.
        Answer,
        /// The request's: where its length is known, the price is exact.
        Request,
        /// Both.
        Both,
    }

    /// What is charged where nobody says it.
    #[derive(Default)]
    pub enum MissingSetting => farebox_paywall::gauge::Unsaid {
        /// Nothing.
        #[default]
        Nothing,
        /// All that was held.
        Hold,
    }
}

/// The keys that say of which kind a price is; the name of a currency does as well.
pub(crate) const KINDS: [&str; 10] = [
    "msat",
    "sat",
    "model_tokens",
    "webhook",
    "upstream_header",
    "upstream_json",
    "per_byte",
    "per_kib",
    "per_mib",
    "per_second",
];

#[derive(DeriveDeserialize)]
struct ModelsPrice {
    model_tokens: ModelTokensTable,
}

impl Choice for PriceSetting {
    const EXPECTED: &'static str = "\"free\", { msat = … }, { sat = … }, { usd = \"…\" }, \
        { model_tokens = {} }, { upstream_header = \"…\", … } or another kind of price";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "free" => Ok(Self::Free(Free::Free)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }

    /// The first key decides: see [`crate::document`].
    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let first = map.next_key::<String>()?.unwrap_or_default();
        let table = MapAccessDeserializer::new(FromKey {
            key: Some(first.clone()),
            rest: map,
        });
        match first.as_str() {
            "msat" | "sat" => Amount::deserialize(table).map(Self::Fixed),
            "model_tokens" => {
                let ModelsPrice { model_tokens } = ModelsPrice::deserialize(table)?;
                Ok(Self::Models { model_tokens })
            }
            "webhook" => WebhookPrice::deserialize(table).map(|it| Self::Webhook(Box::new(it))),
            key if KINDS.contains(&key) => {
                UsePrice::deserialize(table).map(|it| Self::ByUse(Box::new(it)))
            }
            key if key.parse::<Currency>().is_ok() => fiat(table),
            key => Err(de::Error::custom(unknown_kind(key))),
        }
    }
}

fn fiat<'de, D: Deserializer<'de>>(table: D) -> Result<PriceSetting, D::Error> {
    let amounts = BTreeMap::deserialize(table)?;
    if amounts.len() > 1 {
        return Err(de::Error::custom("needs exactly one kind of price"));
    }
    Ok(PriceSetting::Fiat(amounts))
}

fn unknown_kind(key: &str) -> String {
    explain_later(key).unwrap_or_else(|| {
        let kinds = KINDS.join("`, `");
        format!("unknown kind of price: needs exactly one of a currency, `{kinds}`")
    })
}

/// A table from a key on that was looked at already.
struct FromKey<A> {
    key: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FromKey<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.key.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

impl TryFrom<BTreeMap<String, Decimal>> for Money {
    type Error = String;

    fn try_from(written: BTreeMap<String, Decimal>) -> Result<Self, String> {
        let mut written = written.into_iter();
        let (Some((name, amount)), None) = (written.next(), written.next()) else {
            return Err("expected one amount, such as { msat = \"0.5\" }".to_owned());
        };
        let currency = name
            .parse::<Currency>()
            .map_err(|error| error.to_string())?;
        Ok(Self { currency, amount })
    }
}

impl From<Money> for BTreeMap<String, Decimal> {
    fn from(money: Money) -> Self {
        Self::from([(money.currency.name(), money.amount)])
    }
}
