//! What was imported from another paywall sells what that one sold: its configuration is turned into
//! ours by the binary, test money is put in the place of the node, and calls are bought.

use std::path::Path;

use farebox_testkit::ScriptedUpstream;
use toml::Table;

use crate::harness::{Call, Challenge, Setup, TestGateway, farebox, with_upstream};

fn aperture(upstream: &ScriptedUpstream) -> String {
    let address = upstream.url().replace("http://", "");
    format!(
        r#"
listenaddr: "localhost:8081"
insecure: true
authenticator: {{ network: regtest, lndhost: "localhost:10009", tlspath: t, macdir: m }}
services:
  - name: first
    hostregexp: '^api\.example\.com$'
    pathregexp: '^/svc/.*$'
    address: "{address}"
    protocol: http
    rewrite: {{ prefix: "/inner" }}
    headers: {{ X-Inner: "!file+hex:/nowhere" }}
    timeout: 3600
    price: 2
    authwhitelistpaths: ['^/svc/free']
  - name: rest
    hostregexp: ".*"
    pathregexp: '^/'
    address: "{address}"
    protocol: http
    price: 5
"#
    )
}

/// Runs the import, and gives what it wrote and what it said.
fn import(folder: &Path, yaml: &str) -> (Table, String) {
    let (from, to) = (folder.join("aperture.yaml"), folder.join("imported.toml"));
    std::fs::write(&from, yaml).unwrap();
    let mut command = farebox(["config", "import", "aperture"]);
    let output = command.arg(&from).arg("-o").arg(&to).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let written = std::fs::read_to_string(&to).unwrap();
    (written.parse().unwrap(), said)
}

/// The imported file on a test's own ports, store and money.
fn setup(imported: &Table) -> Setup {
    let mut setup = Setup::new();
    let server = imported["server"].as_table().unwrap();
    for (key, value) in server.iter().filter(|(key, _)| *key != "listen") {
        setup = setup.server(&format!("{key} = {value}"));
    }
    let routes = Table::from_iter([("route".to_owned(), imported["route"].clone())]);
    setup.section(&toml::to_string(&routes).unwrap())
}

fn start(upstream: &ScriptedUpstream) -> TestGateway {
    let folder = tempfile::tempdir().unwrap();
    let (imported, _) = import(folder.path(), &aperture(upstream));
    TestGateway::start_with(setup(&imported), &[("FIRST_X_INNER", "c0ffee")])
}

fn call(target: &str) -> Call {
    Call::get(target).header("Host", "api.example.com")
}

#[test]
fn an_import_of_aperture_names_what_is_left_to_do() {
    let upstream = ScriptedUpstream::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (imported, said) = import(folder.path(), &aperture(&upstream));
    assert_eq!(imported["lightning"]["backend"].as_str(), Some("lnd"));
    assert_eq!(
        imported["server"]["listen"].as_str(),
        Some("127.0.0.1:8081")
    );
    let names = imported["route"].as_array().unwrap().iter();
    let names: Vec<_> = names.filter_map(|route| route["name"].as_str()).collect();
    assert_eq!(names, ["first-free-1", "first", "rest"]);
    for part in [
        "tokens:",
        "restlisten",
        "FIRST_X_INNER",
        "authwhitelistpaths",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn a_pass_is_sold_as_aperture_sold_it() {
    let (upstream, gateway) = with_upstream(start);
    let unpaid = gateway.send(&call("/svc/a")).expect(402);
    let lines = unpaid.all("www-authenticate");
    assert!(lines[0].starts_with("LSAT macaroon="), "{lines:?}");
    assert!(lines[1].starts_with("L402 macaroon="), "{lines:?}");
    assert_eq!(upstream.total(), 0);
    let challenge = Challenge::of(&unpaid);
    let preimage = gateway.pay(&challenge.invoice);
    let token = challenge.paid_with(preimage);
    // One payment is good for the service, as often as one likes.
    for target in ["/svc/a", "/svc/b?size=1", "/svc/a"] {
        let echo = gateway.send(&call(target).with(&token)).expect(200).json();
        assert!(echo["headers"].to_string().contains("c0ffee"), "{echo}");
        assert!(
            echo["path"].as_str().unwrap().starts_with("/inner/svc/"),
            "{echo}"
        );
    }
    assert_eq!(gateway.charged(&token), 2_000);
    let other = call("/else").with(&token);
    assert_eq!(
        gateway.send(&other).expect(402).json()["reason"],
        "wrong_route"
    );
}

#[test]
fn a_bad_credential_is_asked_to_pay_again_as_aperture_did() {
    let (upstream, gateway) = with_upstream(start);
    let mut token = gateway.buy(&call("/svc/a"));
    token.preimage = "00".repeat(32);
    let refused = gateway.send(&call("/svc/a").with(&token)).expect(402);
    assert_ne!(Challenge::of(&refused).macaroon, token.macaroon);
    let nonsense = call("/svc/a").header("Authorization", "L402 nonsense");
    Challenge::of(&gateway.send(&nonsense).expect(402));
    assert_eq!(upstream.total(), 0);
}

#[test]
fn what_was_free_is_free_and_nothing_beside_it() {
    let (upstream, gateway) = with_upstream(start);
    gateway.send(&call("/svc/free/x")).expect(200);
    for paid in [
        "/svc/x/free",
        "/svc/%66ree/../paid",
        "/svc/free/../paid",
        "/SVC/free",
    ] {
        gateway.send(&call(paid)).expect(402);
    }
    // Another host is another service, in the order in which they stood.
    let host = Call::get("/svc/free/x").header("Host", "other.example.com");
    gateway.send(&host).expect(402);
    assert_eq!(upstream.total(), 1);
}
