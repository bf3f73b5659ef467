//! One route from flags alone.

use std::collections::BTreeMap;

use farebox_core::Msat;

use crate::cli::{QuickArgs, ServeArgs};
use crate::config::choice::{Amount, Free, HeaderText, PathMatch, PriceSetting};
use crate::config::file::{
    ConfigFile, ConsoleSection, DEFAULT_CONSOLE, DEFAULT_GATEWAY, LightningBackend,
    LightningSection, RouteSection, ServerSection, StoreSection,
};

/// The configuration that the flags stand for; none without `--upstream`.
pub(super) fn file(args: &ServeArgs) -> Option<ConfigFile> {
    let quick = &args.quick;
    let upstream = quick.upstream.clone()?;
    let store = quick.store.clone().map(|url| StoreSection {
        url,
        ..StoreSection::default()
    });
    Some(ConfigFile {
        server: ServerSection {
            listen: quick.listen.unwrap_or(DEFAULT_GATEWAY),
            ..ServerSection::default()
        },
        console: ConsoleSection {
            listen: quick.console_listen.unwrap_or(DEFAULT_CONSOLE),
            ..ConsoleSection::default()
        },
        store: store.unwrap_or_default(),
        lightning: lightning(quick, args.insecure_test_money),
        route: vec![route(quick, upstream)],
        ..ConfigFile::default()
    })
}

fn lightning(quick: &QuickArgs, test_money: bool) -> Option<LightningSection> {
    match (&quick.lightning_address, test_money) {
        (Some(address), _) => Some(LightningSection {
            address: Some(address.clone()),
            ..LightningSection::default()
        }),
        (None, true) => Some(LightningSection {
            backend: LightningBackend::Mock,
            ..LightningSection::default()
        }),
        (None, false) => None,
    }
}

fn route(quick: &QuickArgs, upstream: String) -> RouteSection {
    let key = quick.api_key_env.clone();
    let key = key.map(|env| HeaderText::Env {
        env,
        prefix: "Bearer ".to_owned(),
    });
    RouteSection {
        name: "api".to_owned(),
        path: PathMatch::Prefix(quick.path.clone().unwrap_or_else(|| "/".to_owned())),
        upstream,
        headers: key
            .map(|key| BTreeMap::from([("Authorization".to_owned(), key)]))
            .unwrap_or_default(),
        price: quick.price_msat.and_then(price),
        ..RouteSection::default()
    }
}

fn price(msat: u64) -> Option<PriceSetting> {
    match Msat::new(msat).ok()? {
        Msat::ZERO => Some(PriceSetting::Free(Free::Free)),
        msat => Some(PriceSetting::Fixed(Amount(msat))),
    }
}
