//! The same tricks over HTTP/2, where the target comes in pieces and requests share a connection.

use super::paths::{TRICKS, assert_nothing_paid_was_reached};
use super::shop;
use crate::harness::{Call, Http2, with_upstream};
use crate::rules::{Books, books_when};

#[test]
fn no_path_over_http_2_reaches_a_paid_upstream_unpaid() {
    let (upstream, gateway) = with_upstream(shop);
    let mut connection = Http2::open(gateway.address).unwrap();
    let can_be_said = |trick: &&str| trick.parse::<http::uri::PathAndQuery>().is_ok();
    for trick in TRICKS.into_iter().filter(can_be_said) {
        let status = connection.send(&Call::get(trick)).unwrap().status;
        assert!([200, 400, 402, 404].contains(&status), "{trick}: {status}");
        assert_nothing_paid_was_reached(&upstream, trick);
    }
}

#[test]
fn a_host_that_contradicts_the_authority_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    for host in [
        "other.test",
        "gateway.test:1",
        "gateway.test, other.test",
        "",
    ] {
        let mut connection = Http2::open(gateway.address).unwrap();
        let call = Call::get("/free/a").header("Host", host);
        let refused = connection.send(&call);
        assert!(
            refused.as_ref().map_or(true, |reply| reply.status == 400),
            "{host:?}: {refused:?}"
        );
    }
    let mut connection = Http2::open(gateway.address).unwrap();
    let same = Call::get("/free/a").header("Host", "gateway.test");
    assert_eq!(connection.send(&same).unwrap().status, 200);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_hundred_streams_with_one_single_use_token_reach_the_upstream_once() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let mut connection = Http2::open(gateway.address).unwrap();
    let replies = connection.start(&vec![paid; 100]).finish();
    for reply in replies {
        let status = reply.unwrap().status;
        assert!([200, 409, 410].contains(&status), "{status}");
    }
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn two_credentials_over_http_2_are_ambiguous_as_well() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let (one, other) = (gateway.buy(&call), gateway.buy(&call));
    let mut connection = Http2::open(gateway.address).unwrap();
    let both = call.clone().with(&one).with(&other);
    assert_eq!(connection.send(&both).unwrap().status, 401);
    let twice = call.with(&one).with(&one);
    assert_eq!(connection.send(&twice).unwrap().status, 200);
    assert_eq!(upstream.total(), 1);
}
