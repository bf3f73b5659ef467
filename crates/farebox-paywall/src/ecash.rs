//! Ecash that pays for requests: coins are examined, swapped at their mint, and what is not used goes back
//! in coins.
//!
//! Everything that can be refused is refused before the swap, while the token is still its holder's.
//! A swap is in the ledger before its mint is called. After it only the ledger can refuse, and the
//! credit stays where its holder can fetch it.

mod change;
mod recover;
mod redeem;
mod till;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farebox_core::{AccountId, Clock, MintId, Msat, Secret};
use farebox_ecash::{Branch, BranchSeed, Examined, Seed, Token, TokenError, Y};
use farebox_http::aside::aside;
use farebox_http::body_budget::Holder;
use farebox_http::limits::Places;
use farebox_ledger::{ClaimPolicy, Excuses, Funding, Ledger};
use farebox_wire::credential::CREDENTIAL_HEADERS;
use http::HeaderName;
use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::ask::Ask;
use crate::error::EcashError;
use crate::keyring::{Keyring, Purpose};
use crate::mints::{TrustedMint, mint_id};

pub use change::{ChangeDue, PickUp};
pub use recover::sweep;
pub(crate) use redeem::Needs;
use redeem::Run;
pub use redeem::SWAPPED;
pub use till::{Shelf, Till, TillError, WITHDRAWN, Wish};

/// How many coins that were spent elsewhere are remembered, so that nobody makes a mint say so again.
const DEAD_COINS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// How many balances are remembered that somebody spends with every call.
const BALANCES: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");
/// Of how many address prefixes it is remembered how often they left without paying.
const LEAVERS: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

/// A token as a request brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcashText {
    /// Its text.
    pub text: Secret<Box<str>>,
    /// The header that it came in, which says where its change goes.
    pub header: EcashHeader,
}

/// A header that brings a token, which says what it is for and where its change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcashHeader {
    /// `X-Cashu` (NUT-24): it pays for one request.
    Cashu,
    /// `X-PAYMENT-SATS`, of the ecash-402 gateway: it pays for one request.
    PaymentSats,
    /// A header for credentials, such as `Authorization: Bearer`: it is a balance, as programs send it with
    /// every request.
    Credential,
}

/// Coins that pay.
pub struct Coins {
    /// The account that the exact set of them is.
    pub(crate) account: AccountId,
    pub(crate) header: EcashHeader,
    /// What their swap brings or brought.
    pub(crate) worth: Msat,
    pub(crate) are: Are,
}

/// Whose coins are, as far as that is known without asking the ledger.
pub(crate) enum Are {
    /// Their holder's, or being swapped.
    Brought(Box<Brought>),
    /// Ours: a balance that was sold so.
    Ours(Box<Funding>),
}

/// Coins as far as they are known before they are swapped.
pub(crate) struct Brought {
    pub(crate) mint: TrustedMint,
    pub(crate) examined: Examined,
    /// The SHA-256 of the text that brought them.
    pub(crate) text: [u8; 32],
}

/// What redeems coins and gives change, for all data threads.
pub struct Ecash {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    /// What the secrets of coins are derived from that may become change, and of those that are the
    /// seller's. None where there are no signing keys.
    seed: Option<BranchSeed>,
    income: Option<BranchSeed>,
    /// Coins leave by one withdrawal at a time.
    withdrawing: tokio::sync::Mutex<()>,
    /// Accounts whose coins are being swapped by this process, and what that brings.
    running: Mutex<HashMap<AccountId, Run>>,
    /// Coins that were spent elsewhere.
    dead: Mutex<LruCache<Y, ()>>,
    /// Balances by the SHA-256 of the text that opened each.
    balances: Mutex<LruCache<[u8; 32], Arc<Coins>>>,
    /// How often the clients of an address prefix were excused: the next token is a new account.
    leavers: Mutex<LruCache<Holder, Arc<Excuses>>>,
    /// Swaps that wait for a mint.
    waiting: Arc<Places>,
}

impl EcashHeader {
    /// What a line of a request's head brings a token for; none where it brings none.
    pub(crate) fn of(name: &HeaderName, line: &[u8]) -> Option<Self> {
        match name.as_str() {
            "x-cashu" => Some(Self::Cashu),
            "x-payment-sats" => Some(Self::PaymentSats),
            // Every line of every request is looked at: few begin so, and then the name counts.
            name if bearer(line).starts_with(b"cashu") => CREDENTIAL_HEADERS
                .contains(&name)
                .then_some(Self::Credential),
            _ => None,
        }
    }

    /// The text of a token in such a line.
    pub(crate) fn text(self, line: &[u8]) -> &[u8] {
        match self {
            Self::Cashu | Self::PaymentSats => line,
            Self::Credential => bearer(line),
        }
    }

    /// The header in which change is told; none where it is only fetched.
    #[must_use]
    pub const fn change(self) -> Option<&'static str> {
        match self {
            Self::Cashu => Some("x-cashu"),
            Self::PaymentSats => Some("x-change-sats"),
            Self::Credential => None,
        }
    }
}

/// A credential without the scheme that is before most.
fn bearer(line: &[u8]) -> &[u8] {
    const SCHEME: &[u8] = b"bearer ";
    let line = line.trim_ascii();
    match line.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest.trim_ascii(),
        _ => line,
    }
}

impl Coins {
    /// The account that they credit.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Whether they are a balance for many requests, and do not pay for one alone.
    #[must_use]
    pub fn is_balance(&self) -> bool {
        self.header == EcashHeader::Credential
    }

    /// Whether they are worth something here, without their mint's word.
    #[must_use]
    pub const fn are_ours(&self) -> bool {
        matches!(self.are, Are::Ours(_))
    }
}

impl Brought {
    /// What the ledger calls the unit of their mint.
    pub(crate) fn mint_id(&self) -> MintId {
        mint_id(self.mint.mint.url(), self.examined.unit)
    }
}

impl Ecash {
    pub(crate) fn new(ledger: Ledger, keyring: &Keyring, clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: seed(keyring).map(|seed| seed.branch(Branch::Change)),
            income: seed(keyring).map(|seed| seed.branch(Branch::Income)),
            withdrawing: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            dead: Mutex::new(LruCache::new(DEAD_COINS)),
            balances: Mutex::new(LruCache::new(BALANCES)),
            leavers: Mutex::new(LruCache::new(LEAVERS)),
            waiting: Arc::default(),
            ledger,
            clock,
        }
    }

    /// Looks at a token that a request brought. It is not touched.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) async fn examine(
        &self,
        brought: EcashText,
        ask: &Ask<'_>,
    ) -> Result<Arc<Coins>, EcashError> {
        let EcashText { text, header } = brought;
        let holder = ask.holder;
        let digest = Sha256::digest(text.reveal().as_bytes()).into();
        if header == EcashHeader::Credential
            && let Some(balance) = self.balances().get(&digest)
        {
            return Ok(Arc::clone(balance));
        }
        let token = read(text, holder).await?;
        let mint = ask.rules.mints.find(&token.mint);
        let mint = mint.ok_or_else(|| EcashError::Mint(token.mint.clone()))?;
        let examined = mint.mint.examine(token, holder, ask.received_at).await?;
        let account = AccountId::from_bytes(examined.digest(mint.mint.url()));
        if self.is_dead(&examined.names) {
            return Err(EcashError::Spent);
        }
        let worth = examined.worth().ok_or(EcashError::TooMuch)?;
        let brought = Brought {
            mint: mint.clone(),
            examined,
            text: digest,
        };
        Ok(Arc::new(Coins {
            account,
            header,
            worth,
            are: Are::Brought(Box::new(brought)),
        }))
    }

    /// Remembers a balance that was sold, so that neither mint nor ledger is asked what it is.
    fn remember(&self, coins: &Coins, sold: Funding) {
        let Are::Brought(brought) = &coins.are else {
            return;
        };
        if coins.is_balance() {
            let balance = Coins {
                account: coins.account,
                header: coins.header,
                worth: coins.worth,
                are: Are::Ours(Box::new(Funding {
                    claims: ClaimPolicy::ClaimedOnly,
                    ..sold
                })),
            };
            self.balances().put(brought.text, Arc::new(balance));
        }
    }

    fn balances(&self) -> MutexGuard<'_, LruCache<[u8; 32], Arc<Coins>>> {
        self.balances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dead(&self, names: &[Y]) -> bool {
        let mut dead = self.dead();
        names.iter().any(|name| dead.get(name).is_some())
    }

    fn dead(&self) -> MutexGuard<'_, LruCache<Y, ()>> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn excuses(&self, holder: Holder) -> Arc<Excuses> {
        let mut leavers = self.leavers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(leavers.get_or_insert(holder, Arc::default))
    }
}

async fn read(text: Secret<Box<str>>, holder: Holder) -> Result<Token, EcashError> {
    let read = aside(Some(holder), move || Token::parse(text.reveal())).await;
    let token: Result<Token, TokenError> = read.map_err(|_| EcashError::Busy)?;
    Ok(token?)
}

/// What the secrets of all coins are derived from: the same over rotations of the keyring.
fn seed(keyring: &Keyring) -> Option<Seed> {
    let mut bytes = [0; 64];
    for (half, data) in bytes.chunks_mut(32).zip([b"first", b"other"]) {
        let derived = keyring.derive_lasting(Purpose::EcashSeed, data)?;
        half.copy_from_slice(derived.reveal());
    }
    Some(Seed::new(bytes))
}
