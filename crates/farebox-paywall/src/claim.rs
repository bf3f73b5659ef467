//! A way back to one's own challenge, for those who cannot show a preimage: people with browsers.
//!
//! A claim is the challenge's macaroon under a seal that only the client of that challenge was
//! given: in a cookie, or in a header for programs. It proves nothing about a payment; it lets its
//! holder ask, and once *our node* says that the invoice is settled, the claim counts as the token
//! does. Whoever knows the invoice, its payment hash or even the macaroon, but not the seal, learns
//! nothing here. Nothing is stored, and no preimage is ever given out.

use std::sync::Arc;
use std::time::Duration;

use crate::keyring::{Keyring, Purpose};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox_core::UnixMillis;
use farebox_ledger::ClaimPolicy;
use farebox_wire::caveat::read_caveats;
use farebox_wire::challenge::InvoiceText;
use farebox_wire::credential::{CredentialError, Malformed, VerifyError};
use farebox_wire::identifier::TokenIdentifier;
use farebox_wire::macaroon::Macaroon;
use subtle::ConstantTimeEq;

use crate::credential::Token;
use crate::error::PresentedError;

/// How long after the invoice's expiry a first use still starts the token's time: a payment may
/// arrive late, and a client may be away.
pub const CLAIM_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest claim that is read, in characters: browsers keep no longer cookie.
pub const MAX_LENGTH: usize = 3800;

/// The note of a claim whose holder has shown the preimage.
const PAID: &str = "paid";

/// A claim whose seal, signature and caveats hold.
pub struct Claim {
    /// The token's macaroon.
    pub macaroon: Macaroon,
    /// What else the seal covers.
    pub note: Note,
    /// What the macaroon says.
    pub token: Arc<Token>,
}

/// A claim that is not known to be paid.
pub struct OpenClaim {
    /// Which.
    pub claim: Claim,
    /// Whether the node will tell when it is.
    pub told: bool,
}

/// What the seal covers besides the token's identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing.
    Bare,
    /// The invoice, so that a page can show it again.
    Invoice(InvoiceText),
    /// That the preimage was shown: where the node cannot tell.
    Paid,
}

impl Note {
    fn as_str(&self) -> &str {
        match self {
            Self::Bare => "",
            Self::Invoice(invoice) => invoice.as_str(),
            Self::Paid => PAID,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Bare),
            PAID => Some(Self::Paid),
            invoice => InvoiceText::parse(invoice).ok().map(Self::Invoice),
        }
    }
}

/// Writes the claim of a macaroon: `<macaroon>.<note>.<seal>`, all in characters that need no
/// quotes anywhere. Nothing where the keyring has lost the macaroon's key.
pub fn write(keyring: &Keyring, macaroon: &Macaroon, note: &Note) -> Option<String> {
    let identifier = TokenIdentifier::parse(macaroon.identifier()).ok()?;
    let seal = seal(keyring, &identifier, note)?;
    let token = URL_SAFE_NO_PAD.encode(macaroon.to_bytes());
    Some(format!("{token}.{}.{}", note.as_str(), hex::encode(seal)))
}

fn seal(keyring: &Keyring, identifier: &TokenIdentifier, note: &Note) -> Option<[u8; 32]> {
    // The identifier has a fixed length, so the two never run into one another.
    let sealed = [&identifier.to_bytes(), note.as_str().as_bytes()].concat();
    let secret = keyring.derive(identifier.key_epoch(), Purpose::Claim, &sealed)?;
    Some(*secret.reveal())
}

impl Claim {
    /// Reads and verifies a claim. Pure: what it says about the payment is not known yet.
    pub fn read(text: &str, keyring: &Keyring) -> Result<Self, PresentedError> {
        let (token, note, seal) = split(text)?;
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| malformed())?;
        let macaroon = Macaroon::from_vec(bytes)
            .map_err(|error| CredentialError::from(Malformed::from(error)))?;
        let identifier = TokenIdentifier::parse(macaroon.identifier())
            .map_err(|error| CredentialError::from(Malformed::from(error)))?;
        // The seal is all that a claim has to show, where a token has its preimage: one under a key
        // that somebody else may have is worth nothing, whatever the ledger knows of its payment.
        if keyring.claim_policy(identifier.key_epoch()) == ClaimPolicy::ClaimedOnly {
            return Err(PresentedError::UnknownKey);
        }
        let expected = self::seal(keyring, &identifier, &note).ok_or(PresentedError::UnknownKey)?;
        if !bool::from(expected.ct_eq(&seal)) {
            return Err(VerifyError::WrongSignature.into());
        }
        let token = Arc::new(verify(&macaroon, &identifier, keyring)?);
        Ok(Self {
            macaroon,
            note,
            token,
        })
    }

    /// When its invoice can no longer be paid.
    pub fn expires_at(&self) -> UnixMillis {
        let grace = u64::try_from(CLAIM_GRACE.as_millis()).unwrap_or(u64::MAX);
        let claim_by = self.token.granted.terms.claim_by.get();
        UnixMillis::new(claim_by.saturating_sub(grace))
    }

    /// The invoice, if the claim carries it.
    pub const fn invoice(&self) -> Option<&InvoiceText> {
        match &self.note {
            Note::Invoice(invoice) => Some(invoice),
            Note::Bare | Note::Paid => None,
        }
    }
}

fn split(text: &str) -> Result<(&str, Note, [u8; 32]), PresentedError> {
    if text.len() > MAX_LENGTH {
        return Err(CredentialError::TooLong { limit: MAX_LENGTH }.into());
    }
    let mut parts = text.split('.');
    let (Some(token), Some(note), Some(digits), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let mut seal = [0; 32];
    hex::decode_to_slice(digits, &mut seal).map_err(|_| malformed())?;
    Ok((token, Note::parse(note).ok_or_else(malformed)?, seal))
}

fn verify(
    macaroon: &Macaroon,
    identifier: &TokenIdentifier,
    keyring: &Keyring,
) -> Result<Token, PresentedError> {
    let key_epoch = identifier.key_epoch();
    let (root_key, _) = keyring
        .root_key(key_epoch, &identifier.to_bytes())
        .ok_or(PresentedError::UnknownKey)?;
    if !macaroon.verify(&root_key) {
        return Err(VerifyError::WrongSignature.into());
    }
    let granted = read_caveats(macaroon.caveats()).map_err(VerifyError::from)?;
    Ok(Token {
        payment_hash: identifier.payment_hash,
        key_epoch,
        granted,
    })
}

fn malformed() -> PresentedError {
    CredentialError::from(Malformed::Form).into()
}

#[cfg(test)]
mod tests;
