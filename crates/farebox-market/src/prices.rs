//! The prices of models that are in force, replaced as a whole when the seller approves others.

pub mod book;
pub mod file;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::table::PriceTable;

/// The table in force. A request keeps the prices it began with.
#[derive(Default)]
pub struct Prices(ArcSwap<PriceTable>);

impl Prices {
    /// These prices.
    #[must_use]
    pub fn new(table: PriceTable) -> Self {
        Self(ArcSwap::from_pointee(table))
    }

    /// The table in force at this moment.
    #[must_use]
    pub fn table(&self) -> Arc<PriceTable> {
        self.0.load_full()
    }

    /// Puts another table in force.
    pub fn replace(&self, table: PriceTable) {
        self.0.store(Arc::new(table));
    }
}
