//! The buyer's side of L402, as plainly as the protocol allows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_wire::macaroon::Macaroon;
use sha2::{Digest, Sha256};

use super::Reply;

/// What a 402 asks for. `Debug` is fine here: it is test money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) macaroon: String,
    pub(crate) invoice: String,
}

/// A paid challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Base64, as it stood in the challenge.
    pub(crate) macaroon: String,
    /// 64 hex digits.
    pub(crate) preimage: String,
}

impl Challenge {
    /// Reads the one form of challenge that Farebox sends.
    #[track_caller]
    pub(crate) fn of(reply: &Reply) -> Self {
        let lines = reply.all("www-authenticate");
        let line = lines.iter().find(|line| line.starts_with("L402 "));
        let line = line.unwrap_or_else(|| panic!("no challenge in {reply:?}"));
        Self {
            macaroon: parameter(line, "macaroon"),
            invoice: parameter(line, "invoice"),
        }
    }

    pub(crate) fn paid_with(self, preimage: String) -> Token {
        Token {
            macaroon: self.macaroon,
            preimage,
        }
    }
}

impl Token {
    /// The value of the `Authorization` field.
    pub(crate) fn authorization(&self) -> String {
        format!("L402 {}:{}", self.macaroon, self.preimage)
    }

    /// The name of its account, 64 hex digits.
    pub(crate) fn payment_hash(&self) -> String {
        hex::encode(Sha256::digest(hex::decode(&self.preimage).unwrap()))
    }

    /// The macaroon itself.
    pub(crate) fn macaroon(&self) -> Macaroon {
        Macaroon::parse(&STANDARD.decode(&self.macaroon).unwrap()).unwrap()
    }

    /// The same token with one more caveat, as any holder may add it.
    pub(crate) fn attenuated(&self, caveat: &str) -> Self {
        let mut macaroon = self.macaroon();
        macaroon.attenuate(caveat);
        Self {
            macaroon: macaroon.to_base64(),
            preimage: self.preimage.clone(),
        }
    }
}

#[track_caller]
fn parameter(line: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let rest = line.split_once(&start).map(|(_, rest)| rest);
    let value = rest
        .and_then(|rest| rest.split_once('"'))
        .map(|(value, _)| value);
    value
        .unwrap_or_else(|| panic!("no {name} in {line:?}"))
        .to_owned()
}
