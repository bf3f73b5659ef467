//! What a client presents. All payment headers of a request are read once, here; anything doubtful
//! is an error and never "nothing presented", so no later step has to look at a header again.
//!
//! Reading is not believing: [`L402Credential::verify`] checks the proof, the signature and the
//! caveats, and only the ledger knows whether there is anything left to spend.

mod l402;
#[cfg(test)]
mod tests;

use farebox_core::{Preimage, Terms};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::caveat::{CaveatError, Granted, block_length, read_caveats};
use crate::identifier::{IdentifierError, TokenIdentifier};
use crate::macaroon::{self, Macaroon, MacaroonError, RootKey};

pub use crate::base64_text::BadBase64;

/// The longest `Authorization` value of a payment scheme that is read, in characters.
pub const MAX_AUTHORIZATION_LENGTH: usize = macaroon::MAX_BASE64_LENGTH;
/// The longest hex macaroon in gRPC metadata that is read, in characters.
pub const MAX_METADATA_LENGTH: usize = 2 * macaroon::MAX_LENGTH;

/// gRPC metadata that carries a macaroon in hex: as clients send it, and through HTTP gateways.
const METADATA: [&str; 2] = ["macaroon", "grpc-metadata-macaroon"];

/// Headers that carry payment and never reach an upstream. `Authorization` is not among them: it
/// is the upstream's own where its scheme is no payment scheme.
pub const PAYMENT_HEADERS: [&str; 5] = [
    "x-cashu",
    "x-payment-sats",
    "payment-authorization",
    METADATA[0],
    METADATA[1],
];

/// Headers that clients of all kinds put a server's credential into. Where one of them is a key of
/// ours it pays; where a route has a credential of its own for its upstream, none of the client's goes
/// along.
pub const CREDENTIAL_HEADERS: [&str; 12] = [
    "authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-apikey",
    "x-goog-api-key",
    "openai-api-key",
    "anthropic-api-key",
    "x-auth-token",
    "x-access-token",
    "private-token",
    "ocp-apim-subscription-key",
];

/// Whether a header of this name usually holds a secret.
#[must_use]
pub fn names_secret(header: &str) -> bool {
    const PARTS: [&str; 7] = [
        "auth", "key", "token", "secret", "cookie", "pass", "macaroon",
    ];
    let header = header.to_ascii_lowercase();
    PARTS.iter().any(|part| header.contains(part))
}

/// What the payment headers of one request hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentHeaders {
    /// No credential at all.
    Nothing,
    /// One L402 credential, read but not verified.
    L402(Box<L402Credential>),
    /// An `Authorization` under a scheme that pays for nothing, such as `Basic`.
    Other,
}

/// One L402 credential as it was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L402Credential {
    /// The token.
    pub macaroon: Macaroon,
    /// The token's identifier.
    pub identifier: TokenIdentifier,
    /// The claimed proof of payment, from the header or the token's own caveat.
    pub preimage: Preimage,
}

/// Why the payment headers of a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// More than one credential.
    #[error("the request has more than one credential; send exactly one")]
    Ambiguous,
    /// Longer than [`MAX_AUTHORIZATION_LENGTH`] or [`MAX_METADATA_LENGTH`].
    #[error("the credential is longer than {limit} characters")]
    TooLong {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// Several macaroons in one credential.
    #[error("the credential has several macaroons; send exactly one")]
    SeveralMacaroons,
    /// No preimage in the header, none in the token.
    #[error("the credential has no preimage; send L402 <macaroon>:<preimage>")]
    MissingPreimage,
    /// One preimage in the header and another in the token.
    #[error("the credential's preimage differs from the one inside its macaroon")]
    DifferentPreimages,
    /// It breaks its format.
    #[error("the credential is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// How a credential breaks its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An `Authorization` line without content.
    #[error("an Authorization header is empty")]
    EmptyAuthorization,
    /// A character that is not printable ASCII.
    #[error("it has characters other than printable ASCII")]
    Characters,
    /// A scheme name and nothing after it, or no scheme name.
    #[error("expected a scheme, a space and <macaroon>:<preimage>")]
    Form,
    /// The macaroon's base64.
    #[error(transparent)]
    Base64(#[from] BadBase64),
    /// The macaroon's hex, in gRPC metadata.
    #[error("the macaroon is not hex")]
    Hex,
    /// The macaroon's bytes.
    #[error(transparent)]
    Macaroon(#[from] MacaroonError),
    /// The token identifier.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// The preimage after the colon.
    #[error("the preimage is not 64 hex digits")]
    Preimage,
    /// The preimages that the token carries.
    #[error(transparent)]
    Carried(#[from] CaveatError),
}

/// Why a credential that could be read proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The preimage is not that of the token's payment hash.
    #[error("the preimage does not belong to the macaroon's payment hash")]
    WrongPreimage,
    /// We did not sign this, or somebody changed it. An unknown key reads the same.
    #[error("the macaroon's signature is wrong")]
    WrongSignature,
    /// Its caveats grant nothing.
    #[error(transparent)]
    Caveats(#[from] CaveatError),
}

/// Reads every payment header of a request.
///
/// All `Authorization` lines count. Lines with the same credential count once, also when one says
/// `L402` and the other `LSAT`, as Aperture's client does; any other second credential is an error,
/// never "the last one wins".
///
/// # Errors
/// [`CredentialError`]: the request is refused and costs nothing.
pub fn read_credentials(headers: &HeaderMap) -> Result<PaymentHeaders, CredentialError> {
    let authorization = only(
        headers
            .get_all(AUTHORIZATION)
            .iter()
            .map(Authorization::read),
    )?;
    let metadata = METADATA.iter().flat_map(|&name| headers.get_all(name));
    let metadata = only(metadata.map(|value| Ok(value.as_bytes())))?;
    let credential = match (authorization, metadata) {
        (None, None) => return Ok(PaymentHeaders::Nothing),
        (Some(Authorization::Other(_)), None) => return Ok(PaymentHeaders::Other),
        (Some(Authorization::L402(text)), None) => l402::parse(text)?,
        (None, Some(hex)) => l402::parse_metadata(hex)?,
        (Some(_), Some(_)) => return Err(CredentialError::Ambiguous),
    };
    Ok(PaymentHeaders::L402(Box::new(credential)))
}

impl L402Credential {
    /// Checks the proof of payment, our signature, and that every caveat is one we can honour.
    ///
    /// # Errors
    /// [`VerifyError`] says which of the three failed first.
    pub fn verify(&self, root_key: &RootKey) -> Result<Granted, VerifyError> {
        if !self.preimage.opens(&self.identifier.payment_hash) {
            return Err(VerifyError::WrongPreimage);
        }
        if !self.macaroon.verify(root_key) {
            return Err(VerifyError::WrongSignature);
        }
        Ok(read_caveats(self.macaroon.caveats())?)
    }

    /// Whether this is the token as it was sold, on the `terms` that it grants: nobody has appended
    /// anything but the proof of payment, which restricts nothing. A caveat that takes nothing away
    /// counts as appended: whoever passed the token on said so that it was not the whole.
    #[must_use]
    pub fn is_as_issued(&self, terms: &Terms) -> bool {
        let sold = block_length(terms, self.macaroon.caveats());
        let mut appended = self.macaroon.caveats().skip(sold);
        appended.all(|caveat| caveat.starts_with(b"preimage="))
    }
}

/// One `Authorization` line, by what it is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Authorization<'a> {
    /// What follows the scheme L402 or LSAT.
    L402(&'a [u8]),
    /// A whole line of another scheme.
    Other(&'a [u8]),
}

impl<'a> Authorization<'a> {
    fn read(line: &'a HeaderValue) -> Result<Self, CredentialError> {
        let line = line.as_bytes();
        if line.iter().all(|&byte| byte == b' ') {
            return Err(Malformed::EmptyAuthorization.into());
        }
        if !line.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Malformed::Characters.into());
        }
        let end = line
            .iter()
            .position(|&byte| byte == b' ')
            .unwrap_or(line.len());
        let (scheme, rest) = line.split_at(end);
        if scheme.is_empty() {
            return Err(Malformed::Form.into());
        }
        if [b"L402", b"LSAT"]
            .iter()
            .any(|name| scheme.eq_ignore_ascii_case(*name))
        {
            return l402::after_scheme(line.len(), rest).map(Self::L402);
        }
        Ok(Self::Other(line))
    }
}

/// The one value among equal ones; nothing if there is none.
fn only<T: PartialEq>(
    mut values: impl Iterator<Item = Result<T, CredentialError>>,
) -> Result<Option<T>, CredentialError> {
    let Some(first) = values.next().transpose()? else {
        return Ok(None);
    };
    for value in values {
        if value? != first {
            return Err(CredentialError::Ambiguous);
        }
    }
    Ok(Some(first))
}
