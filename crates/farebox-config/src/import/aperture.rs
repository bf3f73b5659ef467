//! Aperture's `aperture.yaml`: services by regular expressions of host and path, and tokens that
//! are good for any number of requests until they time out.
//!
//! The first service that matches takes a request there, so all paths become regexes, which keep
//! their order here as well. Values of settings without a counterpart are not shown: there are
//! passwords among them.

mod pattern;
mod service;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use yaml_rust2::{Yaml, YamlLoader};

use super::{ImportError, Imported, OldLnd, note_rest};
use crate::choice::{Free, PriceSetting};
use crate::file::{ConfigFile, LightningSection, NetworkSetting, ServerSection, TlsSection};

/// What Aperture needs of LND's macaroons.
const MACAROON: &str = "invoice.macaroon";
/// What Aperture answers whenever it was not paid.
const PAYMENT_REQUIRED: u16 = 402;

/// Settings that are turned into ours.
const TAKEN: [&str; 8] = [
    "listenaddr",
    "insecure",
    "autocert",
    "servername",
    "basedir",
    "strictverify",
    "authenticator",
    "services",
];

/// What stands in the place of settings that have no counterpart.
const INSTEAD: [(&str, &str); 19] = [
    ("staticroot", NO_FILES),
    ("servestatic", NO_FILES),
    ("dbbackend", OWN_STORE),
    ("sqlite", OWN_STORE),
    ("postgres", OWN_STORE),
    ("etcd", OWN_STORE),
    (
        "prometheus",
        "metrics are on the console's port, at /metrics",
    ),
    ("admin", "the admin API is on the console's port"),
    (
        "tor",
        "let an onion service of your own point at server.listen",
    ),
    ("hashmail", NO_MAILBOX),
    ("wspinginterval", NO_MAILBOX),
    ("wspongwait", NO_MAILBOX),
    ("blocklist", "block addresses in front of Farebox"),
    ("debuglevel", "see log.level"),
    ("logging", "see [log]"),
    ("idletimeout", "see server.header_timeout"),
    ("readtimeout", "see server.header_timeout"),
    ("writetimeout", "see server.write_timeout"),
    ("invoicebatchsize", "invoices are not read at the start"),
];
/// What is taken over of the node.
const OF_NODE: [&str; 5] = ["disable", "network", "lndhost", "tlspath", "macdir"];
const INSTEAD_OF_NODE: [(&str, &str); 3] = [
    ("passphrase", NO_CONNECT),
    ("mailboxaddress", NO_CONNECT),
    ("devserver", NO_CONNECT),
];
const NO_CONNECT: &str = "Lightning Node Connect is not spoken, LND is called directly";
const NO_MAILBOX: &str = "Farebox is no mailbox for Lightning Node Connect";
const NO_FILES: &str = "Farebox serves no files; put them behind a free route";
const OWN_STORE: &str = "Farebox keeps a ledger of its own, see store.url";

/// Turns an `aperture.yaml` into a configuration.
///
/// # Errors
/// [`ImportError`] when it is not one.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let documents = YamlLoader::load_from_str(text)?;
    let root = documents.first().ok_or(ImportError::NoServices)?;
    let services = root["services"].as_vec().ok_or(ImportError::NoServices)?;
    let mut notes = fixed_notes();
    note_rest(root, &TAKEN, &INSTEAD, |key, text| {
        notes.push(format!("{key}: {text}"));
    });
    let server = server(root, &mut notes);
    let authenticator = &root["authenticator"];
    let is_open = authenticator["disable"].as_bool() == Some(true);
    let mut route = service::routes(services, &mut notes);
    if is_open {
        notes.push("authenticator.disable: nobody had to pay, so every route is free".to_owned());
        for route in &mut route {
            route.price = Some(PriceSetting::Free(Free::Free));
            route.pass = None;
            route.rate = None;
        }
    }
    let strict = root["strictverify"].as_bool() == Some(true);
    let file = ConfigFile {
        server,
        lightning: (!is_open).then(|| lightning(authenticator, strict, &mut notes)),
        route,
        ..ConfigFile::default()
    };
    Ok(Imported { file, notes })
}

fn fixed_notes() -> Vec<String> {
    let note = |text: &str| text.to_owned();
    vec![
        note("tokens: those sold by Aperture are not accepted"),
        note(
            "pass: one payment buys any number of calls for some time, as with Aperture; the time \
             runs from the first call instead of from the challenge",
        ),
        note(
            "server.bad_credential, server.legacy_challenge, cors: as Aperture answered: 402 \
             whenever it was not paid, a line in the LSAT scheme first, pages of every origin",
        ),
    ]
}

fn server(root: &Yaml, notes: &mut Vec<String>) -> ServerSection {
    let default = ServerSection::default();
    let written = root["listenaddr"].as_str().unwrap_or_default();
    let listen = listen(written).unwrap_or_else(|| {
        notes.push(format!(
            "listenaddr: no address and port; {} instead",
            default.listen
        ));
        default.listen
    });
    ServerSection {
        listen,
        tls: tls(root, notes),
        bad_credential: PAYMENT_REQUIRED,
        legacy_challenge: true,
        ..default
    }
}

/// `host:port` as Go reads it: without a host all addresses.
fn listen(written: &str) -> Option<SocketAddr> {
    let (host, port) = written.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match host {
        "" => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        "localhost" => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ => written.parse().ok(),
    }
}

/// The certificate that Aperture made for itself, where it is known to be.
fn tls(root: &Yaml, notes: &mut Vec<String>) -> Option<TlsSection> {
    let is_on = |key: &str| root[key].as_bool() == Some(true);
    if is_on("insecure") {
        return None;
    }
    let folder = root["basedir"].as_str().map(PathBuf::from);
    let folder = folder.filter(|_| !is_on("autocert"));
    if folder.is_none() {
        let reason = if is_on("autocert") {
            "autocert: Farebox fetches no certificates"
        } else {
            "insecure: Aperture spoke TLS with a certificate that it had made in its own folder"
        };
        let name = root["servername"].as_str().unwrap_or("the server");
        notes.push(format!(
            "{reason}; the result listens in clear: name the certificate of {name} under \
             [server.tls], or let a proxy in front speak TLS"
        ));
    }
    folder.map(|folder| TlsSection {
        cert: folder.join("tls.cert"),
        key: folder.join("tls.key"),
    })
}

/// The same node, over its REST API.
fn lightning(node: &Yaml, strict: bool, notes: &mut Vec<String>) -> LightningSection {
    note_rest(node, &OF_NODE, &INSTEAD_OF_NODE, |key, text| {
        notes.push(format!("authenticator.{key}: {text}"));
    });
    let folder = node["macdir"].as_str().map(PathBuf::from);
    let lnd = OldLnd {
        program: "Aperture",
        host: node["lndhost"].as_str(),
        tls_cert: node["tlspath"].as_str(),
        macaroon: folder.map(|folder| folder.join(MACAROON)),
        strict,
    };
    LightningSection {
        network: network(node["network"].as_str(), notes),
        ..lnd.section("authenticator", notes)
    }
}

fn network(written: Option<&str>, notes: &mut Vec<String>) -> NetworkSetting {
    match written {
        None | Some("mainnet") => NetworkSetting::Mainnet,
        Some("testnet") => NetworkSetting::Testnet,
        Some("signet") => NetworkSetting::Signet,
        Some("regtest") => NetworkSetting::Regtest,
        Some(_) => {
            notes.push("authenticator.network: no counterpart; mainnet instead".to_owned());
            NetworkSetting::Mainnet
        }
    }
}

#[cfg(test)]
mod tests;
