//! Prices as they are kept in a file: every number as text, exactly.

use std::collections::BTreeMap;

use farebox_meter::Decimal;
use farebox_meter::Unit;
use farebox_meter::price::{BadCurrency, ModelPrice};
use serde::{Deserialize, Serialize};

/// The price of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPrice {
    /// In what the rows are written.
    pub currency: String,
    /// The price of one unit of each class.
    pub rows: BTreeMap<Unit, Decimal>,
    /// Prices of pictures by `quality/size`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Decimal>,
    /// The most tokens of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// The most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
}

impl From<&ModelPrice> for StoredPrice {
    fn from(price: &ModelPrice) -> Self {
        Self {
            currency: price.currency.name(),
            rows: price.rows.clone(),
            images: price.images.clone(),
            context_tokens: price.context_tokens,
            max_output_tokens: price.max_output_tokens,
        }
    }
}

impl TryFrom<&StoredPrice> for ModelPrice {
    type Error = BadCurrency;

    /// Nothing that is stored is free: only the configuration gives away.
    fn try_from(stored: &StoredPrice) -> Result<Self, BadCurrency> {
        Ok(Self {
            currency: stored.currency.parse()?,
            rows: stored.rows.clone(),
            images: stored.images.clone(),
            context_tokens: stored.context_tokens,
            max_output_tokens: stored.max_output_tokens,
            is_free: false,
        })
    }
}
