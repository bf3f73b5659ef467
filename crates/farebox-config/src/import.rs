//! Configurations of other paywalls, turned into ours.
//!
//! What has no counterpart is listed, never dropped in silence.

pub mod aperture;
pub mod lsat_proxy;
pub mod matador;

use std::path::PathBuf;

use farebox_core::RouteName;
use farebox_wire::credential::names_secret;
use yaml_rust2::Yaml;

use crate::choice::{HeaderText, SecretSource};
use crate::file::{
    ApiSection, BackendKind, ConfigFile, LightningAddressSection, LightningSection, LndSection,
};

/// Where LND's REST API listens unless `restlisten` says otherwise.
const REST_PORT: u16 = 8080;

/// Stands where a Lightning Address is needed and none is known.
pub const UNKNOWN_ADDRESS: &str = "change-me@example.com";

/// What an import gave.
pub struct Imported {
    /// The configuration.
    pub file: ConfigFile,
    /// What the reader has to know: settings without a counterpart, and what is left to do.
    pub notes: Vec<String>,
}

/// Why a file could not be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not a YAML document.
    #[error("not YAML")]
    Yaml(#[from] yaml_rust2::ScanError),
    /// YAML, but nothing that looks like the configuration.
    #[error("no `backends` list in it")]
    NoBackends,
    /// The same of another paywall.
    #[error("no `services` list in it")]
    NoServices,
    /// Not a file of environment variables.
    #[error("line {line}: expected NAME=VALUE")]
    Env {
        /// Which line, counted from one.
        line: usize,
    },
    /// Nothing that looks like the configuration.
    #[error("neither API_ROOT, API_KEY nor LN_ADDRESS in it")]
    NoMatador,
}

fn lightning_address(address: Option<&str>, notes: &mut Vec<String>) -> LightningSection {
    if address.is_none() {
        notes.push(format!(
            "lightning.address: put your own Lightning Address in the place of {UNKNOWN_ADDRESS}"
        ));
    }
    let section = LightningAddressSection {
        address: Some(address.unwrap_or(UNKNOWN_ADDRESS).to_owned()),
        ..LightningAddressSection::default()
    };
    BackendKind::LightningAddress(section).into()
}

/// What has to be said about one part of a file.
struct Notes<'a> {
    /// Such as `service weather`.
    about: String,
    all: &'a mut Vec<String>,
}

impl Notes<'_> {
    fn add(&mut self, key: &str, text: impl std::fmt::Display) {
        self.all.push(format!("{}: {key}: {text}", self.about));
    }

    /// A header that is written out, which a secret had better not be.
    fn header(&mut self, name: &str, value: &str) -> HeaderText {
        if names_secret(name) {
            let text = "stands in clear in the result; better move it to { env = \"…\" } or \
                        { file = \"…\" }";
            self.add(&format!("headers.{name}"), text);
        }
        HeaderText::Text(value.to_owned())
    }
}

/// The keys of a table.
fn keys(node: &Yaml) -> impl Iterator<Item = &str> {
    let keys = node.as_hash().into_iter().flat_map(|keys| keys.keys());
    keys.filter_map(Yaml::as_str)
}

/// Lists the keys of a table that are not turned into ours, with what stands in their place.
fn note_rest(
    node: &Yaml,
    taken: &[&str],
    instead: &[(&str, &str)],
    mut note: impl FnMut(&str, String),
) {
    for key in keys(node).filter(|key| !taken.contains(key)) {
        let instead = instead.iter().find(|(name, _)| *name == key);
        let instead = instead.map(|(_, instead)| format!("; {instead}"));
        note(
            key,
            format!("no counterpart{}", instead.unwrap_or_default()),
        );
    }
}

/// The LND that another program called by gRPC, over its REST API.
struct OldLnd<'a> {
    program: &'a str,
    host: Option<&'a str>,
    tls_cert: Option<&'a str>,
    macaroon: Option<PathBuf>,
    /// Whether it was asked about every payment.
    strict: bool,
}

impl OldLnd<'_> {
    /// The section for it, or for a Lightning Address where its host is not known.
    fn section(self, key: &str, notes: &mut Vec<String>) -> LightningSection {
        let Some(host) = self.host.and_then(host_of) else {
            notes.push(format!(
                "{key}: no usable host; a Lightning Address is paid instead"
            ));
            return lightning_address(None, notes);
        };
        let url = format!("https://{host}:{REST_PORT}");
        notes.push(format!(
            "{key}: {} called LND's gRPC port, Farebox calls REST: {url} is LND's default; write its \
             `restlisten` if that is another one. `invoice.macaroon` is enough to be paid; `farebox \
             doctor` says what yours allows beyond that",
            self.program
        ));
        let lnd = LndSection {
            api: ApiSection {
                url: Some(url),
                tls_cert: self.tls_cert.map(PathBuf::from),
                ..ApiSection::default()
            },
            macaroon: self.macaroon.map(|file| SecretSource::File { file }),
            ..LndSection::default()
        };
        LightningSection {
            strict: self.strict,
            ..BackendKind::Lnd(lnd).into()
        }
    }
}

/// The host of `https://host:port` or `host:port`.
fn host_of(written: &str) -> Option<String> {
    let authority = written.split_once("://").map_or(written, |(_, rest)| rest);
    let authority: http::uri::Authority = authority.trim_end_matches('/').parse().ok()?;
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    plain.then(|| authority.host().to_owned())
}

/// The nearest name a route may have.
fn route_name(text: &str, place: usize) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().take(64).map(allowed).collect();
    if RouteName::parse(&name).is_ok() {
        name
    } else {
        format!("route-{}", place + 1)
    }
}
