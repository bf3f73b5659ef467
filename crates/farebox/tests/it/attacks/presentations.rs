//! The same credential in every form that is understood, and the ones that could mean two things.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use farebox_testkit::ScriptedUpstream;

use super::{assert_refused, problem, send_raw, shop};
use crate::harness::{Call, Route, Setup, TestGateway, Token, with_upstream};

const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "macaroon",
    "grpc-metadata-macaroon",
    "x-cashu",
    "x-payment-sats",
];

/// A route whose tokens buy more calls than any test here makes.
fn many_calls(upstream: &ScriptedUpstream) -> (TestGateway, Token) {
    let route = Route::at("/calls", upstream).msat(2000).calls(50);
    let gateway = TestGateway::start(Setup::new().route(route));
    let token = gateway.buy(&Call::get("/calls/a"));
    (gateway, token)
}

fn hex_macaroon(token: &Token) -> String {
    hex::encode(token.macaroon().to_bytes())
}

fn with_preimage_inside(token: &Token) -> Token {
    token.attenuated(&format!("preimage={}", token.preimage))
}

#[test]
fn every_form_that_clients_send_is_the_same_credential() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let bytes = STANDARD.decode(&token.macaroon).unwrap();
    let (macaroon, preimage) = (&token.macaroon, &token.preimage);
    let inside = with_preimage_inside(&token).macaroon;
    let forms = [
        format!("LSAT {macaroon}:{preimage}"),
        format!("lsat {macaroon}:{preimage}"),
        format!("l402 {macaroon}:{preimage}"),
        format!("L402   {macaroon}:{preimage}"),
        format!("L402 {macaroon}:{}", preimage.to_uppercase()),
        format!("L402 {}:{preimage}", URL_SAFE.encode(&bytes)),
        format!("L402 {}:{preimage}", URL_SAFE_NO_PAD.encode(&bytes)),
        format!("L402 {inside}:{preimage}"),
        format!("L402 {inside}"),
    ];
    for (served, form) in forms.iter().enumerate() {
        let reply = gateway.send(&Call::get("/calls/a").header("Authorization", form));
        assert_eq!(reply.status, 200, "{form}: {}", reply.text());
        assert_eq!(upstream.total(), served + 1);
    }
    let left = 50 - forms.len();
    let call = Call::get("/calls/a").with(&token);
    let reply = gateway.send(&call).expect(200);
    assert_eq!(
        reply.find("farebox-calls-left"),
        Some(&*(left - 1).to_string())
    );
}

#[test]
fn a_credential_said_twice_counts_once() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let l402 = token.authorization();
    let lsat = l402.replacen("L402", "LSAT", 1);
    for second in [&l402, &lsat] {
        let call = Call::get("/calls/a").header("Authorization", second);
        gateway
            .send(&call.header("Authorization", &l402))
            .expect(200);
    }
    let call = Call::get("/calls/a").with(&token);
    let reply = gateway.send(&call).expect(200);
    assert_eq!(reply.find("farebox-calls-left"), Some("47"));
}

#[test]
fn grpc_metadata_pays_and_never_reaches_the_upstream() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let hex = hex_macaroon(&with_preimage_inside(&token));
    for name in ["Macaroon", "Grpc-Metadata-Macaroon"] {
        gateway
            .send(&Call::get("/calls/a").header(name, &hex))
            .expect(200);
    }
    let both = Call::get("/calls/a").header("Macaroon", &hex);
    gateway
        .send(&both.header("Grpc-Metadata-Macaroon", &hex))
        .expect(200);
    for request in upstream.requests() {
        for name in SECRET_HEADERS {
            assert!(request.all(name).is_empty(), "{name}: {request:?}");
        }
    }
}

#[test]
fn a_request_with_two_credentials_is_refused_and_uses_neither() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let other = gateway.buy(&Call::get("/calls/a"));
    let inside = with_preimage_inside(&token);
    let (hex, other_hex) = (
        hex_macaroon(&inside),
        hex_macaroon(&with_preimage_inside(&other)),
    );
    let call = || Call::get("/calls/a");
    let two_lines = call().with(&token).with(&other);
    for ambiguous in [
        two_lines,
        call().with(&token).with(&token.attenuated("count=2")),
        call().with(&token).header("Authorization", "Bearer key"),
        call().header("Authorization", "Basic dTpw").with(&token),
        call().with(&token).header("Macaroon", &hex),
        call().with(&inside).header("Macaroon", &hex),
        call()
            .header("Authorization", "Bearer key")
            .header("Macaroon", &hex),
        call()
            .header("Macaroon", &hex)
            .header("Macaroon", &other_hex),
        call()
            .header("Macaroon", &hex)
            .header("Grpc-Metadata-Macaroon", &other_hex),
    ] {
        let reply = gateway.send(&ambiguous).expect(401);
        assert_eq!(problem(&reply), "credential-ambiguous", "{ambiguous:?}");
    }
    assert_eq!(upstream.total(), 0);
    for token in [token, other] {
        let reply = gateway.send(&call().with(&token)).expect(200);
        assert_eq!(reply.find("farebox-calls-left"), Some("49"));
    }
}

#[test]
fn an_empty_first_line_does_not_hide_the_second() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    for nothing in ["", " ", "L402", "L402 ", ":", "Bearer"] {
        let call = Call::get("/calls/a").header("Authorization", nothing);
        assert_refused(&gateway, &upstream, &call.clone().with(&token), 401);
        // What is not even our scheme is no malformed credential of ours, only none.
        let alone = if matches!(nothing, ":" | "Bearer") {
            402
        } else {
            401
        };
        assert_refused(&gateway, &upstream, &call, alone);
    }
}

#[test]
fn several_macaroons_in_one_credential_are_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let (macaroon, preimage) = (&token.macaroon, &token.preimage);
    for text in [
        format!("L402 {macaroon},{macaroon}:{preimage}"),
        format!("L402 {macaroon}:{preimage}, L402 {macaroon}:{preimage}"),
        format!("L402 {macaroon}:{preimage},{macaroon}:{preimage}"),
    ] {
        let call = Call::get("/calls/a").header("Authorization", &text);
        assert_refused(&gateway, &upstream, &call, 401);
    }
}

#[test]
fn a_credential_with_other_characters_than_its_own_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = many_calls(&upstream);
    let (macaroon, preimage) = (&token.macaroon, &token.preimage);
    let (head, tail) = macaroon.split_at(8);
    for text in [
        format!("L402 {head} {tail}:{preimage}"),
        format!("L402 {head}\t{tail}:{preimage}"),
        format!("L402\t{macaroon}:{preimage}"),
        format!("L402 {macaroon}: {preimage}"),
        format!("L402 {macaroon}==:{preimage}"),
        format!("L402 {head}-_+/{tail}:{preimage}"),
        format!("L402 \"{macaroon}\":{preimage}"),
        format!("L402 macaroon=\"{macaroon}\", preimage=\"{preimage}\""),
        format!("L402 {macaroon}:{preimage}\u{e9}"),
        format!("L402{macaroon}:{preimage}"),
        format!("L402 {}:{preimage}", "A".repeat(9000)),
    ] {
        let reply = gateway.send(&Call::get("/calls/a").header("Authorization", &text));
        // Another scheme's name proves nothing and is nothing: an ordinary challenge.
        let unknown_scheme = text.starts_with("L402A") && reply.status == 402;
        assert!(
            reply.status == 401 || unknown_scheme,
            "{text}: {}",
            reply.text()
        );
    }
    for control in ["\0", "\u{1}", "\u{7f}", "\u{b}"] {
        let line = format!("L402 {macaroon}:{preimage}{control}");
        let call = Call::get("/calls/a").header("Authorization", &line);
        let reply = send_raw(gateway.address, call.head().as_bytes());
        let status = reply.map_or(0, |reply| reply.status);
        assert!([0, 400, 401].contains(&status), "{control:?}: {status}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_scheme_that_pays_for_nothing_is_no_credential() {
    let (upstream, gateway) = with_upstream(shop);
    for text in ["Bearer sk-123", "Basic dTpw", "Negotiate", "L4022 a:b"] {
        let call = Call::get("/paid/a").header("Authorization", text);
        let reply = gateway.send(&call).expect(402);
        assert_eq!(problem(&reply), "payment-required", "{text}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn bad_credentials_are_402_where_the_seller_asks_for_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().server("bad_credential = 402");
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let wrong = Token {
        preimage: "00".repeat(32),
        ..token.clone()
    };
    for bad in [
        call.clone().with(&wrong),
        call.clone().with(&token.attenuated("unknown=1")),
        call.clone().header("Authorization", "L402 nonsense"),
        call.with(&token).with(&wrong),
    ] {
        let reply = gateway.send(&bad).expect(402);
        assert_eq!(reply.all("www-authenticate").len(), 1);
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_free_route_passes_on_what_is_not_payment_and_keeps_what_is() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::get("/paid/a"));
    let login = Call::get("/free/a").header("Authorization", "Basic dTpw");
    gateway.send(&login).expect(200);
    assert_eq!(upstream.requests()[0].all("authorization"), ["Basic dTpw"]);
    let careless = Call::get("/free/a").header("X-Cashu", "cashuAsecret");
    gateway.send(&careless.with(&token)).expect(200);
    for name in SECRET_HEADERS {
        assert!(upstream.requests()[1].all(name).is_empty(), "{name}");
    }
}
