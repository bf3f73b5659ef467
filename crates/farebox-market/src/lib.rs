//! What a bitcoin costs, and what models cost: exchange rates and price lists.
//!
//! Both are read in the background or before, and kept; whoever sells looks them up without waiting.
//! Never here: whether a request is sold, and to whom.

pub mod prices;
pub mod rates;
pub mod table;

pub use table::PriceTable;
