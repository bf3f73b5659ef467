//! Which keys belong to which backend: what is missing, and what makes no sense.

use crate::file::LightningBackend::{
    self, Cln, LightningAddress, Lnbits, Lnd, Mock, Nwc, Phoenixd,
};
use crate::file::LightningSection;
use crate::mistake::{KeyPath, Mistakes};

/// One key, and the backends that know it.
struct Field {
    key: &'static str,
    is_set: fn(&LightningSection) -> bool,
    of: &'static [LightningBackend],
    /// Whether those cannot do without, and how it is written.
    needed: Option<&'static str>,
}

const FIELDS: [Field; 15] = [
    Field {
        key: "url",
        is_set: |section| section.url.is_some(),
        of: &[Lnd, Cln, Phoenixd, Lnbits],
        needed: Some("where it answers, such as \"https://127.0.0.1:8080\""),
    },
    Field {
        key: "macaroon",
        is_set: |section| section.macaroon.is_some(),
        of: &[Lnd],
        needed: Some("{ file = \"…/invoice.macaroon\" } or { env = \"…\" }"),
    },
    Field {
        key: "rune",
        is_set: |section| section.rune.is_some(),
        of: &[Cln],
        needed: Some("{ file = \"…\" } or { env = \"…\" }"),
    },
    Field {
        key: "password",
        is_set: |section| section.password.is_some(),
        of: &[Phoenixd],
        needed: Some("phoenixd's http-password, as { file = \"…\" } or { env = \"…\" }"),
    },
    Field {
        key: "webhook_secret",
        is_set: |section| section.webhook_secret.is_some(),
        of: &[Phoenixd],
        needed: None,
    },
    Field {
        key: "key",
        is_set: |section| section.key.is_some(),
        of: &[Lnbits],
        needed: Some("the wallet's invoice key, as { file = \"…\" } or { env = \"…\" }"),
    },
    Field {
        key: "admin_key",
        is_set: |section| section.admin_key.is_some(),
        of: &[Lnbits],
        needed: None,
    },
    Field {
        key: "uri",
        is_set: |section| section.uri.is_some(),
        of: &[Nwc],
        needed: Some("the wallet's connection string, as { file = \"…\" } or { env = \"…\" }"),
    },
    Field {
        key: "tls_cert",
        is_set: |section| section.tls_cert.is_some(),
        of: &[Lnd, Cln, Phoenixd, Lnbits],
        needed: None,
    },
    Field {
        key: "private_hints",
        is_set: |section| section.private_hints,
        of: &[Lnd],
        needed: None,
    },
    Field {
        key: "address",
        is_set: |section| section.address.is_some(),
        of: &[LightningAddress],
        needed: Some("whom to pay, such as \"me@example.com\""),
    },
    Field {
        key: "allow_hosts",
        is_set: |section| !section.allow_hosts.is_empty(),
        of: &[Lnd, Cln, Phoenixd, Lnbits, LightningAddress],
        needed: None,
    },
    Field {
        key: "min_amount",
        is_set: |section| section.min_amount.is_some(),
        of: &[Lnd, Cln, Phoenixd, Lnbits, Nwc, Mock],
        needed: None,
    },
    Field {
        key: "whole_sats",
        is_set: |section| section.whole_sats.is_some(),
        of: &[Nwc],
        needed: None,
    },
    Field {
        key: "comment",
        is_set: |section| section.comment.is_some(),
        of: &[LightningAddress],
        needed: None,
    },
];

/// Notes every key that the backend needs and lacks, and every one that it does not know.
pub(super) fn check(section: &LightningSection, at: &KeyPath, mistakes: &mut Mistakes) {
    for field in &FIELDS {
        let (belongs, is_set) = (field.of.contains(&section.backend), (field.is_set)(section));
        if is_set && !belongs {
            mistakes.note(at.key(field.key), None, no_sense(section, field));
        }
        if let Some(how) = field.needed.filter(|_| belongs && !is_set) {
            mistakes.note(at.key(field.key), None, format!("is missing: write {how}"));
        }
    }
}

fn no_sense(section: &LightningSection, field: &Field) -> String {
    let others: Vec<_> = field
        .of
        .iter()
        .map(|backend| format!("`{}`", backend.as_str()))
        .collect();
    let backend = section.backend.as_str();
    format!(
        "makes no sense with the backend `{backend}`; it belongs to {}",
        others.join(", ")
    )
}
