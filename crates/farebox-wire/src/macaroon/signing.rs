//! The HMAC chain of libmacaroons. The published L402 page leaves out the first step, the key
//! derivation; tokens signed without it verify nowhere else.

use std::fmt;

use farebox_core::{KeyEpoch, Secret};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The secret that signs one token. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// A root key from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The root key of the token called `identifier` under one of the server's secrets. No two
    /// tokens share a key and none has to be stored; without the secret it cannot be computed.
    #[must_use]
    pub fn derive(server_secret: &Secret<[u8; 32]>, epoch: KeyEpoch, identifier: &[u8]) -> Self {
        let mut mac = keyed(server_secret.reveal());
        mac.update(b"farebox root key v1\n");
        mac.update(&epoch.0.to_be_bytes());
        mac.update(identifier);
        Self(mac.finalize().into_bytes().into())
    }

    /// The signature of a macaroon without caveats.
    pub(super) fn sign(&self, identifier: &[u8]) -> [u8; 32] {
        let derived = hmac(b"macaroons-key-generator", &self.0);
        hmac(&derived, identifier)
    }
}

/// The signature after one more first-party caveat.
pub(super) fn extend(signature: &[u8; 32], caveat: &[u8]) -> [u8; 32] {
    hmac(signature, caveat)
}

fn hmac<const N: usize>(key: &[u8; N], message: &[u8]) -> [u8; 32] {
    keyed(key)
        .chain_update(message)
        .finalize()
        .into_bytes()
        .into()
}

/// HMAC-SHA256 under a key no longer than a block, which is the same key filled up with zeros.
fn keyed<const N: usize>(key: &[u8; N]) -> Hmac<Sha256> {
    const { assert!(N <= 64, "longer keys would have to be hashed first") };
    let mut block = [0; 64];
    block[..N].copy_from_slice(key);
    Mac::new(&block.into())
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}
