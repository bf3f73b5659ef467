//! Ecash that pays for requests: coins are examined, swapped at their mint, and what is not used goes back
//! in coins.
//!
//! Everything that can be refused is refused before the swap, while the token is still its holder's.
//! A swap is in the ledger before its mint is called. After it only the ledger can refuse, and the
//! credit stays where its holder can fetch it.

mod change;
mod recover;
mod redeem;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farebox_core::{AccountId, Clock, MintId, Msat, Secret};
use farebox_ecash::{Branch, BranchSeed, Examined, Seed, Token, TokenError, Y};
use farebox_http::aside::aside;
use farebox_http::body_budget::Holder;
use farebox_http::limits::Places;
use farebox_ledger::{Excuses, Ledger};
use lru::LruCache;

use crate::ask::Ask;
use crate::error::EcashError;
use crate::keyring::{Keyring, Purpose};
use crate::mints::{TrustedMint, mint_id};

pub use change::{ChangeDue, PickUp};
pub use recover::sweep;
pub(crate) use redeem::Needs;
pub use redeem::SWAPPED;

/// How many coins that were spent elsewhere are remembered, so that nobody makes a mint say so again.
const DEAD_COINS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
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

/// A header that brings a token for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcashHeader {
    /// `X-Cashu` (NUT-24).
    Cashu,
    /// `X-PAYMENT-SATS`, of the ecash-402 gateway.
    PaymentSats,
}

/// Coins that pay for one request, as far as they are known before they are swapped.
pub struct Coins {
    pub(crate) mint: TrustedMint,
    pub(crate) examined: Examined,
    /// The account that the exact set of them is.
    pub(crate) account: AccountId,
    pub(crate) header: EcashHeader,
}

/// What redeems coins and gives change, for all data threads.
pub struct Ecash {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    /// What the secrets of coins that swaps make are derived from. None where there are no signing keys.
    seed: Option<BranchSeed>,
    /// Accounts whose coins are being swapped by this process, and what that brings.
    running: Mutex<HashMap<AccountId, (MintId, Msat)>>,
    /// Coins that were spent elsewhere.
    dead: Mutex<LruCache<Y, ()>>,
    /// How often the clients of an address prefix were excused: the next token is a new account.
    leavers: Mutex<LruCache<Holder, Arc<Excuses>>>,
    /// Swaps that wait for a mint.
    waiting: Arc<Places>,
}

impl EcashHeader {
    /// The header that brings it.
    #[must_use]
    pub const fn brings(self) -> &'static str {
        match self {
            Self::Cashu => "x-cashu",
            Self::PaymentSats => "x-payment-sats",
        }
    }

    /// The header in which change is told.
    #[must_use]
    pub const fn change(self) -> &'static str {
        match self {
            Self::Cashu => "x-cashu",
            Self::PaymentSats => "x-change-sats",
        }
    }
}

impl Coins {
    /// The account that they credit.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// What their swap brings, as far as there is so much money.
    pub(crate) fn worth(&self) -> Msat {
        self.examined.worth().unwrap_or(Msat::MAX)
    }

    /// What the ledger calls the unit of their mint.
    pub(crate) fn mint_id(&self) -> MintId {
        mint_id(self.mint.mint.url(), self.examined.unit)
    }
}

impl Ecash {
    pub(crate) fn new(ledger: Ledger, keyring: &Keyring, clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: seed(keyring).map(|seed| seed.branch(Branch::Change)),
            running: Mutex::default(),
            dead: Mutex::new(LruCache::new(DEAD_COINS)),
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
        let token = read(text, holder).await?;
        let mint = ask.rules.mints.find(&token.mint);
        let mint = mint.ok_or_else(|| EcashError::Mint(token.mint.clone()))?;
        let examined = mint.mint.examine(token, holder, ask.received_at).await?;
        let account = AccountId::from_bytes(examined.digest(mint.mint.url()));
        if self.is_dead(&examined.names) {
            return Err(EcashError::Spent);
        }
        Ok(Arc::new(Coins {
            mint: mint.clone(),
            examined,
            account,
            header,
        }))
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
