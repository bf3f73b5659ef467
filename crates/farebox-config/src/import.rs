//! Configurations of other paywalls, turned into ours.
//!
//! What has no counterpart is listed, never dropped in silence.

pub mod aperture;
pub mod lsat_proxy;
pub mod matador;

use farebox_core::RouteName;

use crate::file::{BackendKind, ConfigFile, LightningAddressSection, LightningSection};

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
