//! What a charge was made of: by which rate and for which model, what was used, and how it ended.
//!
//! What is known before a request is forwarded, its [`ChargeBasis`], is written with its hold; what
//! its answer showed, [`Measured`], with its settlement. A charge of a fixed price in bitcoin has
//! neither, and no row of its own. Values only.

use farebox_core::{HoldId, KeyHash, Msat, RouteName, UnixMillis};

use crate::{AccountName, LedgerError};

/// The most that is kept of a model's name, in bytes.
pub const MAX_CHARGE_MODEL: usize = 128;
/// The longest name of a currency, the longest price of a bitcoin and the longest quantity, in bytes.
pub const MAX_CHARGE_RATE: usize = 64;
/// The most classes of usage that are kept of one charge.
pub const MAX_CHARGE_CLASSES: usize = 16;
/// How a charge ended that recovery made, of a hold whose process had died.
pub const RECOVERED: &str = "recovered";

/// What the price of a request was found by: known before it is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargeBasis {
    /// The rate in force when the request was admitted, where its price is in other money.
    pub rate: Option<RateUsed>,
    /// The model it asks for; of longer names, the first [`MAX_CHARGE_MODEL`] bytes are kept.
    pub model: Option<String>,
}

/// What a bitcoin cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateUsed {
    /// In which money.
    pub currency: String,
    /// How much, as a decimal number.
    pub bitcoin_price: String,
    /// How old that was when it was used, in milliseconds; none where the seller fixed it.
    pub age_ms: Option<u64>,
}

/// What an answer showed of its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How the answer ended.
    pub terminal: &'static str,
    /// How much of each class was used, at most [`MAX_CHARGE_CLASSES`]. Names have neither spaces
    /// nor equals signs.
    pub usage: Vec<(&'static str, u64)>,
    /// How much was used where that has no classes, as a decimal number of at most
    /// [`MAX_CHARGE_RATE`] bytes; a longer one is not kept.
    pub quantity: Option<String>,
}

/// One charge, with what is known of how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeView {
    /// The hold that ended with it: the id of the receipt, and of the transfer.
    pub hold: HoldId,
    /// Whose money it was.
    pub account: AccountName,
    /// The prepaid key that asked, where it spent its parent's money.
    pub asker: Option<KeyHash>,
    /// What earned it.
    pub route: RouteName,
    /// When it ended.
    pub at: UnixMillis,
    /// What was held; unknown of the charge of a fixed price, which is the whole hold.
    pub held: Option<Msat>,
    /// What was used. More than was held is the seller's loss.
    pub used: Msat,
    /// What was charged.
    pub charged: Msat,
    /// Whether the hold was released instead, and nothing charged.
    pub released: bool,
    /// What its price was found by.
    pub basis: ChargeBasis,
    /// How the answer ended, where it was measured or recovered.
    pub terminal: Option<String>,
    /// How much of each class was used.
    pub usage: Vec<(String, u64)>,
    /// How much was used where that has no classes, as a decimal number.
    pub quantity: Option<String>,
}

/// Which charges are listed, the latest first. What is absent limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargeQuery {
    /// Of this account; of a prepaid key also those that it caused on its parent's money.
    pub account: Option<AccountName>,
    /// Earned by this route.
    pub route: Option<RouteName>,
    /// Admitted at this instant or later.
    pub since: Option<UnixMillis>,
    /// Admitted before this instant.
    pub until: Option<UnixMillis>,
    /// From below this place, which the page before gave.
    pub before: Option<HoldId>,
}

/// A part of a listing. The search looks at a bounded number of transfers for each, so a page may
/// have few charges or none and still not be the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargePage {
    /// The charges found.
    pub charges: Vec<ChargeView>,
    /// Where the next page begins; none at the end.
    pub next: Option<HoldId>,
}

impl ChargeBasis {
    /// Cuts the model's name to what is kept.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] where the rate is no rate that can be kept.
    pub(crate) fn fit(&mut self) -> Result<(), LedgerError> {
        if let Some(model) = &mut self.model {
            model.truncate(model.floor_char_boundary(MAX_CHARGE_MODEL));
        }
        let too_long = |rate: &RateUsed| {
            rate.currency.len() > MAX_CHARGE_RATE || rate.bitcoin_price.len() > MAX_CHARGE_RATE
        };
        match &self.rate {
            Some(rate) if too_long(rate) => Err(LedgerError::TooLarge),
            _ => Ok(()),
        }
    }
}

impl Measured {
    /// What recovery knows of an answer.
    pub(crate) const fn recovered() -> Self {
        Self {
            terminal: RECOVERED,
            usage: Vec::new(),
            quantity: None,
        }
    }
}
