//! One route from flags alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use farebox_config::choice::{Amount, Free, HeaderText, PathMatch, PriceSetting, SecretSource};
use farebox_config::file::{
    ApiSection, BackendKind, ConfigFile, ConsoleSection, DEFAULT_CONSOLE, DEFAULT_GATEWAY,
    LightningAddressSection, LightningSection, LndSection, MockSection, RouteSection,
    ServerSection, StoreSection,
};
use farebox_core::Msat;

use crate::cli::{LndArgs, QuickArgs, ServeArgs};

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
        lightning: lightning(args),
        route: vec![route(quick, upstream)],
        ..ConfigFile::default()
    })
}

/// What is set and needs `--upstream`.
pub(super) fn needs_upstream(args: &ServeArgs) -> Option<&'static str> {
    let set = [
        ("--lightning", args.lnd.lightning.is_some()),
        ("--network", args.lnd.network.is_some()),
    ];
    let missing = args.quick.upstream.is_none();
    let first = set.into_iter().find(|(_, is_set)| *is_set && missing);
    first.map(|(flag, _)| flag)
}

fn lightning(args: &ServeArgs) -> Option<LightningSection> {
    let allow_hosts = &args.quick.allow_host;
    let kind = match (&args.quick.lightning_address, args.lnd.lightning) {
        (Some(address), _) => BackendKind::LightningAddress(LightningAddressSection {
            address: Some(address.clone()),
            allow_hosts: allow_hosts.clone(),
            ..LightningAddressSection::default()
        }),
        (None, Some(_)) => return Some(lnd(&args.lnd, allow_hosts)),
        (None, None) if args.insecure_test_money => BackendKind::Mock(MockSection::default()),
        (None, None) => return None,
    };
    Some(LightningSection {
        network: args.lnd.network.unwrap_or_default(),
        ..kind.into()
    })
}

/// The section that the flags of an LND stand for.
pub(crate) fn lnd(args: &LndArgs, allow_hosts: &[String]) -> LightningSection {
    let file = |file: &PathBuf| SecretSource::File { file: file.clone() };
    let lnd = LndSection {
        api: ApiSection {
            url: args.lnd_url.clone(),
            tls_cert: args.lnd_cert.clone(),
            allow_hosts: allow_hosts.to_vec(),
            ..ApiSection::default()
        },
        macaroon: args.lnd_macaroon.as_ref().map(file),
        ..LndSection::default()
    };
    LightningSection {
        network: args.network.unwrap_or_default(),
        ..BackendKind::Lnd(lnd).into()
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use farebox_config::build::{Lookups, Money, build};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn parse(line: &str) -> Result<ServeArgs, clap::Error> {
        let words = std::iter::once("serve").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.serve)
    }

    fn builds(line: &str, money: Money) -> bool {
        let file = file(&parse(line).unwrap()).unwrap();
        let context = farebox_config::build::Context {
            clock: crate::clock::clock_for(Money::Real),
            money,
            lookups: Lookups::Skipped,
            node: None,
        };
        build(file, &context).is_ok()
    }

    #[test]
    fn four_flags_are_a_gateway() {
        let line = "--upstream https://api.example.com --api-key-env KEY \
            --lightning-address me@example.com --price-msat 2000";
        let file = file(&parse(line).unwrap()).unwrap();
        assert!(file.route[0].path == PathMatch::Prefix("/".to_owned()));
        assert!(builds(line, Money::Real));
    }

    #[test]
    fn a_price_without_anybody_to_pay_is_refused_and_zero_is_free() {
        assert!(!builds(
            "--upstream http://a.example --price-msat 5",
            Money::Real
        ));
        assert!(!builds("--upstream http://a.example", Money::Real));
        assert!(builds(
            "--upstream http://a.example --price-msat 0",
            Money::Real
        ));
        assert!(builds(
            "--insecure-test-money --upstream http://a.example --price-msat 5",
            Money::Test
        ));
    }

    #[test]
    fn a_file_and_flags_exclude_each_other_and_flags_need_an_upstream() {
        assert!(parse("-c farebox.toml --upstream http://a.example").is_err());
        assert!(parse("--price-msat 5").is_err());
        assert!(parse("-c farebox.toml --insecure-test-money").is_ok());
        let lnd = "--lightning lnd --lnd-url https://127.0.0.1:8080";
        assert!(parse(&format!("-c farebox.toml {lnd}")).is_err());
        assert_eq!(needs_upstream(&parse(lnd).unwrap()), Some("--lightning"));
        assert!(parse("--upstream http://a.example --lnd-url https://127.0.0.1:8080").is_err());
    }

    #[test]
    fn a_node_of_ones_own_is_named_by_flags() {
        let line = "--upstream http://a.example --price-msat 2000 --lightning lnd \
            --lnd-url https://127.0.0.1:8080 --lnd-macaroon invoice.macaroon \
            --lnd-cert tls.cert --network regtest";
        let section = file(&parse(line).unwrap()).unwrap().lightning.unwrap();
        let BackendKind::Lnd(lnd) = section.first.kind else {
            panic!("another backend");
        };
        assert!(lnd.macaroon.is_some());
        assert!(builds(line, Money::Real));
        let address = "--lightning-address me@example.com";
        assert!(parse(&format!("{line} {address}")).is_err());
    }
}
