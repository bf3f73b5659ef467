//! What is known of a token before its mint is asked to swap it. Whatever can be refused is refused here,
//! while the token is still its holder's.

use std::sync::Arc;

use farebox_core::{Msat, UnixMillis};
use farebox_http::aside::aside;
use farebox_http::body_budget::Holder;
use sha2::{Digest, Sha256};

use super::{KeysFault, Mint};
use crate::fault::MintFault;
use crate::keyset::{KeysetError, KeysetKeys, Resolved};
use crate::proof::{Proof, Y};
use crate::token::{Lock, Token, TokenError, TokenProof};
use crate::{MintUrl, Unit};

/// How long before the end of a keyset its coins are no longer taken, in seconds: a swap has to come before.
const EXPIRY_MARGIN: u64 = 60 * 60;

/// A token as far as it can be known without a swap.
#[derive(Debug)]
pub struct Examined {
    /// The unit of its coins.
    pub unit: Unit,
    /// Its coins, with their whole keysets.
    pub proofs: Vec<Proof>,
    /// What names each coin, in their order.
    pub names: Vec<Y>,
    /// Their sum, in the unit.
    pub face: u64,
    /// What swapping them costs, in the unit: less than the face.
    pub fee: u64,
}

/// Why a token is not taken. It is still its holder's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// Its keysets cannot be found, or are not of its unit.
    #[error(transparent)]
    Keyset(#[from] KeysetError),
    /// Coins of its unit are not taken.
    #[error("tokens in {0} of this mint are not taken")]
    Unit(Unit),
    /// It is locked, and only the holder of a key could spend it.
    #[error("the token is locked to another key ({})", .0.kind)]
    Locked(Lock),
    /// A coin has an amount that its keyset has no key for.
    #[error("the keyset of a coin has no coins of {0}")]
    NoSuchCoin(u64),
    /// A coin shows a signature that its mint did not make.
    #[error("the mint did not sign a coin of the token")]
    Forged,
    /// Its keyset ends too soon.
    #[error("the keyset of a coin ends too soon: swap it at the mint first")]
    Expiring,
    /// Swapping it costs all it is worth.
    #[error("the token is worth {face} {unit}, and swapping it costs {fee}: send at least {} more", .fee - .face + 1)]
    Dust {
        /// What it is worth, in the unit.
        face: u64,
        /// What swapping it costs.
        fee: u64,
        /// The unit.
        unit: Unit,
    },
    /// Its sum is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The mint could not be asked about its keysets.
    #[error(transparent)]
    Mint(MintFault),
    /// There is no room to look at it now.
    #[error("too much work waits")]
    Busy,
}

impl From<KeysFault> for TokenRefusal {
    fn from(fault: KeysFault) -> Self {
        match fault {
            KeysFault::Mint(fault) => Self::Mint(fault),
            KeysFault::Keyset(fault) => Self::Keyset(fault),
        }
    }
}

impl Mint {
    /// Looks at a token of this mint without swapping it: its keysets, unit, locks, amounts and fee, and,
    /// where they are shown, its signatures. `client` is whose share of the work it is.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn examine(
        &self,
        token: Token,
        client: Holder,
        now: UnixMillis,
    ) -> Result<Examined, TokenRefusal> {
        if let Some(lock) = token.lock() {
            return Err(TokenRefusal::Locked(lock));
        }
        let face = token.face()?;
        let resolved = self.resolve(&token).await?;
        let unit = resolved.unit;
        if !self.units().contains(&unit) {
            return Err(TokenRefusal::Unit(unit));
        }
        let ends = resolved.final_expiry.unwrap_or(u64::MAX);
        if now.get() / 1000 + EXPIRY_MARGIN >= ends {
            return Err(TokenRefusal::Expiring);
        }
        let fee = resolved.fee;
        if fee >= face {
            return Err(TokenRefusal::Dust { face, fee, unit });
        }
        let keys = self.keys_of_token(&resolved).await?;
        let (proofs, names) = aside(Some(client), move || coins(token, &resolved, &keys))
            .await
            .map_err(|_| TokenRefusal::Busy)??;
        Ok(Examined {
            unit,
            proofs,
            names,
            face,
            fee,
        })
    }

    /// By the list of keysets that is known, or by a new one where that lacks what the token names.
    async fn resolve(&self, token: &Token) -> Result<Resolved, TokenRefusal> {
        let keysets = self.keysets().await.map_err(TokenRefusal::Mint)?;
        match keysets.resolve(token) {
            Err(KeysetError::Unknown(_)) => {
                let fresh = self.fresh_keysets().await.map_err(TokenRefusal::Mint)?;
                Ok(fresh.resolve(token)?)
            }
            resolved => Ok(resolved?),
        }
    }

    /// The keys of each keyset of a token.
    async fn keys_of_token(&self, resolved: &Resolved) -> Result<Vec<Arc<KeysetKeys>>, KeysFault> {
        let mut keys: Vec<Arc<KeysetKeys>> = Vec::new();
        for id in &resolved.keysets {
            if keys.iter().all(|known| known.id != *id) {
                keys.push(self.keys(*id).await?);
            }
        }
        Ok(keys)
    }
}

/// The coins of a token, each with a key for its amount and a signature that is not known to be wrong.
fn coins(
    token: Token,
    resolved: &Resolved,
    keys: &[Arc<KeysetKeys>],
) -> Result<(Vec<Proof>, Vec<Y>), TokenRefusal> {
    let names = token.proofs.iter().map(|proof| proof.y).collect();
    let coins = token.proofs.into_iter().zip(&resolved.keysets);
    let proofs: Result<Vec<_>, _> = coins
        .map(|(proof, keyset)| {
            let keys = keys.iter().find(|keys| keys.id == *keyset);
            let key = keys.and_then(|keys| keys.key(proof.amount));
            let key = key.ok_or(TokenRefusal::NoSuchCoin(proof.amount))?;
            let TokenProof {
                amount,
                secret,
                c,
                dleq,
                ..
            } = proof;
            let proof = Proof {
                keyset: *keyset,
                amount,
                secret,
                c,
                dleq,
            };
            if proof.is_forged(&key) {
                return Err(TokenRefusal::Forged);
            }
            Ok(proof)
        })
        .collect();
    Ok((proofs?, names))
}

impl Examined {
    /// What the swap brings, in the unit.
    #[must_use]
    pub const fn credit(&self) -> u64 {
        self.face - self.fee
    }

    /// The same in millisatoshis; none above all the money there is.
    #[must_use]
    pub fn worth(&self) -> Option<Msat> {
        self.unit.worth(self.credit())
    }

    /// What names the exact set of its coins, in whatever order and form they came.
    #[must_use]
    pub fn digest(&self, mint: &MintUrl) -> [u8; 32] {
        digest(mint, &self.names)
    }
}

/// What names an exact set of coins of a mint, in whatever order they came.
#[must_use]
pub fn digest(mint: &MintUrl, names: &[Y]) -> [u8; 32] {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(b"farebox/token\0");
    hasher.update(mint.as_str().as_bytes());
    hasher.update([0]);
    for name in sorted {
        hasher.update(name.as_bytes());
    }
    hasher.finalize().into()
}
