//! TLS with own certificates, to clients and to upstreams.

use std::path::Path;

use farebox_testkit::ScriptedUpstream;
use tempfile::TempDir;

use super::{PRICE, shop};
use crate::harness::{Authority, Call, Connection, Http2, Route, Setup, TestGateway};

fn with_certificate(setup: Setup, authority: &Authority, folder: &Path) -> Setup {
    let (cert, key) = authority.issue("localhost", folder);
    let (cert, key) = (cert.display(), key.display());
    setup.section(&format!("[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\""))
}

/// A gateway that speaks TLS, with the folder of its certificate.
fn secure_shop(upstream: &ScriptedUpstream, authority: &Authority) -> (TestGateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let setup = with_certificate(shop(upstream), authority, folder.path());
    (TestGateway::start(setup), folder)
}

#[test]
fn a_call_is_sold_over_tls_in_both_versions_of_http() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let (gateway, _folder) = secure_shop(&upstream, &authority);
    let call = Call::get("/paid/a");
    let one = authority.trusting(gateway.address, &["http/1.1"]);
    let token = {
        let challenge = crate::harness::Challenge::of(&call.send(one.address).expect(402));
        let preimage = gateway.pay(&challenge.invoice);
        challenge.paid_with(preimage)
    };
    call.clone().with(&token).send(one.address).expect(200);
    let forwarded = &upstream.requests()[0];
    assert_eq!(forwarded.all("x-forwarded-proto"), ["https"]);

    let two = authority.trusting(gateway.address, &["h2"]);
    let mut client = Http2::open(two.address).unwrap();
    let again = client.send(&call.with(&token)).unwrap().expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn clear_text_on_a_tls_port_is_not_answered() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let (gateway, _folder) = secure_shop(&upstream, &authority);
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&Call::get("/paid/a")).unwrap();
    assert!(connection.read_head().is_err());
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_refused_at_the_start() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let (gateway, folder) = secure_shop(&upstream, &authority);
    let other = tempfile::tempdir().unwrap();
    authority.issue("localhost", other.path());
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    let checked = gateway.command(&["config", "check", "--insecure-test-money"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    let said = said + String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("server.tls"), "{said}");
}

/// A route to the TLS server at `port` of this machine, trusting what `ca_file` says.
fn secure_route(host: &str, port: u16, ca_file: Option<&Path>) -> Route {
    let route = Route::to("/paid", &format!("https://{host}:{port}")).msat(PRICE);
    match ca_file {
        Some(file) => route.line(&format!("ca_file = \"{}\"", file.display())),
        None => route,
    }
}

#[test]
fn an_upstream_with_a_certificate_of_an_own_authority_is_believed() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    for (alpn, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let door = authority.in_front_of(upstream.address(), "127.0.0.1", &[alpn]);
        let route = secure_route("127.0.0.1", door.address.port(), Some(&ca));
        let gateway = TestGateway::start(Setup::new().route(route));
        let call = Call::post("/paid/a", "over TLS");
        let token = gateway.buy(&call);
        let seen = gateway.send(&call.with(&token)).expect(200).json();
        assert_eq!(
            (&seen["version"], &seen["body"]),
            (&version.into(), &"over TLS".into())
        );
        assert_eq!(gateway.charged(&token), PRICE);
    }
}

#[test]
fn an_upstream_that_cannot_prove_its_name_gets_no_request_and_no_money() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let wrong_ca = Authority::new().write(elsewhere.path());
    let right = authority.in_front_of(upstream.address(), "127.0.0.1", &["http/1.1"]);
    let other_name = authority.in_front_of(upstream.address(), "api.example.com", &["http/1.1"]);
    let cases = [
        ("a wrong authority", right.address, Some(wrong_ca.as_path())),
        ("the public authorities", right.address, None),
        ("another name", other_name.address, Some(ca.as_path())),
        ("no TLS at all", upstream.address(), Some(ca.as_path())),
    ];
    for (what, address, ca) in cases {
        let route = secure_route("127.0.0.1", address.port(), ca);
        let gateway = TestGateway::start(Setup::new().route(route));
        let call = Call::get("/paid/a");
        let token = gateway.buy(&call);
        assert_eq!(gateway.send(&call.with(&token)).status, 502, "{what}");
        assert_eq!(gateway.charged(&token), 0, "{what}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_websocket_opens_through_tls_on_both_sides_though_both_speak_http_2_as_well() {
    let (upstream, authority) = (ScriptedUpstream::start().unwrap(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let door = authority.in_front_of(upstream.address(), "127.0.0.1", &["h2", "http/1.1"]);
    let route = secure_route("127.0.0.1", door.address.port(), Some(&ca)).bound_to_route();
    let setup = with_certificate(Setup::new().route(route), &authority, folder.path());
    let gateway = TestGateway::start(setup);
    let entrance = authority.trusting(gateway.address, &["http/1.1"]);
    let buy = |call: &Call| {
        let challenge = crate::harness::Challenge::of(&call.send(entrance.address).expect(402));
        let preimage = gateway.pay(&challenge.invoice);
        challenge.paid_with(preimage)
    };
    // An ordinary call first, so that a connection in HTTP/2 is at hand.
    let call = Call::get("/paid/a");
    let seen = call
        .clone()
        .with(&buy(&call))
        .send(entrance.address)
        .expect(200);
    assert_eq!(seen.json()["version"], "HTTP/2.0");

    let call = Call::websocket("/paid/upgrade");
    let token = buy(&call);
    let mut buyer = Connection::open(entrance.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    assert_eq!(buyer.read_head().unwrap().status, 101);
    buyer.write(b"ping").unwrap();
    assert_eq!(buyer.read_exactly(4).unwrap(), b"ping");
    assert_eq!(gateway.charged(&token), PRICE);
}
