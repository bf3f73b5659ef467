//! Which secrets are none: those that everybody has read somewhere, and those that look made up.
//!
//! Secrets copied from a README or typed in by hand have let strangers forge tokens elsewhere.
//! Each rule refuses fewer than one in 2^40 of all random secrets.

use sha2::{Digest, Sha256};

/// A random secret of 32 bytes has about 30 distinct ones.
const MIN_DISTINCT_BYTES: usize = 16;

/// Words that people take for a secret where one is asked for; their SHA-256 is refused.
const WORDS: [&str; 22] = [
    "",
    "secret",
    "changeme",
    "change-me",
    "change_me",
    "password",
    "admin",
    "test",
    "demo",
    "dev",
    "default",
    "example",
    "farebox",
    "l402",
    "lsat",
    "macaroon",
    "root",
    "rootkey",
    "root-key",
    "satoshi",
    "bitcoin",
    "lightning",
];

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Too few different bytes, as in `0000…`.
    #[error("the secret repeats itself; take 32 random bytes")]
    Repeats,
    /// Bytes that rise or fall by the same step, as in `000102…`.
    #[error("the secret is a plain sequence; take 32 random bytes")]
    Sequence,
    /// Text instead of random bytes.
    #[error("the secret is text; take 32 random bytes")]
    Text,
    /// The hash of a word that many would try.
    #[error("the secret is the hash of a common word; take 32 random bytes")]
    KnownWord,
}

pub(super) fn check(secret: &[u8; 32]) -> Result<(), WeakSecret> {
    if is_sequence(secret) {
        return Err(WeakSecret::Sequence);
    }
    if distinct(secret) < MIN_DISTINCT_BYTES {
        return Err(WeakSecret::Repeats);
    }
    if secret
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        return Err(WeakSecret::Text);
    }
    if WORDS
        .iter()
        .any(|word| Sha256::digest(word)[..] == secret[..])
    {
        return Err(WeakSecret::KnownWord);
    }
    Ok(())
}

/// Whether most steps from one byte to the next are the same, but for none at all.
fn is_sequence(secret: &[u8; 32]) -> bool {
    let step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    let mut counts = [0_u8; 256];
    secret
        .windows(2)
        .for_each(|pair| counts[usize::from(step(pair))] += 1);
    counts.iter().skip(1).any(|&count| count >= 16)
}

fn distinct(secret: &[u8; 32]) -> usize {
    let mut seen = [false; 256];
    secret
        .iter()
        .for_each(|&byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|&&seen| seen).count()
}
