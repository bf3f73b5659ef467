//! Everything secret about a mock node, derived from 32 bytes.

use bitcoin::hashes::sha256;
use bitcoin::secp256k1::ecdsa::RecoverableSignature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use farebox_core::{PaymentHash, Preimage, Secret};
use hmac::{Hmac, Mac};
use lightning_invoice::Bolt11Invoice;
use sha2::Sha256;

pub(super) struct NodeKeys {
    /// Keyed once; each derivation starts from a copy.
    derive: Hmac<Sha256>,
    signing: SecretKey,
    public: PublicKey,
    curve: Secp256k1<All>,
    run: [u8; 8],
}

/// Names one invoice: eight random bytes of this run and a count, so that a node started again
/// with the same secret does not repeat itself.
#[derive(Clone, Copy)]
pub(super) struct Index([u8; 16]);

impl Index {
    /// The index stands in clear at the start of the payment secret.
    pub(super) fn of_payment_secret(secret: &[u8; 32]) -> Self {
        let mut index = [0; 16];
        index.copy_from_slice(&secret[..16]);
        Self(index)
    }
}

impl NodeKeys {
    pub(super) fn new(secret: Option<Secret<[u8; 32]>>) -> Result<Self, getrandom::Error> {
        let secret = match secret {
            Some(secret) => secret,
            None => Secret::new(random()?),
        };
        let derive =
            Hmac::<Sha256>::new_from_slice(secret.reveal()).expect("HMAC takes keys of any length");
        let curve = Secp256k1::new();
        let signing = SecretKey::from_slice(&derived(&derive, b"node key", &[]))
            .expect("a hash is a valid scalar but for a chance of 1 in 2^127");
        let public = signing.public_key(&curve);
        Ok(Self {
            derive,
            signing,
            public,
            curve,
            run: random()?,
        })
    }

    pub(super) fn index(&self, count: u64) -> Index {
        let mut index = [0; 16];
        index[..8].copy_from_slice(&self.run);
        index[8..].copy_from_slice(&count.to_be_bytes());
        Index(index)
    }

    pub(super) fn preimage(&self, index: Index) -> Preimage {
        Preimage::from_bytes(derived(&self.derive, b"preimage", &index.0))
    }

    pub(super) fn payment_secret(&self, index: Index) -> [u8; 32] {
        let mut secret = derived(&self.derive, b"payment secret", &index.0);
        secret[..16].copy_from_slice(&index.0);
        secret
    }

    pub(super) fn sign(&self, message: &Message) -> RecoverableSignature {
        self.curve.sign_ecdsa_recoverable(message, &self.signing)
    }

    pub(super) fn signed(&self, invoice: &Bolt11Invoice) -> bool {
        invoice.get_payee_pub_key() == self.public
    }
}

pub(super) fn bolt11_hash(hash: &PaymentHash) -> sha256::Hash {
    bitcoin::hashes::Hash::from_byte_array(*hash.as_bytes())
}

fn derived(keyed: &Hmac<Sha256>, label: &[u8], index: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(label);
    mac.update(index);
    mac.finalize().into_bytes().into()
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
