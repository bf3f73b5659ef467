//! Which model costs what.

use std::collections::BTreeMap;
use std::sync::Arc;

use farebox_meter::ModelPrice;

/// Prices by the name of the model, as clients write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    models: BTreeMap<String, Arc<ModelPrice>>,
}

impl PriceTable {
    /// The price of a model; `None` for one that is not listed by this very name.
    #[must_use]
    pub fn find(&self, model: &str) -> Option<&Arc<ModelPrice>> {
        self.models.get(model)
    }

    /// Sets the price of a model.
    pub fn insert(&mut self, model: impl Into<String>, price: ModelPrice) {
        self.models.insert(model.into(), Arc::new(price));
    }

    /// Takes a model off the list.
    pub fn remove(&mut self, model: &str) {
        self.models.remove(model);
    }

    /// This table, with the prices of `other` where both have one.
    #[must_use]
    pub fn overridden_by(mut self, other: &Self) -> Self {
        self.models.extend(other.models.clone());
        self
    }

    /// All models, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ModelPrice)> {
        self.models
            .iter()
            .map(|(name, price)| (name.as_str(), price.as_ref()))
    }

    /// How many models are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether no model is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }
}
