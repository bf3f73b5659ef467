//! A mint that fails, a client that leaves, a configuration that changes: nobody's money is lost by it, and
//! nobody gets more than he paid for.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{Endpoint, Fault, MintOptions, Reply as MintReply, TestMint};
use serde_json::json;

use super::refused::reason;
use super::{change, with_token};
use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;
/// A model of which a token costs an msat.
pub(super) const MODEL: &str = "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = 1\n\
     output = 1\ncontext_tokens = 100000\nmax_output_tokens = 50000";

pub(super) fn mint() -> TestMint {
    TestMint::start(MintOptions::default()).unwrap()
}

pub(super) fn section(mint: &TestMint, more: &str) -> String {
    format!("[[mint]]\nurl = \"{}\"\n{more}", mint.url())
}

pub(super) fn paid(upstream: &ScriptedUpstream) -> Route {
    let route = Route::at("/paid", upstream).msat(PRICE);
    route.line("methods = [\"cashu\"]")
}

pub(super) fn shop(mints: &[&TestMint], route: Route) -> TestGateway {
    let mut setup = Setup::new().without_lightning();
    for mint in mints {
        setup = setup.section(&section(mint, ""));
    }
    TestGateway::start(setup.route(route))
}

/// A seller of answers at a price by use: a token of the model costs an msat.
pub(super) fn models(mint: &TestMint, upstream: &ScriptedUpstream) -> TestGateway {
    let route = Route::at("/v1", upstream)
        .line("price = { model_tokens = { tokenizer = \"bytes\" } }")
        .line("methods = [\"cashu\"]");
    let setup = Setup::new().without_lightning().section(MODEL);
    TestGateway::start(setup.section(&section(mint, "")).route(route))
}

pub(super) fn chat(max_tokens: u64) -> Call {
    let body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": max_tokens
    });
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

pub(super) fn pick_up(gateway: &TestGateway, token: &str) -> Reply {
    gateway.send(&with_token(&Call::post("/.farebox/change", ""), token))
}

/// All parts of the change, as soon as nothing is held any more.
#[track_caller]
pub(super) fn parts(
    gateway: &TestGateway,
    token: &str,
    wanted: u64,
    mint: &TestMint,
) -> Vec<String> {
    let read = || {
        let told = pick_up(gateway, token);
        let parts = told.json()["change"].clone();
        let parts: Vec<String> = serde_json::from_value(parts).unwrap_or_default();
        let worth = parts
            .iter()
            .map(|part| mint.value_of(part).unwrap())
            .sum::<u64>();
        (parts, worth)
    };
    let (parts, worth) = eventually(read, |(_, worth)| *worth == wanted);
    assert_eq!(worth, wanted);
    parts
}

/// Sends a call and goes, while the mint has not answered its swap; then the mint does.
fn leave_at_the_mint(gateway: &TestGateway, mint: &TestMint, call: &Call) {
    let before = mint.count(Endpoint::Swap);
    mint.fault(Endpoint::Swap, Fault::Delay, 1);
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(call).unwrap();
    mint.wait_for(Endpoint::Swap, before + 1);
    drop(client);
    mint.release();
}

/// Sends it until it is neither in flight nor waits for the mint.
#[track_caller]
pub(super) fn send(gateway: &TestGateway, call: &Call) -> Reply {
    let wait = |reply: &Reply| !matches!(reply.status, 409 | 425 | 503);
    eventually(|| gateway.send(call), wait)
}

#[test]
fn a_call_that_was_given_up_may_be_followed_by_a_dearer_or_cheaper_one_and_all_change_is_given() {
    const SENT: u64 = 40_000;
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = models(&mint, &upstream);
    for (first, second) in [(20, 20_000), (20_000, 20), (7, 39_000), (1_000, 1_001)] {
        let token = mint.token("msat", SENT);
        leave_at_the_mint(&gateway, &mint, &with_token(&chat(first), &token));
        let reply = send(&gateway, &with_token(&chat(second), &token)).expect(200);
        let charged: u64 = reply.find("farebox-charge-msat").unwrap().parse().unwrap();
        assert!(charged > 0);
        let parts = parts(&gateway, &token, SENT - charged, &mint);
        let back: u64 = parts.iter().map(|part| mint.redeem(part).unwrap()).sum();
        assert_eq!(back, SENT - charged, "{first} then {second}");
    }
    mint.assert_sound();
}

#[test]
fn a_token_that_was_sent_for_one_route_pays_on_no_other() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let other = Route::at("/other", &upstream).msat(PRICE);
    let setup = Setup::new()
        .without_lightning()
        .section(&section(&mint, ""));
    let setup = setup.route(paid(&upstream));
    let gateway = TestGateway::start(setup.route(other.line("methods = [\"cashu\"]")));
    let token = mint.token("msat", 4_000);
    leave_at_the_mint(&gateway, &mint, &with_token(&Call::get("/paid/a"), &token));
    let refused = send(&gateway, &with_token(&Call::get("/other/a"), &token)).expect(400);
    assert_eq!(reason(&refused), "used");
    assert_eq!(upstream.total(), 0);
    let parts = parts(&gateway, &token, 4_000, &mint);
    assert_eq!(mint.redeem(&parts[0]).unwrap(), 4_000);
}

#[test]
fn who_leaves_and_comes_again_with_the_change_is_charged_after_a_few_times() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream).line("max_voids = 3"));
    let mut token = mint.token("msat", 4_000);
    let mut left = 4_000;
    for round in 0..6 {
        let gate = format!("g{round}");
        let path = format!("/paid/gate/{gate}");
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(&with_token(&Call::get(&path), &token)).unwrap();
        upstream.wait_for(&path, 1);
        drop(client);
        // Until it is known that nobody waits, all is still held.
        let told = eventually(|| pick_up(&gateway, &token), |it| it.status != 425).expect(200);
        upstream.open_gate(&gate);
        let part = told.json()["change"][0].as_str().unwrap().to_owned();
        // Three times more than it was charged.
        left -= if matches!(round, 3 | 5) { PRICE } else { 0 };
        assert_eq!(mint.value_of(&part).unwrap(), left, "round {round}");
        token = part;
    }
}

#[test]
fn change_is_fetched_after_its_mint_has_gone_from_the_configuration() {
    let (mint, other) = (mint(), mint());
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = shop(&[&mint], paid(&upstream));
    let token = mint.token("msat", 4_000);
    let call = with_token(&Call::get("/paid/a"), &token);
    let told = change(&gateway.send(&call).expect(200));
    let setup = Setup::new()
        .without_lightning()
        .section(&section(&other, ""));
    gateway.reconfigure(setup.route(paid(&upstream)));
    gateway.restart();
    let fetched = pick_up(&gateway, &token).expect(200).json();
    assert_eq!(fetched, json!({ "change": [told], "unit": "msat" }));
}

#[test]
fn a_mint_that_cannot_be_reached_leaves_the_token_and_the_store_as_they_were() {
    let (mut mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let first = mint.token("msat", 4_000);
    gateway
        .send(&with_token(&Call::get("/paid/a"), &first))
        .expect(200);
    let token = mint.token("msat", 4_000);
    let call = with_token(&Call::get("/paid/b"), &token);
    mint.stop();
    let away = gateway.send(&call).expect(503);
    assert!(away.find("retry-after").is_some());
    assert_eq!(
        pick_up(&gateway, &token).expect(404).json()["reason"],
        "never_paid"
    );
    mint.start_again().unwrap();
    gateway.send(&call).expect(200);
    mint.assert_sound();
}

#[test]
fn a_mint_that_is_away_keeps_nobody_waiting_for_another() {
    let (away, mint) = (mint(), mint());
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = shop(&[&away, &mint], paid(&upstream));
    let call = |token: &str| with_token(&Call::get("/paid/a"), token);
    // They take the coins and say nothing, the one for ever.
    for mint in [&away, &mint] {
        mint.fault(Endpoint::Swap, Fault::After(MintReply::Silence), 1_000);
    }
    away.fault(
        Endpoint::CheckState,
        Fault::After(MintReply::Silence),
        1_000,
    );
    let token = mint.token("msat", 4_000);
    let mut tokens: Vec<_> = (0..8).map(|_| away.token("msat", 4_000)).collect();
    tokens.push(token.clone());
    let clients = tokens.iter().map(|token| {
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(&call(token)).unwrap();
        client
    });
    let _clients: Vec<_> = clients.collect();
    away.wait_for(Endpoint::Swap, 8);
    mint.wait_for(Endpoint::Swap, 1);
    gateway.kill();
    mint.clear_faults();
    gateway.start_again(&[]);
    let parts = parts(&gateway, &token, 4_000, &mint);
    assert_eq!(mint.redeem(&parts[0]).unwrap(), 4_000);
}

#[test]
fn tokens_that_come_at_once_do_not_exceed_what_is_held_of_a_mint() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let limit = section(&mint, "most = { msat = 10000 }");
    let setup = Setup::new().without_lightning().section(&limit);
    let gateway = TestGateway::start(setup.route(paid(&upstream)));
    let tokens: Vec<_> = (0..4).map(|_| mint.token("msat", 4_000)).collect();
    mint.fault(Endpoint::Swap, Fault::Hang, 2);
    let replies = std::thread::scope(|scope| {
        let (gateway, mint) = (&gateway, &mint);
        let call = |token: &str| with_token(&Call::get("/paid/a"), token);
        let mut sent = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            sent.push(scope.spawn(move || gateway.send(&call(token))));
            mint.wait_for(Endpoint::Swap, (at + 1).min(2));
        }
        let late: Vec<_> = sent.drain(2..).map(|it| it.join().unwrap()).collect();
        mint.release();
        let first = sent.into_iter().map(|it| it.join().unwrap());
        first.chain(late).collect::<Vec<_>>()
    });
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 503, 503]);
    assert_eq!(replies[2].json()["reason"], "exposed");
}

#[test]
fn a_keyset_that_was_retired_since_it_was_listed_costs_nobody_a_refusal() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let tokens = [mint.token("msat", 4_000), mint.token("msat", 4_000)];
    let buy = |token: &str| gateway.send(&with_token(&Call::get("/paid/a"), token));
    buy(&tokens[0]).expect(200);
    mint.rotate(1_000, false);
    let told = change(&buy(&tokens[1]).expect(200));
    assert_eq!(mint.value_of(&told).unwrap(), 4_000 - PRICE);
    assert_eq!(upstream.total(), 2);
    mint.assert_sound();
}
