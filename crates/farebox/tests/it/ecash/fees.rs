//! What a mint takes for a swap is the payer's, and the rest is exact to the last coin.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{Coins, Endpoint, MintOptions, TestMint};
use rustix::process::Signal;
use serde_json::json;

use super::faults::{paid, pick_up, section, shop};
use super::refused::reason;
use super::{change, with_token};
use crate::harness::{Call, Route, Setup, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;

/// What the seller has of a unit that nobody else has a claim on, in the unit.
fn free(gateway: &TestGateway, unit: &str) -> u64 {
    let all = gateway.admin(Call::get("/admin/v1/ecash")).expect(200);
    let all = all.json()["stock"].clone();
    let shelves = all.as_array().unwrap().iter();
    let mut of_unit = shelves.filter(|shelf| shelf["unit"] == unit);
    let free = of_unit.next().unwrap()["free_msat"].as_u64().unwrap();
    if unit == "sat" { free / 1000 } else { free }
}

#[test]
fn what_comes_back_is_what_was_sent_less_fee_and_charge_at_every_fee_in_every_unit() {
    let upstream = ScriptedUpstream::start().unwrap();
    for ppk in [0_u64, 100, 1000] {
        let mint = TestMint::start(MintOptions::with_fee(ppk)).unwrap();
        let gateway = shop(&[&mint], paid(&upstream));
        // A price of one and a half satoshis takes two of them.
        for (unit, sent, price) in [("msat", 7_777, PRICE), ("sat", 61, 2)] {
            let mut earned = 0;
            for (path, status, charged) in [("/paid/a", 200, price), ("/paid/status/500", 500, 0)] {
                let coins = mint.make(&Coins::worth(unit, sent));
                let fee = (coins.len() as u64 * ppk).div_ceil(1000);
                let before = mint.fees(unit);
                let token = mint.wrap(coins);
                let call = with_token(&Call::get(path), &token);
                let told = change(&gateway.send(&call).expect(status));
                assert_eq!(mint.fees(unit) - before, fee, "{unit} at {ppk}");
                let fetched = pick_up(&gateway, &token).expect(200).json();
                assert_eq!(fetched, json!({ "change": [told], "unit": unit }));
                let back = mint.redeem(&told).unwrap();
                assert_eq!(back, sent - fee - charged, "{unit} at {ppk}, {status}");
                earned += charged;
            }
            assert_eq!(mint.outstanding(unit), earned, "{unit} at {ppk}");
            assert_eq!(
                eventually(|| free(&gateway, unit), |it| *it == earned),
                earned
            );
        }
        let trial = gateway.trial_balance();
        assert_eq!(trial["sum_msat"], 0, "{trial}");
        mint.assert_sound();
    }
}

#[test]
fn a_token_of_many_coins_pays_for_each_of_them() {
    const COINS: usize = 80;
    let upstream = ScriptedUpstream::start().unwrap();
    let mint = TestMint::start(MintOptions::with_fee(100)).unwrap();
    let gateway = shop(&[&mint], paid(&upstream));
    let coins = Coins::of("msat", &[64; COINS]).without_dleq();
    let token = mint.wrap(mint.make(&coins));
    let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
    let back = mint.redeem(&change(&reply.expect(200))).unwrap();
    assert_eq!(back, 64 * COINS as u64 - 8 - PRICE);
    mint.assert_sound();
}

#[test]
fn coins_that_are_worth_no_more_than_their_fee_are_refused_unspent_and_the_least_is_named() {
    let upstream = ScriptedUpstream::start().unwrap();
    for (ppk, amounts, fee) in [
        (1000, vec![1], 1),
        (1000, vec![1; 20], 20),
        (2000, vec![1; 3], 6),
        // Worth one more than it costs, and less than the price.
        (1000, vec![2], 1),
    ] {
        let mint = TestMint::start(MintOptions::with_fee(ppk)).unwrap();
        let gateway = shop(&[&mint], paid(&upstream));
        let token = mint.wrap(mint.make(&Coins::of("msat", &amounts)));
        let refused = gateway.send(&with_token(&Call::get("/paid/a"), &token));
        let refused = refused.expect(400);
        assert_eq!(reason(&refused), "too_little");
        let told = refused.json();
        let (face, detail) = (
            amounts.iter().sum::<u64>(),
            told["detail"].as_str().unwrap(),
        );
        let least = (fee >= face).then(|| format!("at least {} more", fee - face + 1));
        assert!(detail.contains(&least.unwrap_or_default()), "{told}");
        assert_eq!(mint.count(Endpoint::Swap), 0);
        assert_eq!(mint.value_of(&token).unwrap(), face);
        assert_eq!(reason(&pick_up(&gateway, &token).expect(404)), "never_paid");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_rate_that_moves_after_the_price_was_told_costs_nobody_more_than_he_sent() {
    let (mint, upstream) = (super::faults::mint(), ScriptedUpstream::start().unwrap());
    let at_rate = |dollars: &str| {
        let route = Route::at("/paid", &upstream)
            .line("price = { usd = \"0.002\" }")
            .line("methods = [\"cashu\"]");
        let setup = Setup::new().without_lightning();
        let setup = setup.section(&section(&mint, ""));
        let rate = format!("[rates.fixed]\nusd = \"{dollars}\"");
        setup.section(&rate).route(route)
    };
    let mut gateway = TestGateway::start(at_rate("100000"));
    let price = |gateway: &TestGateway| {
        let asked = gateway.send(&Call::get("/paid/a")).expect(402).json();
        asked["price_msat"].as_u64().unwrap()
    };
    let move_to = |gateway: &mut TestGateway, dollars: &str, wanted: u64| {
        gateway.reconfigure(at_rate(dollars));
        gateway.signal(Signal::HUP);
        assert_eq!(eventually(|| price(gateway), |it| *it == wanted), wanted);
    };
    let told = price(&gateway);
    assert_eq!(told, 2_000);
    // Cheaper now: the difference is change.
    let token = mint.token("msat", told);
    move_to(&mut gateway, "200000", 1_000);
    let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
    assert_eq!(mint.redeem(&change(&reply.expect(200))).unwrap(), 1_000);
    // Dearer now: for what was told the call is made, or nothing is touched and the price of now pays.
    let token = mint.token("msat", 1_000);
    move_to(&mut gateway, "100000", 2_000);
    let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
    if reply.status == 200 {
        assert_eq!(reply.find("x-cashu"), None);
        return;
    }
    let refused = reply.expect(400);
    assert_eq!(
        (reason(&refused), &refused.json()["needed"]),
        ("too_little".to_owned(), &2_000.into())
    );
    assert_eq!(mint.value_of(&token).unwrap(), 1_000);
    let more = mint.token("msat", 2_000);
    gateway
        .send(&with_token(&Call::get("/paid/a"), &more))
        .expect(200);
    assert_eq!(upstream.total(), 2);
}
