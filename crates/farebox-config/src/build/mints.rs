//! The mints whose ecash is taken.

use std::collections::HashSet;
use std::sync::Arc;

use farebox_ecash::{Mint, MintOptions, MintUrl, Unit};
use farebox_http::client::Trust;
use farebox_paywall::mints::{Mints, TrustedMint};

use super::at::At;
use super::{Context, Lookups};
use crate::file::{ConfigFile, MintSection, PaymentMethod};

/// More mints than this is a slip.
const MAX_MINTS: usize = 64;

/// Builds the mints, in the order in which they were written: those named first are offered first.
pub(super) fn mints(file: &ConfigFile, context: &Context, at: &At<'_>) -> Mints {
    if file.mint.len() > MAX_MINTS {
        at.note(format!("at most {MAX_MINTS} mints"));
    }
    let mut seen = HashSet::new();
    let sections = file.mint.iter().enumerate();
    let built = sections.filter_map(|(place, section)| {
        let at = at.index(place);
        let built = mint(section, context, &at)?;
        if !seen.insert(built.mint.url().clone()) {
            at.key("url").note("the same mint twice");
        }
        Some(built)
    });
    Mints::new(built.collect())
}

fn mint(section: &MintSection, context: &Context, at: &At<'_>) -> Option<TrustedMint> {
    if section.url.is_empty() {
        at.key("url").note("is missing: a mint is somewhere");
        return None;
    }
    let url = at.key("url").take(MintUrl::parse(&section.url))?;
    if section.units.is_empty() {
        at.key("units").note("name at least one unit");
    }
    let trust = match &section.tls_cert {
        Some(path) if context.lookups == Lookups::Real => {
            let key = at.key("tls_cert");
            let pem = key.take(std::fs::read(path))?;
            key.take(Trust::pinned_pem(&pem))?
        }
        _ => Trust::Web,
    };
    let units: Vec<Unit> = section.units.iter().copied().map(Unit::from).collect();
    let mint = Mint::new(MintOptions {
        url,
        trust,
        allow_plain_http: section.allow_plain_http,
        units,
    });
    Some(TrustedMint {
        mint: Arc::new(at.key("url").take(mint)?),
        most: section.most.0,
    })
}

/// Notes routes that take ecash where no mint is named.
pub(super) fn check(file: &ConfigFile, root: &At<'_>) {
    for (place, route) in file.route.iter().enumerate() {
        if file.mint.is_empty() && route.methods.contains(&PaymentMethod::Cashu) {
            let key = root.key("route").index(place).key("methods");
            key.note("`cashu` needs a mint whose coins are taken: [[mint]]");
        }
    }
}
