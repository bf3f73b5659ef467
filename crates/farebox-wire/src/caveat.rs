//! Our caveat words: what a token says was sold, and what its holder may take away again.
//!
//! The gateway's own block comes first, complete and in one order, so that nobody can slip a word
//! into it. Whatever follows was appended by a holder: each word may only narrow what stood before
//! it, and a word that we do not know, or could not enforce, refuses the token. The signature is
//! the caller's to check first.

mod capabilities;
mod holder;
mod terms;
#[cfg(test)]
mod tests;

use farebox_core::{Allowance, MethodClass, Preimage, RequestDigest, Terms};

use crate::macaroon::MAX_CAVEATS;

pub use capabilities::{BadCapabilities, Capabilities, MAX_CAPABILITIES, MAX_CAPABILITY_LENGTH};
pub(crate) use terms::block_length;
pub use terms::{print_block, print_terms};

/// The longest caveat that is read, in bytes.
pub const MAX_CAVEAT_LENGTH: usize = 512;

/// What a token grants: the terms as sold and what its holders left of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The terms exactly as the gateway issued them.
    pub terms: Terms,
    /// The capabilities that were sold with them; all that there are when absent.
    pub capabilities: Option<Capabilities>,
    /// The conjunction of everything appended later.
    pub holder: HolderLimits,
    /// The proof of payment that some clients carry as a caveat; it restricts nothing.
    pub preimage: Option<Preimage>,
}

/// How far holders have narrowed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderLimits {
    /// Caps on all that the account spends; absent where no holder set one.
    pub allowance: Allowance,
    /// The methods that are left: those of the terms or fewer.
    pub methods: MethodClass,
    /// The only request that is left, whether the terms or a holder says so.
    pub request: Option<RequestDigest>,
    /// The capabilities that are left: those that were sold or fewer.
    pub capabilities: Option<Capabilities>,
}

/// Why caveats grant nothing. Never repeats the holder's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaveatError {
    /// More than [`MAX_CAVEATS`] caveats.
    #[error("the token has more than {MAX_CAVEATS} caveats")]
    TooMany,
    /// A caveat above [`MAX_CAVEAT_LENGTH`].
    #[error("the token has a caveat longer than {MAX_CAVEAT_LENGTH} bytes")]
    TooLong,
    /// A caveat that is not `word=value` in UTF-8.
    #[error("the token has a caveat that is not of the form word=value")]
    NotACondition,
    /// The gateway's own block lacks a word, or has it elsewhere.
    #[error("the token's own terms lack {word}")]
    Missing {
        /// The word that should have stood there.
        word: &'static str,
    },
    /// A known word with a value that it cannot have.
    #[error("the token has a {word} caveat that cannot be read")]
    Malformed {
        /// The word.
        word: &'static str,
    },
    /// A word that is not ours: it may be meant as a restriction that we would not enforce.
    #[error("the token has a caveat that this gateway does not know, so it cannot honour it")]
    Unknown,
    /// A holder's caveat that allows more than what stood before it.
    #[error("the token has a later {word} caveat that allows more than an earlier one")]
    Widened {
        /// The word.
        word: &'static str,
    },
    /// A holder's caveat that narrows what cannot be narrowed for this kind of token.
    #[error("the {word} of this token cannot be narrowed; valid_until can")]
    Fixed {
        /// The word.
        word: &'static str,
    },
    /// Two proofs of payment that are not the same.
    #[error("the token carries different preimages")]
    DifferentPreimages,
}

/// Reads the gateway's leading block and everything appended to it.
///
/// # Errors
/// [`CaveatError`] unless every caveat is understood and narrows; see the module's introduction.
pub fn read_caveats<C: AsRef<[u8]>>(
    caveats: impl IntoIterator<Item = C>,
) -> Result<Granted, CaveatError> {
    let mut caveats = caveats.into_iter().enumerate().map(bounded).peekable();
    let (terms, capabilities) = terms::read_block(&mut caveats)?;
    let mut narrowing = holder::Narrowing::of(&terms, capabilities.as_ref());
    for caveat in caveats {
        let caveat = caveat?;
        let (word, value) = split(caveat.as_ref())?;
        narrowing.apply(word, value)?;
    }
    let (holder, preimage) = narrowing.finish();
    Ok(Granted {
        terms,
        capabilities,
        holder,
        preimage,
    })
}

/// The one preimage that a token carries in its caveats, whoever issued it.
pub(crate) fn carried_preimage<'a>(
    caveats: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Preimage>, CaveatError> {
    let mut carried = None;
    for value in caveats.filter_map(|caveat| caveat.strip_prefix(b"preimage=")) {
        holder::same_preimage(&mut carried, value)?;
    }
    Ok(carried)
}

fn bounded<C: AsRef<[u8]>>((index, caveat): (usize, C)) -> Result<C, CaveatError> {
    if index >= MAX_CAVEATS {
        return Err(CaveatError::TooMany);
    }
    if caveat.as_ref().len() > MAX_CAVEAT_LENGTH {
        return Err(CaveatError::TooLong);
    }
    Ok(caveat)
}

fn split(caveat: &[u8]) -> Result<(&str, &str), CaveatError> {
    let text = std::str::from_utf8(caveat).map_err(|_| CaveatError::NotACondition)?;
    text.split_once('=').ok_or(CaveatError::NotACondition)
}

/// Digits without sign, leading zero or anything else, so that each number has one spelling.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok()).flatten()
}

fn count(text: &str) -> Option<u32> {
    number(text).and_then(|number| u32::try_from(number).ok())
}

fn request(text: &str) -> Option<RequestDigest> {
    RequestDigest::from_hex(text).ok()
}
