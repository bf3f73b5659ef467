//! What opens a backend: its credential and the certificate it must show, read from where the file
//! says they are.

use std::path::Path;

use farebox_core::Secret;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::build::server::read_certificates;
use crate::build::{Context, Lookups};
use crate::choice::SecretSource;
use crate::file::LightningSection;
use crate::mistake::{KeyPath, Mistakes};
use crate::secrets;

/// Stands for a connection string where look-ups are skipped: a well-formed one to nobody.
const NOBODY: &str = "nostr+walletconnect://\
    79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
    ?relay=wss%3A%2F%2Frelay.invalid\
    &secret=0000000000000000000000000000000000000000000000000000000000000001";

/// The same for a macaroon: what it would allow is not known.
const NO_MACAROON: &[u8] = b"0010location lnd";

/// Who guesses less than this many characters can tell us of payments.
const LEAST_WEBHOOK_SECRET: usize = 16;

/// What a backend is opened with.
pub(super) struct Credentials {
    pub(super) macaroon: Secret<Vec<u8>>,
    /// Rune, password, invoice key or connection string: a backend has one of them.
    pub(super) text: Secret<String>,
    pub(super) admin_key: Option<Secret<String>>,
    pub(super) webhook_secret: Option<Secret<String>>,
    pub(super) certificates: Option<Vec<CertificateDer<'static>>>,
}

/// Tells two [`Credentials`] apart without keeping either.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Credentials {
    /// Credentials of the right form that open nothing, to learn what a backend could do.
    fn placeholder(section: &LightningSection) -> Self {
        let nobody = |source: &Option<SecretSource>| {
            let is_set = source.is_some();
            is_set.then(|| Secret::new("nobody".to_owned()))
        };
        let text = if section.uri.is_some() {
            NOBODY
        } else {
            "nobody"
        };
        Self {
            macaroon: Secret::new(NO_MACAROON.to_vec()),
            text: Secret::new(text.to_owned()),
            admin_key: nobody(&section.admin_key),
            webhook_secret: nobody(&section.webhook_secret),
            certificates: None,
        }
    }

    /// The same for the same credentials, and for no others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new();
        let bytes = |secret: &Option<Secret<String>>| {
            let bytes = secret.as_ref().map(|secret| secret.reveal().as_bytes());
            bytes.unwrap_or_default().to_vec()
        };
        let (admin_key, webhook_secret) = (bytes(&self.admin_key), bytes(&self.webhook_secret));
        let parts = [
            self.macaroon.reveal(),
            self.text.reveal().as_bytes(),
            &admin_key,
            &webhook_secret,
        ];
        let certificates = self.certificates.iter().flatten().map(AsRef::as_ref);
        for part in parts.into_iter().chain(certificates) {
            hasher.update(part.len().to_be_bytes());
            hasher.update(part);
        }
        Fingerprint(hasher.finalize().into())
    }
}

/// Reads what the section names; none when some of it cannot be read.
pub(super) fn read(
    section: &LightningSection,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Credentials> {
    if context.lookups == Lookups::Skipped {
        return Some(Credentials::placeholder(section));
    }
    let macaroon = section.macaroon.as_ref().map(|source| {
        let fetched = secrets::fetch_macaroon(source);
        mistakes.take(at.key("macaroon"), "", fetched)
    });
    let text = text_of(section)
        .map(|(key, source)| mistakes.take(at.key(key), "", secrets::fetch(source)));
    let admin_key = section
        .admin_key
        .as_ref()
        .map(|source| mistakes.take(at.key("admin_key"), "", secrets::fetch(source)));
    let webhook_secret = section
        .webhook_secret
        .as_ref()
        .map(|source| webhook_secret(source, at, mistakes));
    let certificates = section
        .tls_cert
        .as_deref()
        .map(|path| certificates(path, at, mistakes));
    Some(Credentials {
        macaroon: complete(macaroon)?.unwrap_or_else(|| Secret::new(Vec::new())),
        text: complete(text)?.unwrap_or_else(|| Secret::new(String::new())),
        admin_key: complete(admin_key)?,
        webhook_secret: complete(webhook_secret)?,
        certificates: complete(certificates)?,
    })
}

fn webhook_secret(
    source: &SecretSource,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Secret<String>> {
    let at = at.key("webhook_secret");
    let secret = mistakes.take(at.clone(), "", secrets::fetch(source))?;
    if secret.reveal().len() < LEAST_WEBHOOK_SECRET {
        let reason = format!("is too short to prove anything: at least {LEAST_WEBHOOK_SECRET}");
        mistakes.note(at, None, format!("{reason} characters"));
        return None;
    }
    Some(secret)
}

/// `None` where something was named and not found.
fn complete<T>(fetched: Option<Option<T>>) -> Option<Option<T>> {
    match fetched {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

fn text_of(section: &LightningSection) -> Option<(&'static str, &SecretSource)> {
    [
        ("rune", &section.rune),
        ("password", &section.password),
        ("key", &section.key),
        ("uri", &section.uri),
    ]
    .into_iter()
    .find_map(|(key, source)| Some((key, source.as_ref()?)))
}

fn certificates(
    path: &Path,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Vec<CertificateDer<'static>>> {
    let shown = path.to_string_lossy();
    mistakes.take(at.key("tls_cert"), &shown, read_certificates(path))
}
