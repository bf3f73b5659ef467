//! Prepaid keys: a secret that is presented as a provider's API key would be, and pays from money
//! that was deposited before.
//!
//! A key is drawn here and kept nowhere: the ledger names its account by the hash. A request with a
//! key is served or refused, and never offered an invoice; an unmodified client would not read it.
//! The secret never reaches an upstream, a log or an error.

mod deposit;
mod known;
mod limits;
mod pending;
mod secret;
mod sweep;
mod view;

pub use deposit::Deposits;
pub use known::{KnownKey, KnownKeys};
pub use limits::{BadWish, LimitsWish};
pub use pending::Pending;
pub use secret::{BadKey, KeySecret, holds_key, is_in_address, take};
pub use sweep::sweep;
pub use view::describe;
