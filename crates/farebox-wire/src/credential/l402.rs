//! One L402 credential: `<base64 macaroon>:<64 hex digits>`, or hex in gRPC metadata.

use farebox_core::Preimage;

use super::{
    CredentialError, L402Credential, MAX_AUTHORIZATION_LENGTH, MAX_METADATA_LENGTH, Malformed,
};
use crate::base64_text;
use crate::caveat::{CaveatError, carried_preimage};
use crate::identifier::TokenIdentifier;
use crate::macaroon::Macaroon;

/// What follows the scheme's spaces, once the line is known to be short enough to look at.
pub(super) fn after_scheme(line_length: usize, rest: &[u8]) -> Result<&[u8], CredentialError> {
    if line_length > MAX_AUTHORIZATION_LENGTH {
        return Err(CredentialError::TooLong {
            limit: MAX_AUTHORIZATION_LENGTH,
        });
    }
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    match rest.get(spaces..) {
        None | Some([]) => Err(Malformed::Form.into()),
        Some(text) => Ok(text),
    }
}

pub(super) fn parse(text: &[u8]) -> Result<L402Credential, CredentialError> {
    let (macaroon, preimage) = split_preimage(text)?;
    if macaroon.contains(&b',') {
        return Err(CredentialError::SeveralMacaroons);
    }
    let bytes = base64_text::decode(macaroon).map_err(Malformed::from)?;
    credential(bytes, preimage)
}

pub(super) fn parse_metadata(hex: &[u8]) -> Result<L402Credential, CredentialError> {
    if hex.len() > MAX_METADATA_LENGTH {
        return Err(CredentialError::TooLong {
            limit: MAX_METADATA_LENGTH,
        });
    }
    if hex.contains(&b',') {
        return Err(CredentialError::SeveralMacaroons);
    }
    credential(hex::decode(hex).map_err(|_| Malformed::Hex)?, None)
}

/// Splits at the last colon. Without one the preimage has to be inside the macaroon.
fn split_preimage(text: &[u8]) -> Result<(&[u8], Option<Preimage>), CredentialError> {
    let Some(colon) = text.iter().rposition(|&byte| byte == b':') else {
        return Ok((text, None));
    };
    let (macaroon, digits) = (&text[..colon], &text[colon + 1..]);
    let preimage = Preimage::from_hex(digits).map_err(|_| Malformed::Preimage)?;
    Ok((macaroon, Some(preimage)))
}

fn credential(
    bytes: Vec<u8>,
    preimage: Option<Preimage>,
) -> Result<L402Credential, CredentialError> {
    let macaroon = Macaroon::from_vec(bytes).map_err(Malformed::from)?;
    let identifier = TokenIdentifier::parse(macaroon.identifier()).map_err(Malformed::from)?;
    let preimage = proof(&macaroon, preimage)?;
    Ok(L402Credential {
        macaroon,
        identifier,
        preimage,
    })
}

/// The preimage from the header, the macaroon, or both if they agree.
fn proof(macaroon: &Macaroon, sent: Option<Preimage>) -> Result<Preimage, CredentialError> {
    let carried = carried_preimage(macaroon.caveats()).map_err(|error| match error {
        CaveatError::DifferentPreimages => CredentialError::DifferentPreimages,
        other => Malformed::Carried(other).into(),
    })?;
    match (sent, carried) {
        (Some(sent), Some(carried)) if sent != carried => Err(CredentialError::DifferentPreimages),
        (Some(preimage), _) | (None, Some(preimage)) => Ok(preimage),
        (None, None) => Err(CredentialError::MissingPreimage),
    }
}
