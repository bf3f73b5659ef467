//! What making a challenge costs the node, and who may ask for how many.

use farebox_testkit::ScriptedUpstream;

use super::MANY_CHALLENGES;
use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway};
use crate::parts::free_port;

fn limited(per_client: &str, total: &str) -> Setup {
    let limits = format!("per_client = \"{per_client}\"\ntotal = \"{total}\"");
    Setup::new().section(&format!("[server.challenges]\n{limits}"))
}

/// A 402 with the price and without an invoice.
#[track_caller]
fn assert_short(reply: &Reply) {
    assert_eq!(reply.status, 402, "{}", reply.text());
    assert!(reply.all("www-authenticate").is_empty(), "{reply:?}");
    assert_eq!(reply.find("cache-control"), Some("no-store"));
}

fn invoices(gateway: &TestGateway) -> i64 {
    gateway.metric("farebox_challenges_total", &[]).unwrap_or(0)
}

#[test]
fn head_and_options_make_no_invoice() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/paid", &upstream).msat(2000)));
    for method in ["HEAD", "OPTIONS"] {
        for call in [
            Call::new(method, "/paid/a"),
            Call::new(method, "/paid/a").header("Authorization", "L402 bad:bad"),
        ] {
            let reply = gateway.send(&call);
            assert_short(&reply);
            assert_eq!(reply.find("farebox-price-msat"), Some("2000"));
            assert_eq!(reply.find("farebox-methods"), Some("l402"));
        }
    }
    let options = gateway.send(&Call::new("OPTIONS", "/paid/a"));
    assert_eq!(options.json()["price_msat"], 2000);
    assert_eq!(invoices(&gateway), 0);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn the_document_of_a_challenge_carries_it_too_unless_the_route_says_no() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = |name| Route::at(name, &upstream).msat(2000);
    let quiet = route("/quiet").line("challenge_in_body = false");
    let gateway = TestGateway::start(Setup::new().route(route("/paid")).route(quiet));
    let reply = gateway.send(&Call::get("/paid/a"));
    let challenge = Challenge::of(&reply);
    let document = reply.json();
    assert_eq!(document["invoice"], challenge.invoice);
    assert_eq!(document["macaroon"], challenge.macaroon);
    assert_eq!(reply.find("farebox-price-msat"), Some("2000"));
    let document = gateway.send(&Call::get("/quiet/a")).json();
    assert!(document.get("invoice").is_none() && document.get("macaroon").is_none());
    assert_eq!(document["price_msat"], 2000);
}

#[test]
fn every_challenge_has_an_invoice_of_its_own() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().section(MANY_CHALLENGES);
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::get("/paid/a");
    let mut seen: Vec<_> = (0..50).map(|_| gateway.challenge(&call)).collect();
    let count = seen.len();
    seen.sort_by(|one, other| one.invoice.cmp(&other.invoice));
    seen.dedup_by(|one, other| one.invoice == other.invoice || one.macaroon == other.macaroon);
    assert_eq!(seen.len(), count);
    assert_eq!(invoices(&gateway), 50);
}

#[test]
fn past_its_limit_a_client_gets_a_short_402_and_payers_are_not_hit() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = limited("3/1h", "1000/1s")
        .route(Route::at("/paid", &upstream).msat(2000))
        .route(Route::at("/free", &upstream).free());
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.challenge(&call);
    // A bad credential draws on the same limit.
    gateway
        .send(&call.clone().header("Authorization", "L402 a:b"))
        .expect(401);
    for _ in 0..3 {
        let reply = gateway.send(&call);
        assert_short(&reply);
        let wait: u64 = reply.find("retry-after").unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(reply.json()["price_msat"], 2000);
    }
    assert_eq!(invoices(&gateway), 3);
    assert_eq!(
        gateway.metric("farebox_challenges_refused_total", &[]),
        Some(3)
    );
    gateway.send(&Call::get("/free/a")).expect(200);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn each_address_prefix_behind_a_trusted_proxy_has_its_own_limit() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = limited("1/1h", "1000/1s").server("trusted_proxies = [\"127.0.0.1/32\"]");
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let from = |address: &str| {
        let call = Call::get("/paid/a").header("X-Forwarded-For", address);
        gateway.send(&call)
    };
    for (first, neighbour) in [
        ("203.0.113.1", "203.0.113.250"),
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:1::1", "2001:db8:1:ffff::9"),
    ] {
        Challenge::of(&from(first));
        assert_short(&from(neighbour));
    }
    // What the client wrote itself stands further left and is not believed.
    assert_short(&from("192.0.2.1, 203.0.113.7"));
    assert_short(&from("garbage, 203.0.113.7"));
    Challenge::of(&from("203.0.113.7, 192.0.2.1"));
}

#[test]
fn a_stranger_gains_nothing_by_naming_other_addresses() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = limited("1/1h", "1000/1s");
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    Challenge::of(&gateway.send(&Call::get("/paid/a")));
    for name in [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "CF-Connecting-IP",
    ] {
        let call = Call::get("/paid/a").header(name, "203.0.113.9");
        assert_short(&gateway.send(&call));
    }
}

#[test]
fn all_clients_together_have_a_limit_too() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = limited("10/1h", "2/1h").server("trusted_proxies = [\"127.0.0.1/32\"]");
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let from = |client: u8| {
        let address = format!("203.0.{client}.1");
        gateway.send(&Call::get("/paid/a").header("X-Forwarded-For", &address))
    };
    for client in 0..2 {
        Challenge::of(&from(client));
    }
    assert_short(&from(3));
    assert_eq!(invoices(&gateway), 2);
}

#[test]
fn with_the_node_away_nothing_can_be_bought_and_everything_else_goes_on() {
    let upstream = ScriptedUpstream::start().unwrap();
    let routes = |setup: Setup| {
        setup
            .route(Route::at("/paid", &upstream).msat(2000))
            .route(Route::at("/free", &upstream).free())
    };
    let mut gateway = TestGateway::start(routes(Setup::new()));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let nobody = format!("127.0.0.1:{}", free_port());
    let away = format!(
        "backend = \"lightning-address\"\naddress = \"seller@{nobody}\"\n\
         allow_hosts = [\"{nobody}\"]\ntimeout = \"2s\""
    );
    gateway.reconfigure(routes(Setup::new().lightning(&away)));
    gateway.restart();
    let reply = gateway.send(&call).expect(503);
    assert!(reply.find("retry-after").is_some(), "{reply:?}");
    assert!(reply.all("www-authenticate").is_empty());
    assert_short(&gateway.send(&Call::new("HEAD", "/paid/a")));
    gateway.send(&Call::get("/free/a")).expect(200);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.metric("farebox_node_failures_total", &[]), Some(1));
}

#[test]
fn a_legacy_line_comes_first_where_the_seller_asks_for_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().server("legacy_challenge = true");
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    let lines = reply.all("www-authenticate");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("LSAT macaroon=\"") && lines[1].starts_with("L402 macaroon=\""));
    let challenge = Challenge::of(&reply);
    assert!(
        lines[0].contains(&challenge.invoice),
        "one invoice in both lines"
    );
}
