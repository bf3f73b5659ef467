//! The server's secrets, from which the root key of every token is derived.
//!
//! They live in one small file, made at the first start and readable by its owner only. Each
//! secret has an epoch, which its tokens name; the newest one signs. A rotation adds an epoch and
//! keeps the older ones valid, so no sold token is lost. An emergency rotation, for a secret that
//! may have leaked, leaves of the older epochs only the tokens that the ledger already knows:
//! whoever has the secret could forge all others.
//!
//! A rotation writes the file, and a reload reads it, so that one process can rotate while another
//! serves; both take effect at once for every request that looks a key up afterwards. No secret is
//! ever in an error or in `Debug`.

mod file;
mod strength;

pub use file::{FORMAT_VERSION, MAX_EPOCHS};
pub use strength::WeakSecret;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use farebox_core::{KeyEpoch, Secret, UnixMillis};
use farebox_ledger::ClaimPolicy;
use farebox_wire::macaroon::RootKey;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The epoch of a secret that came from the configuration; our own start at the one after.
pub const IMPORTED_EPOCH: KeyEpoch = KeyEpoch(0);

/// All secrets that tokens may be signed with, the newest last.
pub struct Keyring {
    epochs: ArcSwap<Vec<Epoch>>,
    path: Option<PathBuf>,
}

#[derive(Clone)]
struct Epoch {
    epoch: KeyEpoch,
    secret: Secret<[u8; 32]>,
    claims: ClaimPolicy,
    created_at: UnixMillis,
}

/// A server secret written down by somebody: 64 hex digits, from the environment or a file.
///
/// It is only ever an import: with it, a keyring file is made whose epoch 0 it is, or that epoch is
/// added to an existing file as an old one. From then on the file rules, rotations included, and
/// the setting may be removed. Without a place for a file, [`Keyring::in_memory`] takes it as it
/// is.
#[derive(Clone, Debug)]
pub struct ImportedSecret(Secret<[u8; 32]>);

/// What a secret is derived for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The preimage of an invoice whose payment is held while its call runs.
    HeldPreimage,
    /// What brings a client back to the challenge that was made for it.
    Claim,
    /// What an upstream is told in the place of an account's idempotency keys.
    RetryWords,
    /// What the secrets of the coins that mints sign for us are derived from.
    EcashSeed,
}

impl Purpose {
    /// Ends in a line break, as the label of root keys does, so that none begins another.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::HeldPreimage => b"farebox held preimage v1\n",
            Self::Claim => b"farebox claim v1\n",
            Self::RetryWords => b"farebox retry words v1\n",
            Self::EcashSeed => b"farebox ecash seed v1\n",
        }
    }
}

/// What a rotation does with the tokens of older epochs that nobody has used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// They stay good.
    Routine,
    /// They are void: an older secret may be known to somebody.
    Emergency,
}

/// Why text is no server secret to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not 64 hex digits.
    #[error("a server secret is 64 hex digits, such as `openssl rand -hex 32` prints")]
    NotHex,
    /// Somebody else would guess it.
    #[error(transparent)]
    Weak(#[from] WeakSecret),
}

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file, its folder or its lock could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// The file is not as it has to be.
    #[error("{} {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyringFault,
    },
    /// There is no file to rotate.
    #[error("the server secret is kept in memory only, so it cannot be rotated")]
    InMemory,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// What is wrong with the file of a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringFault {
    /// Others than its owner may read the file, or it may be executed.
    #[error(
        "has mode {mode:04o}, but a file of secrets must be 0600: run `chmod 600` on it, and rotate \
         the keys if others may have read it"
    )]
    LoosePermissions {
        /// Its mode.
        mode: u32,
    },
    /// It is a folder or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// It was there when the process started, and is not any more.
    #[error("is gone")]
    Vanished,
    /// It is larger than any keyring.
    #[error("is too large for a keyring")]
    TooLarge,
    /// It is not written as a keyring is. The text is no part of the error.
    #[error("is not a keyring: line {line}, column {column}")]
    Malformed {
        /// The line, from one.
        line: usize,
        /// The column, from one.
        column: usize,
    },
    /// A later Farebox wrote it.
    #[error("is a keyring of format {found}; this Farebox reads format {FORMAT_VERSION}")]
    Version {
        /// Its format.
        found: u32,
    },
    /// Its epochs are not in order, or there are none or too many.
    #[error("needs 1 to {MAX_EPOCHS} epochs in rising order")]
    Epochs,
    /// One of its secrets is no secret.
    #[error("is no keyring: epoch {}: {fault}", epoch.0)]
    BadSecret {
        /// Which epoch.
        epoch: KeyEpoch,
        /// What is wrong.
        fault: ImportError,
    },
    /// Another secret was imported before.
    #[error("already has another imported secret; remove the setting or the file")]
    ImportConflict,
    /// The file no longer has what the process signs with; a reload must not void sold tokens.
    #[error("has lost or changed epoch {}, whose tokens were sold; restart to accept that", epoch.0)]
    EpochLost {
        /// Which epoch.
        epoch: KeyEpoch,
    },
}

impl KeyringFault {
    fn of(self, path: &Path) -> KeyringError {
        KeyringError::File {
            path: path.to_owned(),
            fault: self,
        }
    }
}

impl ImportedSecret {
    /// Parses 64 hex digits, either case; white space around them is ignored, as files end in a
    /// line break.
    ///
    /// # Errors
    /// [`ImportError`] for anything else, and for secrets that are known or look made up.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| ImportError::NotHex)?;
        strength::check(&bytes)?;
        Ok(Self(Secret::new(bytes)))
    }
}

impl Keyring {
    /// Opens the keyring at `path`; makes it where there is none, with `imported` as its first
    /// secret or else a random one.
    ///
    /// Making and changing the file is atomic and holds a lock beside it: of two processes that
    /// start at once both get the same secrets. A process killed in between leaves the old file or
    /// the new one.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing is written then.
    pub fn open(
        path: &Path,
        imported: Option<&ImportedSecret>,
        now: UnixMillis,
    ) -> Result<Self, KeyringError> {
        match file::read(path)? {
            Some(epochs) if imported.is_none_or(|secret| has_imported(&epochs, secret)) => {
                Ok(Self::at(path, epochs))
            }
            _ => {
                let epochs = file::update(path, |found| import(path, found, imported, now))?;
                Ok(Self::at(path, epochs))
            }
        }
    }

    /// The keyring at `path`; none where there is no file.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn find(path: &Path) -> Result<Option<Self>, KeyringError> {
        Ok(file::read(path)?.map(|epochs| Self::at(path, epochs)))
    }

    /// Adds a random secret to the file, or makes it, with an epoch after all others and after `beyond`,
    /// under which something was sold that is given up.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing is written then.
    pub fn renew(path: &Path, beyond: KeyEpoch, now: UnixMillis) -> Result<Self, KeyringError> {
        let epochs = file::update(path, |found| {
            let mut epochs = found.unwrap_or_default();
            let newest = epochs.last().map_or(beyond, |newest| newest.epoch);
            epochs.push(Epoch::after(newest.max(beyond), path, now)?);
            Ok(epochs)
        })?;
        Ok(Self::at(path, epochs))
    }

    /// Whether this can be the keyring of a store in which the newest tokens that were claimed are of
    /// `epoch`, the last of them claimed at `claimed_at`. It has that epoch, made before then; or a later
    /// one, which a rotation made or whoever gave the tokens up.
    #[must_use]
    pub fn belongs_to(&self, (epoch, claimed_at): (KeyEpoch, UnixMillis)) -> bool {
        let epochs = self.epochs.load();
        let is_older = |own: &Epoch| own.epoch == IMPORTED_EPOCH || own.created_at <= claimed_at;
        self.signing_epoch() > epoch || find(&epochs, epoch).is_some_and(is_older)
    }

    /// A keyring without a file: it cannot be rotated, and it is for the owner of the setting to
    /// keep.
    #[must_use]
    pub fn in_memory(imported: &ImportedSecret, now: UnixMillis) -> Self {
        Self {
            epochs: ArcSwap::from_pointee(vec![imported.epoch(now)]),
            path: None,
        }
    }

    /// Adds a new random epoch to the file, signs with it from now on, and gives it. Another process
    /// has to reload to do the same. Running it again adds one more.
    ///
    /// # Errors
    /// [`KeyringError`]; file and keyring are unchanged then.
    pub fn rotate(&self, rotation: Rotation, now: UnixMillis) -> Result<KeyEpoch, KeyringError> {
        let path = self.path.as_deref().ok_or(KeyringError::InMemory)?;
        let epochs = file::update(path, |found| {
            let mut epochs = found.ok_or_else(|| KeyringFault::Vanished.of(path))?;
            if rotation == Rotation::Emergency {
                epochs
                    .iter_mut()
                    .for_each(|epoch| epoch.claims = ClaimPolicy::ClaimedOnly);
            }
            let newest = epochs.last().map_or(IMPORTED_EPOCH, |newest| newest.epoch);
            epochs.push(Epoch::after(newest, path, now)?);
            Ok(epochs)
        })?;
        self.epochs.store(Arc::new(epochs));
        Ok(self.signing_epoch())
    }

    /// Reads the file again. A keyring in memory stays as it is.
    ///
    /// # Errors
    /// [`KeyringError`], also where the file lacks an epoch that this keyring has, as a reload must
    /// not void what was sold. The keyring is unchanged then.
    pub fn reload(&self) -> Result<(), KeyringError> {
        let Some(path) = self.path.as_deref() else {
            return Ok(());
        };
        let epochs = file::read(path)?.unwrap_or_default();
        let kept = |old: &&Epoch| {
            epochs
                .iter()
                .any(|new| new.epoch == old.epoch && new.secret == old.secret)
        };
        if let Some(lost) = self.epochs.load().iter().find(|old| !kept(old)) {
            let epoch = lost.epoch;
            return Err(KeyringFault::EpochLost { epoch }.of(path));
        }
        self.epochs.store(Arc::new(epochs));
        Ok(())
    }

    /// The epoch that signs new tokens.
    #[must_use]
    pub fn signing_epoch(&self) -> KeyEpoch {
        self.epochs
            .load()
            .last()
            .map_or(IMPORTED_EPOCH, |newest| newest.epoch)
    }

    /// The root key of the token with this identifier, and whether it may still be claimed; `None`
    /// for an epoch that we never had.
    #[must_use]
    pub fn root_key(&self, epoch: KeyEpoch, identifier: &[u8]) -> Option<(RootKey, ClaimPolicy)> {
        let epochs = self.epochs.load();
        let found = find(&epochs, epoch)?;
        Some((
            RootKey::derive(&found.secret, epoch, identifier),
            found.claims,
        ))
    }

    /// Another secret of `epoch`, for `purpose` and `data`: whoever knows it learns nothing about the
    /// server's secret or about any other derived from it. `None` for an epoch that we never had.
    #[must_use]
    pub fn derive(
        &self,
        epoch: KeyEpoch,
        purpose: Purpose,
        data: &[u8],
    ) -> Option<Secret<[u8; 32]>> {
        let epochs = self.epochs.load();
        let found = find(&epochs, epoch)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(found.secret.reveal())
            .expect("HMAC takes keys of any length");
        mac.update(purpose.label());
        mac.update(&epoch.0.to_be_bytes());
        mac.update(data);
        Some(Secret::new(mac.finalize().into_bytes().into()))
    }

    /// A secret that stays the same over rotations: it is derived from the oldest epoch.
    #[must_use]
    pub fn derive_lasting(&self, purpose: Purpose, data: &[u8]) -> Option<Secret<[u8; 32]>> {
        let oldest = self.epochs.load().first()?.epoch;
        self.derive(oldest, purpose, data)
    }

    /// Whether tokens of `epoch` may still be claimed for the first time; for an epoch that we
    /// never had, only what the ledger knows is good.
    #[must_use]
    pub fn claim_policy(&self, epoch: KeyEpoch) -> ClaimPolicy {
        find(&self.epochs.load(), epoch).map_or(ClaimPolicy::ClaimedOnly, |found| found.claims)
    }

    /// Every epoch, the newest last, with when it was made and whether its tokens may still be
    /// claimed: for `doctor` and the operator.
    #[must_use]
    pub fn epochs(&self) -> Vec<(KeyEpoch, UnixMillis, ClaimPolicy)> {
        let epochs = self.epochs.load();
        epochs
            .iter()
            .map(|epoch| (epoch.epoch, epoch.created_at, epoch.claims))
            .collect()
    }

    fn at(path: &Path, epochs: Vec<Epoch>) -> Self {
        Self {
            epochs: ArcSwap::from_pointee(epochs),
            path: Some(path.to_owned()),
        }
    }
}

impl ImportedSecret {
    fn epoch(&self, now: UnixMillis) -> Epoch {
        Epoch::new(IMPORTED_EPOCH, self.0.clone(), now)
    }
}

impl Epoch {
    const fn new(epoch: KeyEpoch, secret: Secret<[u8; 32]>, now: UnixMillis) -> Self {
        Self {
            epoch,
            secret,
            claims: ClaimPolicy::Open,
            created_at: now,
        }
    }

    fn after(last: KeyEpoch, path: &Path, now: UnixMillis) -> Result<Self, KeyringError> {
        let next = last.0.checked_add(1);
        let next = next.ok_or_else(|| KeyringFault::Epochs.of(path))?;
        Self::random(KeyEpoch(next), now)
    }

    fn random(epoch: KeyEpoch, now: UnixMillis) -> Result<Self, KeyringError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(KeyringError::Random)?;
        Ok(Self::new(epoch, Secret::new(secret), now))
    }
}

/// The newest is asked for nearly always, so it is looked at first.
fn find(epochs: &[Epoch], epoch: KeyEpoch) -> Option<&Epoch> {
    epochs.iter().rev().find(|known| known.epoch == epoch)
}

fn has_imported(epochs: &[Epoch], imported: &ImportedSecret) -> bool {
    epochs
        .iter()
        .any(|epoch| epoch.epoch == IMPORTED_EPOCH && epoch.secret == imported.0)
}

/// What the file should hold after an import, given what it holds.
fn import(
    path: &Path,
    found: Option<Vec<Epoch>>,
    imported: Option<&ImportedSecret>,
    now: UnixMillis,
) -> Result<Vec<Epoch>, KeyringError> {
    match (found, imported) {
        (None, None) => Ok(vec![Epoch::random(KeyEpoch(IMPORTED_EPOCH.0 + 1), now)?]),
        (None, Some(imported)) => Ok(vec![imported.epoch(now)]),
        (Some(epochs), Some(imported)) if !has_imported(&epochs, imported) => {
            if epochs.iter().any(|epoch| epoch.epoch == IMPORTED_EPOCH) {
                return Err(KeyringFault::ImportConflict.of(path));
            }
            Ok(std::iter::once(imported.epoch(now)).chain(epochs).collect())
        }
        (Some(epochs), _) => Ok(epochs),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Keyring");
        shown
            .field("path", &self.path)
            .field("signing_epoch", &self.signing_epoch());
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
