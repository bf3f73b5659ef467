//! What a bitcoin costs, and what models cost: exchange rates and price lists.
//!
//! Rates are found in the background, price lists are files that were made before; whoever sells
//! looks both up without waiting. Never here: whether a request is sold, and to whom.

mod absurd;
mod table;

pub mod diff;
pub mod import;
pub mod price_file;
pub mod rates;

pub use table::PriceTable;
