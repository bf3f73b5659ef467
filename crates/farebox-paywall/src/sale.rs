//! What a route sells: an offer, how it is priced, and on which conditions.
//!
//! Only combinations that can be kept can be written down: what is charged by use is sold as a
//! balance, a price that a webhook says for one call is sold for that call, and only a single call
//! of one exact request can give its payment back.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Kind, MethodClass, Msat, TermsEpoch};
use farebox_http::limits::TokenLimit;
use farebox_http::replay::ReplayPolicy;
use farebox_market::PriceTable;
use farebox_market::rates::Rates;
use farebox_meter::{Currency, Decimal, Endpoint, RequestRules};
use sha2::{Digest, Sha256};

use crate::by_use::ByUse;
use crate::capability::RouteCapabilities;
use crate::error::Unsold;
use crate::gauge::Billing;
use crate::model_headers::HeaderRules;
use crate::model_query::QueryRules;
use crate::webhook::Webhook;

/// What a route sells, and on which conditions.
#[derive(Clone)]
pub struct Sale {
    /// What may be asked of the route, where tokens can be narrowed to a part of that.
    pub capabilities: Option<Box<RouteCapabilities>>,
    /// What one account may ask at once and in a period.
    pub token_limit: TokenLimit,
    /// What one payment buys, and what that costs.
    pub offer: Offer,
    /// Which methods a token is good for.
    pub methods: MethodScope,
    /// How long a token can be spent from its first claim on.
    pub valid_for: Duration,
    /// Which upstream answers are charged.
    pub charge_on: ChargeOn,
    /// How finished answers are kept for a client that lost the connection; not at all when absent.
    pub replay: Option<ReplayPolicy>,
    /// How many requests more than the paying account was charged for may cost nothing by their clients'
    /// doing. The next one is charged.
    pub max_voids: u32,
    /// By which ways a request can be paid.
    pub ways: Ways,
    /// The invoice's memo.
    pub description: String,
    /// The fingerprint of the terms: [`Offer::terms_epoch`].
    pub epoch: TermsEpoch,
}

/// By which ways a request can be paid. A prepaid key is good wherever something is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// By an invoice and its token.
    pub l402: bool,
    /// By coins in the request.
    pub ecash: bool,
}

impl Ways {
    /// By an invoice alone.
    pub const L402: Self = Self {
        l402: true,
        ecash: false,
    };

    /// Their names, as documents list them.
    #[must_use]
    pub fn list(self) -> Vec<&'static str> {
        self.names().split(", ").collect()
    }

    /// Their names, as a header has them.
    #[must_use]
    pub const fn names(self) -> &'static str {
        match (self.l402, self.ecash) {
            (_, false) => "l402",
            (true, true) => "l402, cashu",
            (false, true) => "cashu",
        }
    }
}

/// What one payment buys, and how the price of a request is found.
#[derive(Clone)]
pub enum Offer {
    /// Every request has the same price.
    Flat {
        /// The price of one request; of a pass, that of the whole pass.
        price: FlatPrice,
        /// What one payment buys at that price.
        buys: Buys,
    },
    /// A balance, from which each request draws what it used.
    Metered {
        /// What one payment deposits at least.
        deposit: Msat,
        /// How what was used becomes money.
        pricing: Pricing,
    },
    /// A single call of one exact request, at the price that a webhook says for it.
    Quoted(Arc<Webhook>),
}

/// What one payment buys where every request has the same price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buys {
    /// One call.
    Single(Bind),
    /// So many calls, at least two. They are bound to the route.
    Calls(u32),
    /// Every call within a span. They are bound to the route.
    Pass(Duration),
    /// A balance of so much, from which each request draws its price.
    Balance(Msat),
}

/// What a token for a single call is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The method, path, query and body of the request that was challenged.
    Request(OnFailure),
    /// Any request on the route. Its payment cannot be given back: the call does not run before
    /// its payer asks again.
    Route,
}

/// What becomes of the payment when the upstream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The hold on the account is voided: the value stays on the token.
    Void,
    /// The payment itself is canceled at the node and was never made. The call runs while the
    /// payment is held.
    Cancel,
}

/// The price of one request, known before it is read.
#[derive(Clone)]
pub enum FlatPrice {
    /// In bitcoin.
    Msat(Msat),
    /// In the money of some state, at the rate of the moment.
    Fiat(FiatPrice),
}

/// A price in the money of some state.
#[derive(Clone)]
pub struct FiatPrice {
    /// Which.
    pub currency: Currency,
    /// How much, for one request.
    pub amount: Decimal,
    /// What a bitcoin costs in it.
    pub rates: Arc<Rates>,
}

/// How what a request used becomes money.
#[derive(Clone)]
pub enum Pricing {
    /// By what the call of a model uses.
    Models(Arc<ModelSale>),
    /// By what the upstream reports, or what is measured here.
    Use(Arc<ByUse>),
    /// As a program of the seller says: exactly before the call, or at most before it and exactly
    /// after it.
    Webhook(Arc<Webhook>),
}

/// What is sold of models.
pub struct ModelSale {
    /// What each model costs.
    pub prices: Arc<PriceTable>,
    /// What a bitcoin costs, for prices in other money.
    pub rates: Arc<Rates>,
    /// What requests may ask besides the known.
    pub rules: RequestRules,
    /// Which headers of requests reach the upstream.
    pub headers: HeaderRules,
    /// Which parameters of the query do.
    pub query: QueryRules,
    /// Millionths on top of the listed prices.
    pub markup: u64,
    /// What is charged where an answer does not end well.
    pub billing: Billing,
    /// Whether the tokens of models whose vocabulary is public are counted by it where nobody tells
    /// them. A token is four bytes of words else.
    pub knows_vocabularies: bool,
    /// The canonical path in front of the endpoints, such as `/openai` or nothing.
    pub root: String,
}

farebox_core::words! {
    /// Which methods a token buys.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MethodScope {
        /// The class of the challenged request: a token bought for reading does not write.
        Class = "class",
        /// All.
        Any = "any",
    }
}

/// Which upstream answers are charged. No connection never is; a time-out before the headers, 401,
/// 402, 403, 407 and a body cut by the upstream are only where the act is what is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeOn {
    /// 2xx and 3xx.
    Success,
    /// 2xx, 3xx and 4xx: for upstreams whose "not found" is a valuable answer.
    SuccessAndClientError,
    /// Whatever was forwarded, whatever comes back: for upstreams whose act is the value.
    Forwarded,
}

impl Sale {
    /// Whether a request costs nothing, as far as its head tells: the list of models does. A cheap
    /// look before anybody is asked who pays.
    ///
    /// # Errors
    /// [`Unsold`]: it is not sold here at all.
    pub fn is_free(&self, method: &http::Method, path: &str) -> Result<bool, Unsold> {
        match self.offer.models() {
            Some(models) => Ok(models.endpoint(method.as_str(), path)? == Endpoint::Models),
            None => Ok(false),
        }
    }
}

impl Offer {
    /// What a payment turns into on a token.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Flat { buys, .. } => buys.kind(),
            Self::Metered { .. } => Kind::Balance,
            Self::Quoted(_) => Kind::Single,
        }
    }

    /// What a single call is good for; none of everything else, which is bound to the route.
    #[must_use]
    pub const fn bind(&self) -> Option<Bind> {
        match self {
            Self::Flat {
                buys: Buys::Single(bind),
                ..
            } => Some(*bind),
            Self::Quoted(_) => Some(Bind::Request(OnFailure::Void)),
            Self::Flat { .. } | Self::Metered { .. } => None,
        }
    }

    /// Whether a token is good for one exact request alone.
    #[must_use]
    pub const fn binds_request(&self) -> bool {
        matches!(self.bind(), Some(Bind::Request(_)))
    }

    /// Whether the call runs while its payment is held, which is given back when the upstream fails.
    #[must_use]
    pub const fn holds_payment(&self) -> bool {
        matches!(self.bind(), Some(Bind::Request(OnFailure::Cancel)))
    }

    /// What one payment asks for, for a request that costs `price` at most; none where that is more
    /// money than there is.
    #[must_use]
    pub fn asks(&self, price: Msat) -> Option<Msat> {
        match self {
            // A balance that cannot pay for this very request would be bought in vain.
            Self::Metered { deposit, .. }
            | Self::Flat {
                buys: Buys::Balance(deposit),
                ..
            } => Some((*deposit).max(price)),
            Self::Flat {
                buys: Buys::Calls(count),
                ..
            } => price.checked_mul(u64::from(*count)),
            Self::Flat { .. } | Self::Quoted(_) => Some(price),
        }
    }

    /// The price of one request, where it is fixed in bitcoin.
    #[must_use]
    pub const fn fixed_price(&self) -> Option<Msat> {
        match self {
            Self::Flat {
                price: FlatPrice::Msat(price),
                ..
            } => Some(*price),
            _ => None,
        }
    }

    /// What is sold of models, where models are sold.
    #[must_use]
    pub const fn models(&self) -> Option<&Arc<ModelSale>> {
        match self {
            Self::Metered {
                pricing: Pricing::Models(models),
                ..
            } => Some(models),
            _ => None,
        }
    }

    /// What is charged by reported or measured use, where that is the price.
    #[must_use]
    pub const fn by_use(&self) -> Option<&Arc<ByUse>> {
        match self {
            Self::Metered {
                pricing: Pricing::Use(by_use),
                ..
            } => Some(by_use),
            _ => None,
        }
    }

    /// Who says what a call costs, where a webhook does.
    #[must_use]
    pub const fn webhook(&self) -> Option<&Arc<Webhook>> {
        match self {
            Self::Metered {
                pricing: Pricing::Webhook(webhook),
                ..
            }
            | Self::Quoted(webhook) => Some(webhook),
            _ => None,
        }
    }

    /// The fingerprint of the terms that a token carries: another price, other goods, another
    /// binding, other methods or another time are other terms.
    #[must_use]
    pub fn terms_epoch(&self, methods: MethodScope, valid_for: Duration) -> TermsEpoch {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{self} methods={methods} ");
        let _ = write!(text, "valid_for={}s", valid_for.as_secs());
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let [a, b, c, d, ..] = digest;
        TermsEpoch(u32::from_be_bytes([a, b, c, d]))
    }
}

/// The offer in words that change only with its terms.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat { price, buys } => write!(f, "{buys} price={price}"),
            Self::Metered { deposit, pricing } => {
                write!(f, "balance={} {pricing}", deposit.get())
            }
            Self::Quoted(webhook) => write!(f, "single request {webhook}"),
        }
    }
}

impl Buys {
    const fn kind(self) -> Kind {
        match self {
            Self::Single(_) => Kind::Single,
            Self::Calls(count) => Kind::Calls(count),
            Self::Pass(span) => Kind::Pass(span),
            Self::Balance(_) => Kind::Balance,
        }
    }
}

impl fmt::Display for Buys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(Bind::Request(OnFailure::Void)) => f.write_str("single request"),
            Self::Single(Bind::Request(OnFailure::Cancel)) => f.write_str("single held request"),
            Self::Single(Bind::Route) => f.write_str("single route"),
            Self::Calls(count) => write!(f, "calls={count}"),
            Self::Pass(span) => write!(f, "pass={}s", span.as_secs()),
            Self::Balance(deposit) => write!(f, "balance={}", deposit.get()),
        }
    }
}

impl fmt::Display for FlatPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msat(price) => write!(f, "{}msat", price.get()),
            Self::Fiat(price) => write!(f, "{}{}", price.amount, price.currency.name()),
        }
    }
}

impl fmt::Display for Pricing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Models(models) => {
                write!(f, "models root={} markup={}", models.root, models.markup)
            }
            Self::Use(by_use) => by_use.fmt(f),
            Self::Webhook(webhook) => webhook.fmt(f),
        }
    }
}

impl MethodScope {
    /// The class that a token challenged by `method` is good for.
    #[must_use]
    pub fn class_for(self, method: &http::Method) -> MethodClass {
        match self {
            Self::Class => MethodClass::of(method.as_str()),
            Self::Any => MethodClass::Any,
        }
    }
}

impl ChargeOn {
    /// Whether an answer with `status` is charged.
    #[must_use]
    pub fn charges(self, status: http::StatusCode) -> bool {
        match self {
            Self::Success => status.is_success() || status.is_redirection(),
            Self::SuccessAndClientError => {
                Self::Success.charges(status) || status.is_client_error()
            }
            Self::Forwarded => true,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    /// An offer at a fixed price in bitcoin.
    pub(crate) fn flat(price: u64, buys: Buys) -> Offer {
        Offer::Flat {
            price: FlatPrice::Msat(msat(price)),
            buys,
        }
    }

    const SINGLE: Buys = Buys::Single(Bind::Request(OnFailure::Void));

    fn epoch(offer: &Offer) -> TermsEpoch {
        offer.terms_epoch(MethodScope::Class, Duration::from_secs(60))
    }

    #[test]
    fn one_payment_asks_for_what_it_buys() {
        let asks = |buys| flat(2_000, buys).asks(msat(2_000)).map(Msat::get);
        assert_eq!(asks(SINGLE), Some(2_000));
        assert_eq!(asks(Buys::Calls(5)), Some(10_000));
        assert_eq!(asks(Buys::Pass(Duration::from_secs(60))), Some(2_000));
        assert_eq!(asks(Buys::Balance(msat(50_000))), Some(50_000));
        assert_eq!(asks(Buys::Balance(msat(1_000))), Some(2_000));
        assert_eq!(flat(1, Buys::Calls(u32::MAX)).asks(Msat::MAX), None);
    }

    #[test]
    fn every_condition_of_the_terms_changes_their_epoch() {
        let offers = [
            flat(2_000, SINGLE),
            flat(2_001, SINGLE),
            flat(2_000, Buys::Single(Bind::Request(OnFailure::Cancel))),
            flat(2_000, Buys::Single(Bind::Route)),
            flat(2_000, Buys::Calls(2)),
            flat(2_000, Buys::Pass(Duration::from_secs(2))),
            flat(2_000, Buys::Balance(msat(2))),
        ];
        let mut epochs: Vec<u32> = offers.iter().map(|offer| epoch(offer).0).collect();
        let first = &offers[0];
        epochs.push(
            first
                .terms_epoch(MethodScope::Any, Duration::from_secs(60))
                .0,
        );
        epochs.push(
            first
                .terms_epoch(MethodScope::Class, Duration::from_secs(61))
                .0,
        );
        let all = epochs.len();
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs.len(), all);
        assert_eq!(epoch(first), epoch(&flat(2_000, SINGLE)));
    }

    #[test]
    fn only_a_call_of_one_request_can_hold_its_payment() {
        assert!(flat(1, Buys::Single(Bind::Request(OnFailure::Cancel))).holds_payment());
        for buys in [SINGLE, Buys::Single(Bind::Route), Buys::Calls(2)] {
            assert!(!flat(1, buys).holds_payment());
        }
    }
}
