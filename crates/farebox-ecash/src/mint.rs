//! A mint whose coins we take: what it lists, its keys, and what became of a swap.

mod examine;
mod outcome;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farebox_http::client::{CallError, EndpointError, EndpointOptions, Trust, TrustedClient};
use http::Uri;
use tokio::time::Instant;

use crate::client::{CALL_TIMEOUT, MintClient};
use crate::fault::MintFault;
use crate::keyset::{KeysetError, KeysetId, KeysetKeys, Keysets, fee_on_top};
use crate::proof::Y;
use crate::swap::Swap;
use crate::wire::{CoinState, MintInfo};
use crate::{MintUrl, Unit};

pub use examine::{Examined, TokenRefusal, digest};
pub use outcome::{Attempt, Open, Outcome};

/// How many calls to one mint may be under way.
const MAX_CALLS: usize = 64;
/// How old a list of keysets may be.
const KEYSETS_KEPT: Duration = Duration::from_secs(60 * 60);
/// How often a list is asked for, at most, whoever wants it: a token may name what no list has.
const KEYSETS_APART: Duration = Duration::from_secs(5);

/// How a mint is reached, and which of its coins are taken.
pub struct MintOptions {
    /// Where it is.
    pub url: MintUrl,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// Lets `http://` leave this machine.
    pub allow_plain_http: bool,
    /// The units whose coins are taken, the preferred one first.
    pub units: Vec<Unit>,
}

/// A mint whose coins we take.
pub struct Mint {
    url: MintUrl,
    units: Vec<Unit>,
    client: MintClient,
    listed: Mutex<Option<Listed>>,
    /// One list is asked for at a time; the others wait for it.
    listing: tokio::sync::Mutex<()>,
    /// Keys that were checked. A keyset's never change.
    keys: Mutex<BTreeMap<KeysetId, Arc<KeysetKeys>>>,
}

#[derive(Clone)]
struct Listed {
    keysets: Arc<Keysets>,
    at: Instant,
}

/// Why a mint's keys are not at hand.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeysFault {
    /// It could not be asked.
    #[error(transparent)]
    Mint(#[from] MintFault),
    /// What it shows cannot be used.
    #[error(transparent)]
    Keyset(#[from] KeysetError),
}

impl Mint {
    /// A mint that has not been called yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(options: MintOptions) -> Result<Self, EndpointError> {
        let base: Uri = options
            .url
            .as_str()
            .parse()
            .map_err(|_| EndpointError::NoHost)?;
        let client = TrustedClient::new(EndpointOptions {
            base,
            trust: options.trust,
            headers: Vec::new(),
            call_timeout: CALL_TIMEOUT,
            max_in_flight: MAX_CALLS,
            allow_plain_http: options.allow_plain_http,
        })?;
        Ok(Self {
            url: options.url,
            units: options.units,
            client: MintClient(client),
            listed: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            keys: Mutex::default(),
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn url(&self) -> &MintUrl {
        &self.url
    }

    /// The units whose coins are taken, the preferred one first.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// How it calls itself and what it can.
    ///
    /// # Errors
    /// [`MintFault`].
    pub async fn info(&self) -> Result<MintInfo, MintFault> {
        self.client.info().await
    }

    /// Its keysets, from a list that is at most an hour old.
    ///
    /// # Errors
    /// [`MintFault`].
    pub async fn keysets(&self) -> Result<Arc<Keysets>, MintFault> {
        self.list(KEYSETS_KEPT).await
    }

    /// What it takes for swapping a token that brings `amount`, made of as few coins of its active keyset as
    /// can be; none as long as its keysets are not known.
    #[must_use]
    pub fn fee_on_top(&self, unit: Unit, amount: u64) -> Option<u64> {
        let keysets = self.known(Duration::MAX)?;
        let active = keysets.active(unit).ok()?;
        Some(fee_on_top(amount, active.fee_ppk))
    }

    /// Its keysets, from a list that is a few seconds old: where one is missing.
    ///
    /// # Errors
    /// [`MintFault`].
    pub async fn fresh_keysets(&self) -> Result<Arc<Keysets>, MintFault> {
        self.list(KEYSETS_APART).await
    }

    /// Its keysets, from a new list: after it refused one that the last list has.
    ///
    /// # Errors
    /// [`MintFault`].
    pub async fn list_anew(&self) -> Result<Arc<Keysets>, MintFault> {
        self.list(Duration::ZERO).await
    }

    /// Whether it signs no more with the keyset that a swap asks for, by a list that is a few seconds old.
    pub async fn has_retired(&self, swap: &Swap) -> bool {
        let keysets = self.fresh_keysets().await;
        let asked = |keysets: &Keysets| swap.keyset().and_then(|id| keysets.get(&id).cloned());
        keysets.is_ok_and(|keysets| !asked(&keysets).is_some_and(|keyset| keyset.is_active))
    }

    async fn list(&self, kept: Duration) -> Result<Arc<Keysets>, MintFault> {
        if let Some(keysets) = self.known(kept) {
            return Ok(keysets);
        }
        let _one = self.listing.lock().await;
        if let Some(keysets) = self.known(kept) {
            return Ok(keysets);
        }
        let keysets = Arc::new(self.client.keysets().await?);
        let listed = Listed {
            keysets: Arc::clone(&keysets),
            at: Instant::now(),
        };
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        Ok(keysets)
    }

    fn known(&self, kept: Duration) -> Option<Arc<Keysets>> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref()?;
        (listed.at.elapsed() < kept).then(|| Arc::clone(&listed.keysets))
    }

    /// The keys of a keyset that it lists or listed.
    ///
    /// # Errors
    /// [`KeysFault`]: it could not be asked, or shows keys of which the id is not made.
    pub async fn keys(&self, id: KeysetId) -> Result<Arc<KeysetKeys>, KeysFault> {
        let known = |mint: &Self| {
            let keys = mint.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.get(&id).cloned()
        };
        if let Some(keys) = known(self) {
            return Ok(keys);
        }
        let keysets = self.keysets().await?;
        let info = keysets.get(&id);
        let info = info.ok_or_else(|| KeysetError::Unknown(id.to_string()))?;
        let checked = KeysetKeys::checked(info, self.client.keys(id).await?)?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(
            keys.entry(id).or_insert_with(|| Arc::new(checked)),
        ))
    }

    /// What it says of coins. What it does not say is not known.
    ///
    /// # Errors
    /// [`MintFault`].
    pub async fn states(&self, ys: &[Y]) -> Result<BTreeMap<Y, CoinState>, MintFault> {
        self.client.states(ys).await
    }
}

/// Work on the curve that found no place to be done: nothing is known of what it was about.
pub(crate) const fn no_place() -> MintFault {
    MintFault::NotSent(CallError::Busy { limit: MAX_CALLS })
}
