//! Price lists of others: which models they price, in whose words, and what is left out.
//!
//! Nothing is guessed. A model with a price that is negative, absurd, or of a kind that this
//! program does not know is left out with its reason; a price of nothing for tokens is no price.

mod entry;
mod litellm;
mod models_dev;
mod openrouter;
mod selection;

pub use selection::Selection;

use std::collections::{BTreeMap, BTreeSet};

use farebox_meter::price::{Currency, ModelPrice};
use serde::Serialize;

use crate::absurd::absurd;
use crate::table::PriceTable;
use entry::Entry;

/// The most models of one list.
pub const MAX_MODELS: usize = 50_000;

farebox_core::words! {
    /// Whose list it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ListForm {
        /// models.dev's `api.json`: dollars per million tokens.
        ModelsDev = "models.dev",
        /// LiteLLM's `model_prices_and_context_window.json`: dollars per token.
        LiteLlm = "litellm",
        /// OpenRouter's `/models`, and an upstream's own `/v1/models` in that form: dollars per token.
        OpenRouter = "openrouter",
    }
}

/// What a list says of the models that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceList {
    /// Those that can be sold by it.
    pub table: PriceTable,
    /// Those that cannot, and why.
    pub left_out: Vec<LeftOut>,
}

/// A model that is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name in the list.
    pub model: String,
    /// Why.
    pub reason: String,
}

/// A list that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// Not JSON, or of another form.
    #[error("not a price list of this form")]
    Form(#[from] serde_json::Error),
    /// Absurdly long.
    #[error("more than {MAX_MODELS} models")]
    TooLong,
}

impl PriceList {
    /// Reads a list.
    ///
    /// # Errors
    /// [`BadList`] when it is none.
    pub fn read(form: ListForm, list: &[u8], selection: &Selection) -> Result<Self, BadList> {
        let entries = match form {
            ListForm::ModelsDev => models_dev::entries(list)?,
            ListForm::LiteLlm => litellm::entries(list)?,
            ListForm::OpenRouter => openrouter::entries(list)?,
        };
        if entries.len() > MAX_MODELS {
            return Err(BadList::TooLong);
        }
        let wanted = entries
            .into_iter()
            .filter(|entry| selection.wants(&entry.full_name));
        let mut reader = Reader::default();
        wanted.for_each(|entry| reader.take(entry, selection));
        Ok(reader.list)
    }
}

/// A list that grows.
#[derive(Default)]
struct Reader {
    list: PriceList,
    /// Names with several prices.
    ambiguous: BTreeSet<String>,
}

impl Reader {
    fn take(&mut self, entry: Entry, selection: &Selection) {
        let model = entry.full_name.clone();
        let name = selection.name(&entry.full_name, &entry.name);
        match judge(entry, selection.markup) {
            Ok(price) => self.insert(model, name, price),
            Err(reason) => self.list.left_out.push(LeftOut { model, reason }),
        }
    }

    fn insert(&mut self, model: String, name: String, price: ModelPrice) {
        let known = self.list.table.find(&name);
        let differs = known.is_some_and(|known| **known != price);
        if !differs && !self.ambiguous.contains(&name) {
            self.list.table.insert(name, price);
            return;
        }
        self.list.table.remove(&name);
        let reason = format!("several models are called {name:?} and differ in price: select one");
        self.list.left_out.push(LeftOut { model, reason });
        self.ambiguous.insert(name);
    }
}

fn judge(entry: Entry, markup: u64) -> Result<ModelPrice, String> {
    let mut rows = entry.prices?;
    // What costs nothing for tokens is what the list does not know; the seller gives away by
    // himself.
    rows.retain(|_, price| !price.is_zero());
    if rows.is_empty() {
        return Err("costs nothing: to give it away write [[model]] with free = true".to_owned());
    }
    for price in rows.values_mut() {
        let dearer = price.dearer_by(markup);
        *price = dearer.map_err(|error| format!("with the markup: {error}"))?;
    }
    let price = ModelPrice {
        currency: Currency::Fiat(*b"USD"),
        rows,
        images: BTreeMap::new(),
        context_tokens: entry.context_tokens.filter(|tokens| *tokens > 0),
        max_output_tokens: entry.max_output_tokens.filter(|tokens| *tokens > 0),
        is_free: false,
    };
    absurd(&price).map_or(Ok(price), Err)
}

#[cfg(test)]
mod tests;
