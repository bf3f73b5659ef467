//! The connection URI of a wallet (NIP-47): whose key answers, on which relays, and the key that we
//! sign and encrypt with. All of it is one credential; no error and no `Debug` shows any of it but
//! a relay's host.

use std::borrow::Cow;

use farebox_core::Secret;
use http::Uri;
use nostr::{Keys, PublicKey, SecretKey};
use percent_encoding::percent_decode_str;

use farebox_http::client::{host_of, is_loopback, without_brackets, written_port};

/// The longest URI that is looked at, in bytes.
const MAX_URI: usize = 4096;

/// How many relays a wallet may name: each one is a connection held open.
const MAX_RELAYS: usize = 8;

/// Both keys are 32 bytes in hexadecimal.
const KEY_DIGITS: usize = 64;

const SCHEME: &str = "nostr+walletconnect:";

/// Why a connection URI is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NwcUriError {
    /// It begins with something else.
    #[error("a wallet's connection URI begins with nostr+walletconnect://")]
    Scheme,
    /// Longer than any wallet writes.
    #[error("the connection URI is longer than {MAX_URI} characters")]
    TooLong,
    /// What stands between scheme and query is no public key.
    #[error("the connection URI names no wallet: its public key is 64 hexadecimal digits")]
    Wallet,
    /// A percent sign without two digits, or bytes that are not UTF-8.
    #[error("the connection URI has a `{0}` that cannot be decoded")]
    Encoding(&'static str),
    /// No `secret`, or one that is no secret key.
    #[error("the connection URI has no secret of 64 hexadecimal digits")]
    Secret,
    /// A parameter that may stand once stands twice.
    #[error("the connection URI has more than one `{0}`")]
    Repeated(&'static str),
    /// No `relay`.
    #[error("the connection URI names no relay")]
    NoRelay,
    /// More than we hold connections to.
    #[error("the connection URI names more than {MAX_RELAYS} relays")]
    TooManyRelays,
    /// A relay that is no `wss://` or `ws://` URL with a host, or has a user name or a fragment.
    #[error("the connection URI names a relay that is no wss:// URL")]
    Relay,
    /// Plain `ws://` to another machine shows everyone on the way when and with whom we deal.
    #[error("plain ws to {host} shows on the way when payments are made; use wss")]
    PlainWs {
        /// The host.
        host: String,
    },
}

/// What a connection URI says. It shows itself nowhere.
pub(super) struct Connection {
    pub(super) wallet: PublicKey,
    pub(super) keys: Keys,
    pub(super) relays: Vec<RelayUrl>,
}

/// Where a relay is.
#[derive(Clone)]
pub(super) struct RelayUrl {
    pub(super) uri: Uri,
    /// Host and port, for errors.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// Reads a connection URI. Parameters that we do not know, `lud16` among them, are let through.
pub(super) fn parse(text: &Secret<String>) -> Result<Connection, NwcUriError> {
    let text = text.reveal().trim();
    if text.len() > MAX_URI {
        return Err(NwcUriError::TooLong);
    }
    let rest = text.strip_prefix(SCHEME).ok_or(NwcUriError::Scheme)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (wallet, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = Parameters::read(query)?;
    Ok(Connection {
        wallet: public_key(wallet.strip_suffix('/').unwrap_or(wallet))?,
        keys: Keys::new(parameters.secret()?),
        relays: parameters.relays()?,
    })
}

fn public_key(hex: &str) -> Result<PublicKey, NwcUriError> {
    let key = digits(hex)
        .and_then(|hex| PublicKey::from_hex(hex).ok())
        .ok_or(NwcUriError::Wallet)?;
    // Half of all 32-byte strings are no point of the curve.
    key.xonly().map(|_| key).map_err(|_| NwcUriError::Wallet)
}

fn digits(hex: &str) -> Option<&str> {
    let all = hex.len() == KEY_DIGITS && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then_some(hex)
}

#[derive(Default)]
struct Parameters<'a> {
    secret: Option<Cow<'a, str>>,
    relays: Vec<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, NwcUriError> {
        let mut found = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "relay" => found.relays.push(decode("relay", value)?),
                "secret" if found.secret.is_some() => return Err(NwcUriError::Repeated("secret")),
                "secret" => found.secret = Some(decode("secret", value)?),
                _ => (),
            }
        }
        Ok(found)
    }

    fn secret(&self) -> Result<SecretKey, NwcUriError> {
        self.secret
            .as_deref()
            .and_then(digits)
            .and_then(|hex| SecretKey::from_hex(hex).ok())
            .ok_or(NwcUriError::Secret)
    }

    fn relays(&self) -> Result<Vec<RelayUrl>, NwcUriError> {
        let mut relays: Vec<RelayUrl> = Vec::new();
        for text in &self.relays {
            let relay = RelayUrl::parse(text)?;
            if relays.iter().all(|known| known.uri != relay.uri) {
                relays.push(relay);
            }
        }
        match relays.len() {
            0 => Err(NwcUriError::NoRelay),
            1..=MAX_RELAYS => Ok(relays),
            _ => Err(NwcUriError::TooManyRelays),
        }
    }
}

fn decode<'a>(name: &'static str, value: &'a str) -> Result<Cow<'a, str>, NwcUriError> {
    percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| NwcUriError::Encoding(name))
}

impl RelayUrl {
    fn parse(text: &str) -> Result<Self, NwcUriError> {
        let uri: Uri = text.parse().map_err(|_| NwcUriError::Relay)?;
        let authority = uri.authority().ok_or(NwcUriError::Relay)?;
        let port = written_port(authority).map_err(|_| NwcUriError::Relay)?;
        if authority.host().is_empty() || authority.as_str().contains('@') || text.contains('#') {
            return Err(NwcUriError::Relay);
        }
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(NwcUriError::Relay),
        };
        if !tls && !is_loopback(authority.host()) {
            let host = authority.host().to_owned();
            return Err(NwcUriError::PlainWs { host });
        }
        Ok(Self {
            host: host_of(&uri),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
            uri,
        })
    }

    /// The host as a name or address to connect to, without the brackets of IPv6.
    pub(super) fn name(&self) -> &str {
        without_brackets(self.uri.host().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
