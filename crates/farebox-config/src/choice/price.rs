//! The kinds of prices. One table holds them all, and exactly one kind may be written in it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use farebox_meter::{Currency, Decimal};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde::{Deserialize as DeriveDeserialize, Serialize, Serializer};

use super::{Amount, Choice, SecretSource, tables};
use crate::file::{ModelTokensTable, UnsaidSetting};
use crate::known_keys::explain_later;
use crate::units::Lasting;

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
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// In which currency.
    pub currency: Currency,
    /// How much.
    pub amount: Decimal,
}

/// A price by what the answer turns out to have used: the upstream says it, or bytes or seconds are
/// counted. Exactly one of `upstream_header`, `upstream_json`, `per_byte`, `per_kib`, `per_mib` and
/// `per_second`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["at_most"]))]
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
    /// What one call costs at most: held before it is forwarded. What it costs beyond that is the
    /// seller's loss.
    pub at_most: Option<Money>,
    /// What one call costs at least, where it is charged at all.
    pub least: Option<Money>,
    /// Percent on top of what the upstream says.
    #[schemars(with = "Option<String>")]
    pub markup_percent: Option<Decimal>,
    /// What is charged where the upstream does not say it. Default: nothing; that is logged and
    /// counted.
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

/// A price that a program of the seller says, request by request.
#[derive(Clone, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["webhook", "secret"]))]
pub struct WebhookPrice {
    /// The URL that is asked, `http://` or `https://`.
    pub webhook: String,
    /// What each question is signed with (HMAC-SHA256).
    pub secret: Option<SecretSource>,
    /// How long one answer may take.
    pub timeout: Lasting,
    /// How many questions may be open at a time. Beyond that requests are answered 503.
    pub max_in_flight: u32,
    /// How often it is asked what a call came to, before that counts as missing.
    pub attempts: u32,
    /// Names of request headers that it is told, by default `content-type` and `accept`. Credentials
    /// are never among them. With `calls = 1` there are none: a token is not bound to headers.
    pub tell: Option<Vec<String>>,
    /// What is charged where it does not say what a call came to.
    pub missing: MissingSetting,
}

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OfSetting {
    /// The answer's.
    Answer,
    /// The request's: where its length is known, the price is exact.
    Request,
    /// Both.
    Both,
}

/// What is charged where nobody says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingSetting {
    /// Nothing.
    #[default]
    Nothing,
    /// All that was held.
    Hold,
}

/// Everything that may stand in a price, before it is known which kind was written.
#[derive(Default, DeriveDeserialize)]
#[serde(default)]
struct Price {
    msat: Option<u64>,
    sat: Option<u64>,
    model_tokens: Option<ModelTokensTable>,
    upstream_header: Option<String>,
    upstream_json: Option<String>,
    per_byte: Option<Money>,
    per_kib: Option<Money>,
    per_mib: Option<Money>,
    per_second: Option<Money>,
    unit: Option<String>,
    each: Option<Money>,
    of: Option<OfSetting>,
    at_most: Option<Money>,
    least: Option<Money>,
    markup_percent: Option<Decimal>,
    missing: Option<MissingSetting>,
    broken_off: Option<UnsaidSetting>,
    drain: Option<Lasting>,
    show: Option<bool>,
    webhook: Option<String>,
    secret: Option<SecretSource>,
    timeout: Option<Lasting>,
    max_in_flight: Option<u32>,
    attempts: Option<u32>,
    tell: Option<Vec<String>>,
    #[serde(flatten)]
    fiat: BTreeMap<String, Number>,
}

/// A number as it was written, or a word that is none.
#[derive(DeriveDeserialize)]
#[serde(untagged)]
enum Number {
    Decimal(Decimal),
    Other(de::IgnoredAny),
}

impl Number {
    fn parse(self) -> Result<Decimal, farebox_meter::decimal::BadDecimal> {
        match self {
            Self::Decimal(number) => Ok(number),
            Self::Other(_) => Err(farebox_meter::decimal::BadDecimal),
        }
    }
}

impl Price {
    /// The first key that only a price by use has.
    fn key_of_use(&self) -> Option<&'static str> {
        let keys = [
            ("upstream_header", self.upstream_header.is_some()),
            ("upstream_json", self.upstream_json.is_some()),
            ("per_byte", self.per_byte.is_some()),
            ("per_kib", self.per_kib.is_some()),
            ("per_mib", self.per_mib.is_some()),
            ("per_second", self.per_second.is_some()),
            ("at_most", self.at_most.is_some()),
            ("unit", self.unit.is_some()),
            ("each", self.each.is_some()),
            ("of", self.of.is_some()),
            ("least", self.least.is_some()),
            ("markup_percent", self.markup_percent.is_some()),
            ("broken_off", self.broken_off.is_some()),
            ("drain", self.drain.is_some()),
            ("show", self.show.is_some()),
        ];
        first_set(&keys)
    }

    /// The first key that only a webhook has.
    fn key_of_webhook(&self) -> Option<&'static str> {
        let keys = [
            ("webhook", self.webhook.is_some()),
            ("secret", self.secret.is_some()),
            ("timeout", self.timeout.is_some()),
            ("max_in_flight", self.max_in_flight.is_some()),
            ("attempts", self.attempts.is_some()),
            ("tell", self.tell.is_some()),
        ];
        first_set(&keys)
    }

    fn into_use(self) -> UsePrice {
        UsePrice {
            upstream_header: self.upstream_header,
            upstream_json: self.upstream_json,
            per_byte: self.per_byte,
            per_kib: self.per_kib,
            per_mib: self.per_mib,
            per_second: self.per_second,
            unit: self.unit,
            each: self.each,
            of: self.of,
            at_most: self.at_most,
            least: self.least,
            markup_percent: self.markup_percent,
            missing: self.missing,
            broken_off: self.broken_off,
            drain: self.drain,
            show: self.show,
        }
    }

    fn into_webhook(self) -> WebhookPrice {
        let default = WebhookPrice::default();
        WebhookPrice {
            webhook: self.webhook.unwrap_or_default(),
            secret: self.secret,
            timeout: self.timeout.unwrap_or(default.timeout),
            max_in_flight: self.max_in_flight.unwrap_or(default.max_in_flight),
            attempts: self.attempts.unwrap_or(default.attempts),
            tell: self.tell,
            missing: self.missing.unwrap_or_default(),
        }
    }
}

fn first_set(keys: &[(&'static str, bool)]) -> Option<&'static str> {
    let set = keys.iter().find(|(_, is_set)| *is_set);
    set.map(|(key, _)| *key)
}

/// The amounts in the money of states; any other name is a mistake.
fn fiat<E: de::Error>(written: BTreeMap<String, Number>) -> Result<BTreeMap<String, Decimal>, E> {
    let mut fiat = BTreeMap::new();
    for (name, number) in written {
        if name.parse::<Currency>().is_err() {
            let later = explain_later(&name);
            let reason = later.unwrap_or_else(|| format!("unknown kind of price: {name}"));
            return Err(E::custom(reason));
        }
        fiat.insert(name, number.parse().map_err(E::custom)?);
    }
    Ok(fiat)
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

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let mut table = Price::deserialize(MapAccessDeserializer::new(map))?;
        let fiat = fiat(std::mem::take(&mut table.fiat))?;
        let is_amount = table.msat.is_some() || table.sat.is_some();
        let (by_use, webhook) = (table.key_of_use(), table.key_of_webhook());
        let is_missing_set = table.missing.is_some();
        match (
            table.model_tokens.take(),
            is_amount,
            fiat.len(),
            by_use,
            webhook,
        ) {
            (None, false, 0, None, Some(_)) => Ok(Self::Webhook(Box::new(table.into_webhook()))),
            (None, false, 0, Some(_), None) => Ok(Self::ByUse(Box::new(table.into_use()))),
            _ if is_missing_set => Err(de::Error::custom("`missing` goes with a price by use")),
            (None, true, 0, None, None) => tables::amount(table.msat, table.sat).map(Self::Fixed),
            (None, false, 1, None, None) => Ok(Self::Fiat(fiat)),
            (Some(model_tokens), false, 0, None, None) => Ok(Self::Models { model_tokens }),
            (_, _, _, Some(one), Some(other)) => Err(de::Error::custom(format!(
                "needs exactly one kind of price: `{one}` does not go with `{other}`"
            ))),
            _ => Err(de::Error::custom("needs exactly one kind of price")),
        }
    }
}

impl Default for WebhookPrice {
    fn default() -> Self {
        Self {
            webhook: String::new(),
            secret: None,
            timeout: Lasting::seconds(5),
            max_in_flight: 64,
            attempts: 5,
            tell: None,
            missing: MissingSetting::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<String, Decimal>::deserialize(deserializer)?;
        let mut written = written.into_iter();
        let (Some((name, amount)), None) = (written.next(), written.next()) else {
            return Err(de::Error::custom(
                "expected one amount, such as { msat = \"0.5\" }",
            ));
        };
        let currency = name.parse().map_err(de::Error::custom)?;
        Ok(Self { currency, amount })
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BTreeMap::from([(self.currency.name(), self.amount)]).serialize(serializer)
    }
}

impl JsonSchema for Money {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, String>::json_schema(generator)
    }
}
