//! A token as the credential of a program: a balance that many requests spend, until its holder fetches what
//! is left.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{Endpoint, Fault, TestMint};
use serde_json::json;

use super::faults::{chat, mint, models, paid, parts, pick_up, send, shop};
use super::refused::reason;
use super::with_token;
use crate::harness::{Call, Reply};

const PRICE: u64 = 1_500;

fn as_key(call: &Call, token: &str) -> Call {
    let line = format!("Bearer {token}");
    call.clone().header("Authorization", &line)
}

fn opened() -> (TestMint, ScriptedUpstream) {
    (mint(), ScriptedUpstream::start().unwrap())
}

#[test]
fn a_token_as_a_key_pays_for_many_calls_with_one_swap_and_the_rest_is_fetched_once() {
    let (mint, upstream) = opened();
    let mut gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 10_000);
    for (round, left) in ["8500", "7000", "5500"].into_iter().enumerate() {
        if round == 2 {
            gateway.restart();
        }
        let call = as_key(&Call::get("/paid/a"), &token);
        let reply = gateway.send(&call).expect(200);
        assert_eq!(reply.find("farebox-balance-msat"), Some(left));
        assert_eq!(reply.find("x-cashu"), None, "it stays a balance");
    }
    assert_eq!((upstream.total(), mint.count(Endpoint::Swap)), (3, 1));
    let headers = &upstream.requests()[0];
    assert!(headers.all("authorization").is_empty(), "it is money");
    let fetch = as_key(&Call::post("/.farebox/change", ""), &token);
    let told = gateway.send(&fetch).expect(200).json();
    assert_eq!(told, gateway.send(&fetch).expect(200).json());
    assert_eq!(
        mint.redeem(told["change"][0].as_str().unwrap()).unwrap(),
        5_500
    );
    let closed = gateway
        .send(&as_key(&Call::get("/paid/a"), &token))
        .expect(400);
    assert_eq!(reason(&closed), "used");
    assert_eq!(closed.find("farebox-change"), Some("/.farebox/change"));
    assert_eq!(gateway.trial_balance()["sum_msat"], 0);
    mint.assert_sound();
}

#[test]
fn calls_that_come_at_once_wait_for_the_swap_and_all_are_served() {
    let (mint, upstream) = opened();
    let gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 20_000);
    mint.fault(Endpoint::Swap, Fault::Hang, 1);
    let call = as_key(&Call::get("/paid/a"), &token);
    let replies = std::thread::scope(|scope| {
        let send = || gateway.send(&call);
        let sent: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        mint.wait_for(Endpoint::Swap, 1);
        mint.release();
        sent.into_iter()
            .map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    for reply in &replies {
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(mint.count(Endpoint::Swap), 1);
    let left = 20_000 - 8 * PRICE;
    let parts = parts(&gateway, &token, left, &mint);
    assert_eq!(mint.redeem(&parts[0]).unwrap(), left);
}

#[test]
fn a_balance_that_is_used_up_is_refused_without_asking_for_coins_and_what_is_left_is_fetched() {
    let (mint, upstream) = opened();
    let gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 4_000);
    let call = as_key(&Call::get("/paid/a"), &token);
    for _ in 0..2 {
        gateway.send(&call).expect(200);
    }
    let refused = gateway.send(&call).expect(402);
    assert_eq!(reason(&refused), "used_up");
    assert_eq!(refused.find("x-cashu"), None);
    let parts = parts(&gateway, &token, 1_000, &mint);
    assert_eq!(mint.redeem(&parts[0]).unwrap(), 1_000);
}

#[test]
fn answers_at_a_price_by_use_are_taken_off_a_balance_as_they_end() {
    let (mint, upstream) = opened();
    let gateway = models(&mint, &upstream);
    let token = mint.token("msat", 40_000);
    let charged =
        |reply: &Reply| -> u64 { reply.find("farebox-charge-msat").unwrap().parse().unwrap() };
    let first = gateway.send(&as_key(&chat(100), &token)).expect(200);
    // As Anthropic's programs send it.
    let second = gateway
        .send(&chat(30_000).header("X-Api-Key", &token))
        .expect(200);
    let left = 40_000 - charged(&first) - charged(&second);
    assert!(left < 40_000);
    let parts = parts(&gateway, &token, left, &mint);
    assert_eq!(mint.redeem(&parts[0]).unwrap(), left);
}

#[test]
fn a_retry_with_the_same_idempotency_key_is_charged_once() {
    let (mint, upstream) = opened();
    let replay = "replay = { max_bytes = \"64KiB\", ttl = \"10m\" }";
    let gateway = shop(&[&mint], paid(&upstream).line(replay));
    let token = mint.token("msat", 10_000);
    let call =
        as_key(&Call::get("/paid/a"), &token).header("Idempotency-Key", "k-0123456789abcdef");
    gateway.send(&call).expect(200);
    let again = gateway.send(&call).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    assert_eq!(upstream.total(), 1);
    parts(&gateway, &token, 10_000 - PRICE, &mint);
}

#[test]
fn the_same_token_in_the_other_header_spends_the_balance_and_takes_the_rest_out() {
    let (mint, upstream) = opened();
    let gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 10_000);
    gateway
        .send(&as_key(&Call::get("/paid/a"), &token))
        .expect(200);
    let last = send(&gateway, &with_token(&Call::get("/paid/b"), &token)).expect(200);
    let change = last.find("x-cashu").expect("change");
    assert_eq!(mint.redeem(change).unwrap(), 10_000 - 2 * PRICE);
    let told = pick_up(&gateway, &token).expect(200).json();
    assert_eq!(told["change"], json!([change]));
    let closed = gateway.send(&as_key(&Call::get("/paid/c"), &token));
    assert_eq!(reason(&closed.expect(400)), "used");
}

#[test]
fn two_credentials_are_one_too_many_and_neither_is_touched() {
    let (mint, upstream) = opened();
    let gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 10_000);
    let call = as_key(&Call::get("/paid/a"), &token);
    for both in [
        with_token(&call, &token),
        call.clone().header("X-Api-Key", &token),
        call.clone().header("Authorization", "Basic YTpi"),
    ] {
        assert_eq!(reason(&gateway.send(&both).expect(400)), "ambiguous");
    }
    assert_eq!((upstream.total(), mint.count(Endpoint::Swap)), (0, 0));
    gateway.send(&call).expect(200);
}
