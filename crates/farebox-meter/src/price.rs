//! Prices of models, and the one place where usage becomes money.

use std::collections::BTreeMap;

use farebox_core::Msat;
use num_bigint::BigUint;

use crate::decimal::{Decimal, MAX_SCALE};
use crate::usage::{Unit, Usage};

/// One bitcoin in millisatoshi.
const MSAT_PER_BTC: u64 = 100_000_000_000;
/// What markups and buffers are parts of.
pub const PARTS_PER_MILLION: u64 = 1_000_000;

/// What prices are written in: three capital letters (ISO 4217), or bitcoin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Millisatoshi.
    Msat,
    /// Satoshi.
    Sat,
    /// A currency of some state.
    Fiat([u8; 3]),
}

/// Text that names no currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a currency: msat, sat, or three letters such as usd")]
pub struct BadCurrency;

/// What one unit of each class costs, as exact decimals in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    /// In what the rows are written.
    pub currency: Currency,
    /// The price of one unit. A class without a row cannot be sold, but for those that fall back on
    /// another: see [`ModelPrice::row`].
    pub rows: BTreeMap<Unit, Decimal>,
    /// Prices of one picture by `quality/size`; `*` stands for any quality or size. Without them a
    /// picture costs its row, or its tokens.
    pub images: BTreeMap<String, Decimal>,
    /// The most tokens that the model reads and writes in one call.
    pub context_tokens: Option<u64>,
    /// The most tokens that it writes in one call.
    pub max_output_tokens: Option<u64>,
    /// Whether the seller gives it away. Without this a price of nothing is not believed.
    pub is_free: bool,
}

/// How many msat one unit of a currency is: an exact ratio, with markup and buffer in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    msat: BigUint,
    per: BigUint,
}

/// A class of usage that has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// The model has no price for something that was used.
    #[error("the model has no price for {0}")]
    Unit(Unit),
    /// The sum is more than all bitcoin.
    #[error("the price is more than all bitcoin that can exist")]
    TooMuch,
    /// A rate of zero.
    #[error("the exchange rate is zero")]
    NoRate,
}

/// What something costs.
pub type Priced = Result<Msat, Unpriced>;

impl Currency {
    /// The name as written in configurations, in small letters.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Msat => "msat".to_owned(),
            Self::Sat => "sat".to_owned(),
            Self::Fiat(code) => String::from_utf8_lossy(&code).to_ascii_lowercase(),
        }
    }
}

impl std::str::FromStr for Currency {
    type Err = BadCurrency;

    fn from_str(text: &str) -> Result<Self, BadCurrency> {
        match text {
            "msat" => Ok(Self::Msat),
            "sat" => Ok(Self::Sat),
            _ => {
                let upper = text.to_ascii_uppercase();
                let code: [u8; 3] = upper.as_bytes().try_into().map_err(|_| BadCurrency)?;
                let is_code = code.iter().all(u8::is_ascii_uppercase);
                is_code.then_some(Self::Fiat(code)).ok_or(BadCurrency)
            }
        }
    }
}

impl Exchange {
    /// For prices in millisatoshi or satoshi; `None` for other currencies.
    #[must_use]
    pub fn fixed(currency: Currency) -> Option<Self> {
        let msat: u32 = match currency {
            Currency::Msat => 1,
            Currency::Sat => 1000,
            Currency::Fiat(_) => return None,
        };
        Some(Self {
            msat: msat.into(),
            per: 1_u32.into(),
        })
    }

    /// From the price of one bitcoin in the currency.
    ///
    /// # Errors
    /// [`Unpriced::NoRate`] for a bitcoin that costs nothing.
    pub fn of_bitcoin_price(price: Decimal) -> Result<Self, Unpriced> {
        let (digits, scale) = price.parts();
        if digits == 0 {
            return Err(Unpriced::NoRate);
        }
        Ok(Self {
            msat: BigUint::from(MSAT_PER_BTC) * BigUint::from(10_u32).pow(scale),
            per: digits.into(),
        })
    }

    /// The same, `parts` millionths dearer: a markup, or a buffer against a rate that moves.
    #[must_use]
    pub fn dearer_by(self, parts: u64) -> Self {
        Self {
            msat: self.msat * (BigUint::from(PARTS_PER_MILLION) + parts),
            per: self.per * PARTS_PER_MILLION,
        }
    }

    /// An amount of the currency in msat, rounded up.
    ///
    /// # Errors
    /// [`Unpriced::TooMuch`].
    pub fn to_msat(&self, amount: Decimal) -> Priced {
        let (digits, scale) = amount.parts();
        self.round_up(digits.into(), scale)
    }

    /// The same for one of `parts` equal parts: of a price for a KiB, that of a byte.
    #[must_use]
    pub fn split(self, parts: u32) -> Self {
        Self {
            msat: self.msat,
            per: self.per * parts.max(1),
        }
    }

    /// What `quantity` costs at `each`, rounded up once.
    ///
    /// # Errors
    /// [`Unpriced::TooMuch`].
    pub fn times(&self, quantity: Decimal, each: Decimal) -> Priced {
        let ((count, one), (price, other)) = (quantity.parts(), each.parts());
        self.round_up(BigUint::from(count) * price, one + other)
    }

    /// `digits` × 10⁻ˢᶜᵃˡᵉ of the currency: the one rounding of a charge.
    fn round_up(&self, digits: BigUint, scale: u32) -> Priced {
        let per = &self.per * BigUint::from(10_u32).pow(scale);
        let msat = (digits * &self.msat + &per - 1_u32) / per;
        let msat = u64::try_from(msat).map_err(|_| Unpriced::TooMuch)?;
        Msat::new(msat).map_err(|_| Unpriced::TooMuch)
    }

    /// The same in numbers of a machine, which allocates nothing; nothing where they do not suffice.
    fn round_up_small(&self, digits: u128, scale: u32) -> Option<Msat> {
        let per = u128::try_from(&self.per).ok()?;
        let per = per.checked_mul(10_u128.checked_pow(scale)?)?;
        let msat = digits.checked_mul(u128::try_from(&self.msat).ok()?)?;
        let msat = msat.div_ceil(per);
        Msat::new(u64::try_from(msat).ok()?).ok()
    }
}

impl ModelPrice {
    /// The price of one unit. What is written to a cache, kept to itself, heard or seen is priced
    /// as plain input or output where the list has no row of its own; a call, a picture, a second
    /// or a character has a row or no price. What was read from a cache without a row for it costs
    /// as much as if it had not been.
    #[must_use]
    pub fn row(&self, unit: Unit) -> Option<Decimal> {
        let own = self.rows.get(&unit).copied();
        let other = match unit {
            Unit::CachedInput | Unit::CacheWrite | Unit::ImageInput => Some(Unit::Input),
            Unit::Reasoning => Some(Unit::Output),
            Unit::Request => return Some(own.unwrap_or(Decimal::ZERO)),
            Unit::Input
            | Unit::Output
            | Unit::AudioInput
            | Unit::AudioOutput
            | Unit::ImageOutput
            | Unit::Image
            | Unit::Character
            | Unit::Second => None,
        };
        own.or_else(|| self.rows.get(&other?).copied())
    }

    /// Whether pictures are priced by the piece.
    #[must_use]
    pub fn prices_images(&self) -> bool {
        !self.images.is_empty() || self.rows.contains_key(&Unit::Image)
    }

    /// The prices where a picture is of one kind, written as `quality/size`.
    ///
    /// # Errors
    /// [`Unpriced`] where this kind has no price.
    pub fn for_image(&self, kind: &str) -> Result<Self, Unpriced> {
        let (quality, size) = kind.split_once('/').unwrap_or(("*", kind));
        let patterns = [
            kind.to_owned(),
            format!("*/{size}"),
            format!("{quality}/*"),
            "*/*".to_owned(),
        ];
        let listed = patterns.iter().find_map(|pattern| self.images.get(pattern));
        let row = self
            .rows
            .get(&Unit::Image)
            .filter(|_| self.images.is_empty());
        let price = listed.or(row).ok_or(Unpriced::Unit(Unit::Image))?;
        let mut priced = self.clone();
        priced.rows.insert(Unit::Image, *price);
        Ok(priced)
    }

    /// Whether it may be sold at all: it is free on purpose, or something in it costs something.
    #[must_use]
    pub fn is_sellable(&self) -> bool {
        let mut prices = self.rows.values().chain(self.images.values());
        self.is_free || prices.any(|price| !price.is_zero())
    }

    /// Whether this counts pictures that have a price already: they are told by the piece and by
    /// their tokens, and sold by one of the two.
    fn counts_otherwise(&self, unit: Unit, usage: &Usage) -> bool {
        let other = match unit {
            Unit::Image => Unit::ImageOutput,
            Unit::ImageOutput => Unit::Image,
            _ => return false,
        };
        self.row(unit).is_none() && self.row(other).is_some() && usage.get(other) > 0
    }

    /// What `usage` costs, rounded up once.
    ///
    /// # Errors
    /// [`Unpriced`] where something was used that has no price.
    pub fn cost(&self, usage: &Usage, exchange: &Exchange) -> Priced {
        if self.is_free {
            return Ok(Msat::ZERO);
        }
        let mut parts = Parts::default();
        for (unit, count) in usage.iter() {
            if !self.counts_otherwise(unit, usage) {
                let price = self.row(unit).ok_or(Unpriced::Unit(unit))?;
                parts.add(price, count);
            }
        }
        let small = parts.small_sum();
        let small = small.and_then(|(digits, scale)| exchange.round_up_small(digits, scale));
        match small {
            Some(cost) => Ok(cost),
            None => exchange.round_up(parts.sum(), MAX_SCALE),
        }
    }
}

/// What is added up to a charge: a price and how often it is due, for each class.
#[derive(Default)]
struct Parts {
    parts: [(Decimal, u64); Unit::ALL.len()],
    count: usize,
}

impl Parts {
    fn add(&mut self, price: Decimal, count: u64) {
        self.parts[self.count] = (price, count);
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = (u128, u32, u64)> {
        self.parts[..self.count].iter().map(|(price, count)| {
            let (digits, scale) = price.parts();
            (digits, scale, *count)
        })
    }

    /// In units of 10⁻¹⁸.
    fn sum(&self) -> BigUint {
        self.iter()
            .fold(BigUint::default(), |sum, (digits, scale, count)| {
                sum + BigUint::from(digits) * count * BigUint::from(10_u32).pow(MAX_SCALE - scale)
            })
    }

    /// The digits and the scale of the sum, where a machine's numbers suffice: mostly they do.
    fn small_sum(&self) -> Option<(u128, u32)> {
        let scale = self.iter().map(|(_, scale, _)| scale).max().unwrap_or(0);
        let mut parts = self.iter();
        let sum = parts.try_fold(0_u128, |sum, (digits, own, count)| {
            let part = digits.checked_mul(count.into())?;
            sum.checked_add(part.checked_mul(10_u128.checked_pow(scale - own)?)?)
        });
        Some((sum?, scale))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn price(rows: &[(Unit, &str)]) -> ModelPrice {
        ModelPrice {
            currency: "usd".parse().unwrap(),
            rows: rows
                .iter()
                .map(|(unit, text)| (*unit, decimal(text)))
                .collect(),
            images: BTreeMap::new(),
            context_tokens: None,
            max_output_tokens: None,
            is_free: false,
        }
    }

    /// A bitcoin for 100,000 dollars: 1,000,000 msat a dollar.
    fn exchange() -> Exchange {
        Exchange::of_bitcoin_price(decimal("100000")).unwrap()
    }

    fn msat(priced: Priced) -> u64 {
        priced.unwrap().get()
    }

    #[test]
    fn a_charge_is_rounded_once_and_upward() {
        let model = price(&[(Unit::Input, "0.00000015"), (Unit::Output, "0.0000006")]);
        let usage = Usage::of_request()
            .with(Unit::Input, 3)
            .with(Unit::Output, 1);
        // 0.45 + 0.6 msat: rounded apart they would cost two.
        assert_eq!(msat(model.cost(&usage, &exchange())), 2);
        let usage = usage.with(Unit::Output, 0);
        assert_eq!(msat(model.cost(&usage, &exchange())), 1);
        assert_eq!(msat(model.cost(&Usage::of_request(), &exchange())), 0);
    }

    #[test]
    fn classes_without_a_row_fall_back_on_their_plain_kind_or_have_no_price() {
        let model = price(&[(Unit::Input, "0.001"), (Unit::Output, "0.01")]);
        let cost = |unit| model.cost(&Usage::NONE.with(unit, 1), &exchange());
        assert_eq!(msat(cost(Unit::CachedInput)), 1000);
        assert_eq!(msat(cost(Unit::Reasoning)), 10_000);
        assert_eq!(
            cost(Unit::AudioInput),
            Err(Unpriced::Unit(Unit::AudioInput))
        );
        assert_eq!(cost(Unit::Image), Err(Unpriced::Unit(Unit::Image)));
    }

    #[test]
    fn a_cache_has_its_own_price_where_the_list_has_one() {
        let model = price(&[(Unit::Input, "0.001"), (Unit::CachedInput, "0.0001")]);
        let usage = Usage::NONE.with(Unit::Input, 1).with(Unit::CachedInput, 10);
        assert_eq!(msat(model.cost(&usage, &exchange())), 2000);
    }

    #[test]
    fn a_price_of_nothing_is_believed_only_when_it_is_meant() {
        let zero = price(&[(Unit::Input, "0"), (Unit::Output, "0")]);
        assert!(!zero.is_sellable());
        let free = ModelPrice {
            is_free: true,
            ..zero
        };
        assert!(free.is_sellable());
        let usage = Usage::NONE.with(Unit::Image, 5);
        assert_eq!(msat(free.cost(&usage, &exchange())), 0);
    }

    #[test]
    fn pictures_are_sold_by_the_piece_or_by_their_tokens() {
        let usage = Usage::NONE
            .with(Unit::Image, 2)
            .with(Unit::ImageOutput, 500);
        let exchange = Exchange::fixed(Currency::Sat).unwrap();
        let cost = |rows: &[(Unit, &str)]| price(rows).cost(&usage, &exchange);
        assert_eq!(cost(&[(Unit::Image, "3")]).unwrap().get(), 6_000);
        assert_eq!(cost(&[(Unit::ImageOutput, "4")]).unwrap().get(), 2_000_000);
        let both = [(Unit::Image, "3"), (Unit::ImageOutput, "4")];
        assert_eq!(cost(&both).unwrap().get(), 2_006_000);
        assert!(cost(&[(Unit::Output, "1")]).is_err());
    }

    #[test]
    fn usual_prices_need_no_large_numbers() {
        let model = price(&[(Unit::Input, "0.00000015"), (Unit::Output, "0.0000006")]);
        let mut parts = Parts::default();
        for price in model.rows.values() {
            parts.add(*price, 1_000_000);
        }
        let (digits, scale) = parts.small_sum().unwrap();
        let exchange = exchange().dearer_by(5_000).dearer_by(200_000);
        let cost = exchange.round_up_small(digits, scale).unwrap();
        assert_eq!(cost, exchange.round_up(parts.sum(), MAX_SCALE).unwrap());
        assert_eq!(cost.get(), 904_500);
    }

    #[test]
    fn markup_and_buffer_are_exact() {
        let dearer = exchange().dearer_by(5_000).dearer_by(200_000);
        assert_eq!(msat(dearer.to_msat(decimal("1"))), 1_206_000);
    }

    #[test]
    fn a_quantity_at_a_unit_price_is_rounded_once() {
        let msat_each = Exchange::fixed(Currency::Msat).unwrap();
        let times = |quantity: &str, each: &str| msat_each.times(decimal(quantity), decimal(each));
        assert_eq!(msat(times("3", "0.5")), 2);
        assert_eq!(msat(times("0.000000001", "0.000000001")), 1);
        assert_eq!(msat(times("0", "5")), 0);
        assert_eq!(times("1e20", "1e9"), Err(Unpriced::TooMuch));
        let by_kib = msat_each.clone().split(1024);
        assert_eq!(msat(by_kib.times(decimal("1024"), decimal("7"))), 7);
        assert_eq!(msat(by_kib.times(decimal("1025"), decimal("7"))), 8);
    }

    #[test]
    fn bitcoins_own_units_need_no_rate() {
        let sat = Exchange::fixed(Currency::Sat).unwrap();
        assert_eq!(msat(sat.to_msat(decimal("0.0015"))), 2);
        assert!(Exchange::fixed("usd".parse().unwrap()).is_none());
        assert_eq!(
            Exchange::of_bitcoin_price(Decimal::ZERO),
            Err(Unpriced::NoRate)
        );
    }

    proptest! {
        #[test]
        fn numbers_of_a_machine_come_to_the_same_or_to_nothing(
            counts in proptest::collection::vec(0_u64..u64::MAX, 4),
            prices in proptest::collection::vec((0_u128..10_u128.pow(24), 0_u32..=18), 4),
            btc in 1_u128..10_u128.pow(9), (markup, shift) in (0_u64..1_000_000, 0_u32..50),
        ) {
            let exchange = Exchange::of_bitcoin_price(Decimal::new(btc, 2).unwrap()).unwrap();
            let exchange = exchange.dearer_by(markup);
            let mut parts = Parts::default();
            for (count, (digits, scale)) in counts.iter().zip(prices) {
                parts.add(Decimal::new(digits >> shift, scale).unwrap(), count >> shift);
            }
            let exact = exchange.round_up(parts.sum(), MAX_SCALE);
            let small = parts.small_sum();
            let small = small.and_then(|(digits, scale)| exchange.round_up_small(digits, scale));
            if let Some(small) = small {
                prop_assert_eq!(Ok(small), exact);
            }
        }

        #[test]
        fn a_sum_costs_at_most_its_parts_and_less_than_one_msat_below(
            input in 0_u64..10_000_000, output in 0_u64..10_000_000,
            (p, q) in (0_u128..10_u128.pow(10), 0_u128..10_u128.pow(10)),
            btc in 1_u128..10_u128.pow(9),
        ) {
            let mut model = price(&[]);
            model.rows.insert(Unit::Input, Decimal::new(p, 15).unwrap());
            model.rows.insert(Unit::Output, Decimal::new(q, 15).unwrap());
            let exchange = Exchange::of_bitcoin_price(Decimal::new(btc, 2).unwrap()).unwrap();
            let cost = |usage: Usage| model.cost(&usage, &exchange).map(Msat::get);
            let both = cost(Usage::NONE.with(Unit::Input, input).with(Unit::Output, output));
            let one = cost(Usage::NONE.with(Unit::Input, input));
            let other = cost(Usage::NONE.with(Unit::Output, output));
            if let (Ok(both), Ok(one), Ok(other)) = (both, one, other) {
                prop_assert!(both <= one + other);
                prop_assert!(both + 1 >= one + other);
            }
        }
    }
}
