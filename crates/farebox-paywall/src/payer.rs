//! Who pays for a request: the step before anybody asks what it costs.
//!
//! A token that does not fit the request pays for nothing in it, so whoever brings one is asked to pay
//! like everybody else, and told why. A key that does not pay is refused, and never offered an invoice.

use std::net::IpAddr;
use std::sync::Arc;

use farebox_core::{AccountId, KeyHash, Kind, PaymentHash, RequestDigest};
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::TokenPermit;
use http::HeaderMap;

use crate::ask::{Ask, idempotency_key};
use crate::capability;
use crate::claim::OpenClaim;
use crate::credential::Token;
use crate::ecash::{Coins, EcashText};
use crate::error::Owed;
use crate::keys::KnownKey;

/// What a request came with, proven.
pub enum Credential {
    /// Nothing that pays, and why.
    None(Owed),
    /// A claim whose invoice can still be paid.
    Claim(Box<OpenClaim>),
    /// A token.
    Token(Arc<Token>),
    /// A prepaid key, known or not.
    Key(KeyHash),
    /// A token of ecash, not looked at.
    Ecash(EcashText),
}

/// Who pays for a request. Whoever can pay has a place among the requests that its account has in
/// flight, which bounds what they take of everything else.
pub enum Payer {
    /// Nobody yet, and why.
    Nobody {
        /// Why something is owed.
        owed: Owed,
        /// The claim on an invoice that was made for this client and can still be paid.
        claim: Option<Box<OpenClaim>>,
    },
    /// An account.
    Account {
        /// What spends its money.
        spender: Spender,
        /// Its place among the requests in flight.
        permit: TokenPermit,
    },
}

/// What spends the money of an account.
#[derive(Clone)]
pub enum Spender {
    /// A token that is for this request as far as its head tells.
    Token(Arc<Token>),
    /// A prepaid key.
    Key(KnownKey),
    /// Coins, for this request or as a balance.
    Coins(Arc<Coins>),
}

/// How exactly a request has to be known before its payer is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not at all.
    Not,
    /// To be told from others: by its outline, where its body is too long to be read.
    Told,
    /// To its last byte: its token is bound to it.
    Exactly,
}

/// Whether a token is for a request, as far as its head tells.
pub(crate) fn check_scope(token: &Token, ask: &Ask<'_>) -> Result<(), Owed> {
    token.check_scope(ask.route, ask.method, ask.received_at)?;
    let capabilities = ask.sale.capabilities.as_deref();
    capability::check(&token.granted, capabilities, ask.method, ask.path)
}

impl Payer {
    /// Nobody, and why.
    #[must_use]
    pub const fn nobody(owed: Owed) -> Self {
        Self::Nobody { owed, claim: None }
    }

    /// Whose share of what all requests take is taken for a request from `client`.
    #[must_use]
    pub fn holder(&self, client: IpAddr) -> Holder {
        match self {
            // Coins are worth nothing before their mint has swapped them.
            Self::Account {
                spender: Spender::Coins(coins),
                ..
            } if !coins.are_ours() => Holder::Stranger(AddressPrefix::of(client)),
            Self::Account { spender, .. } => Holder::Payer(spender.purse()),
            Self::Nobody { .. } => Holder::Stranger(AddressPrefix::of(client)),
        }
    }

    /// Whether what is asked for was paid by the call or for a time, whatever it costs now.
    #[must_use]
    pub fn has_prepaid(&self) -> bool {
        match self {
            Self::Account { spender, .. } => !matches!(spender.kind(), Kind::Balance),
            Self::Nobody { .. } => false,
        }
    }

    /// The payment that bought one request alone, where that pays.
    #[must_use]
    pub fn bought_alone(&self) -> Option<PaymentHash> {
        match self {
            Self::Account { spender, .. } => spender.bought_alone(),
            Self::Nobody { .. } => None,
        }
    }

    /// How exactly a request with these fields has to be known to be admitted for this payer.
    #[must_use]
    pub fn knows(&self, headers: &HeaderMap) -> Known {
        let Self::Account { spender, .. } = self else {
            return Known::Not;
        };
        match spender.kind() {
            _ if spender.bound_to().is_some() => Known::Exactly,
            _ if spender.pays_once() => Known::Told,
            Kind::Single => Known::Told,
            Kind::Calls(_) | Kind::Balance if idempotency_key(headers).is_some() => Known::Told,
            Kind::Calls(_) | Kind::Balance | Kind::Pass(_) => Known::Not,
        }
    }
}

impl Spender {
    /// The account whose requests these are.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Self::Token(token) => token.account(),
            Self::Key(known) => known.key.account(),
            Self::Coins(coins) => coins.account(),
        }
    }

    /// The account whose money it is: of a child's requests its parent's.
    #[must_use]
    pub fn purse(&self) -> AccountId {
        match self {
            Self::Token(token) => token.account(),
            Self::Key(known) => known.purse,
            Self::Coins(coins) => coins.account(),
        }
    }

    /// What was bought: the money of a key or of coins is a balance.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Token(token) => token.granted.terms.kind,
            Self::Key(_) | Self::Coins(_) => Kind::Balance,
        }
    }

    /// Whether it is coins that pay for one request, and the rest goes back.
    pub(crate) fn pays_once(&self) -> bool {
        matches!(self, Self::Coins(coins) if !coins.is_balance())
    }

    /// The payment that bought one request alone.
    pub(crate) fn bought_alone(&self) -> Option<PaymentHash> {
        match self {
            Self::Token(token) if self.kind() == Kind::Single => Some(token.payment_hash),
            Self::Token(_) | Self::Key(_) | Self::Coins(_) => None,
        }
    }

    /// The one request that it is good for, where it is for one.
    pub fn bound_to(&self) -> Option<RequestDigest> {
        match self {
            Self::Token(token) => token.granted.holder.request,
            Self::Key(_) | Self::Coins(_) => None,
        }
    }
}
