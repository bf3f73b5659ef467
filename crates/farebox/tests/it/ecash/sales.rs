//! What a token buys, and what comes back of it.

use std::sync::Arc;

use serde_json::Value;

use super::real_mint::Mint;
use super::{change, opened, shop, with_token};
use crate::harness::{Call, Route, Setup, TestGateway};

/// The fee of a mint that takes a tenth of a unit for each coin: of one to ten coins, one.
const FEE: u64 = 1;

at_each_mint! {
    a_call_is_asked_for_in_coins_beside_an_invoice,
    a_token_pays_for_one_call_and_its_change_for_the_next,
    what_is_below_a_satoshi_stays_on_the_account_of_a_token_in_satoshis,
    what_fails_costs_nothing_and_the_change_comes_under_the_name_that_was_used,
    a_retry_is_told_what_was_charged_and_the_same_change,
    a_kept_answer_comes_again_with_the_same_change,
    the_same_token_eight_times_at_once_is_served_once,
    a_route_may_take_ecash_alone_without_any_node,
    change_is_there_after_a_kill,
}

fn a_call_is_asked_for_in_coins_beside_an_invoice(mint: &Arc<Mint>) {
    let (_upstream, gateway) = opened(mint);
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    assert!(
        reply
            .find("x-cashu")
            .is_some_and(|it| it.starts_with("creqA"))
    );
    assert!(
        reply
            .find("www-authenticate")
            .is_some_and(|it| it.starts_with("L402"))
    );
    assert_eq!(reply.find("farebox-methods"), Some("l402, cashu"));
    let asked = reply.json()["ecash"].clone();
    let units: Vec<_> = asked
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["unit"])
        .collect();
    assert_eq!(units, ["msat", "sat"]);
    assert_eq!(
        (&asked[0]["amount"], &asked[1]["amount"]),
        (&1500.into(), &2.into())
    );
    assert_eq!(asked[0]["mints"], Value::from(vec![mint.url()]));
    let probe = gateway.send(&Call::new("HEAD", "/paid/a")).expect(402);
    assert_eq!(probe.find("x-cashu"), None);
}

fn a_token_pays_for_one_call_and_its_change_for_the_next(mint: &Arc<Mint>) {
    let (upstream, gateway) = opened(mint);
    let wallet = mint.wallet("msat", 20_000);
    let token = wallet.send(10_000);
    let first = gateway
        .send(&with_token(&Call::get("/paid/a"), &token))
        .expect(200);
    assert_eq!(first.find("farebox-charge-msat"), Some("1500"));
    let second = with_token(&Call::get("/paid/b"), &change(&first));
    let second = gateway.send(&second).expect(200);
    assert_eq!(upstream.total(), 2);
    assert!(
        upstream.requests()[0].all("x-cashu").is_empty(),
        "it is money"
    );
    let before = wallet.balance();
    wallet.receive(&change(&second));
    // Two calls, and three swaps, the wallet's own among them.
    let paid = 20_000 - wallet.balance();
    assert_eq!(
        paid,
        2 * 1_500 + (10_000 - 2 * 1_500 - (wallet.balance() - before))
    );
    assert!(
        (2 * 1_500 + 3 * FEE..2 * 1_500 + 6 * FEE).contains(&paid),
        "{paid}"
    );
}

fn what_is_below_a_satoshi_stays_on_the_account_of_a_token_in_satoshis(mint: &Arc<Mint>) {
    let (_upstream, gateway) = opened(mint);
    let wallet = mint.wallet("sat", 100);
    let token = wallet.send(64);
    let reply = gateway
        .send(&with_token(&Call::get("/paid/a"), &token))
        .expect(200);
    let before = wallet.balance();
    wallet.receive(&change(&reply));
    // One of the mint, two for a price of 1.5, one of the mint again.
    assert_eq!(wallet.balance() - before, 64 - FEE - 2 - FEE);
}

fn what_fails_costs_nothing_and_the_change_comes_under_the_name_that_was_used(mint: &Arc<Mint>) {
    let (_upstream, gateway) = opened(mint);
    let wallet = mint.wallet("msat", 10_000);
    let token = wallet.send(8_000);
    let call = Call::get("/paid/status/500").header("X-PAYMENT-SATS", &token);
    let reply = gateway.send(&call).expect(500);
    assert_eq!(reply.find("x-cashu"), None);
    let told = reply.find("x-change-sats").expect("change").to_owned();
    let fetched = gateway.send(&with_token(&Call::post("/.farebox/change", ""), &token));
    let fetched = fetched.expect(200).json();
    assert_eq!(fetched["change"], Value::from(vec![told.clone()]));
    assert_eq!(fetched["unit"], "msat");
    let before = wallet.balance();
    wallet.receive(&told);
    let back = wallet.balance() - before;
    assert!((8_000 - 4 * FEE..8_000).contains(&back), "{back}");
}

fn a_retry_is_told_what_was_charged_and_the_same_change(mint: &Arc<Mint>) {
    let upstream = farebox_testkit::ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(1_500);
    let gateway = shop(mint, [route.line("replay = false")]);
    let token = mint.wallet("msat", 10_000).send(4_000);
    let call = with_token(&Call::get("/paid/a"), &token);
    let first = gateway.send(&call).expect(200);
    let again = gateway.send(&call).expect(410);
    assert_eq!(again.json()["charged_msat"], 1_500);
    assert_eq!(change(&again), change(&first));
    let other = with_token(&Call::get("/paid/b"), &token);
    let other = gateway.send(&other).expect(409);
    assert_eq!(other.find("x-cashu"), None);
    assert_eq!(upstream.total(), 1);
}

fn a_kept_answer_comes_again_with_the_same_change(mint: &Arc<Mint>) {
    let upstream = farebox_testkit::ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(1_500);
    let route = route.line("replay = { max_bytes = \"64KiB\", ttl = \"10m\" }");
    let gateway = shop(mint, [route]);
    let token = mint.wallet("msat", 10_000).send(4_000);
    let call = with_token(&Call::get("/paid/a"), &token);
    let first = gateway.send(&call).expect(200);
    let again = gateway.send(&call).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    assert_eq!(change(&again), change(&first));
    assert_eq!(upstream.total(), 1);
}

fn the_same_token_eight_times_at_once_is_served_once(mint: &Arc<Mint>) {
    let (upstream, gateway) = opened(mint);
    let token = mint.wallet("msat", 10_000).send(4_000);
    let call = with_token(&Call::get("/paid/a"), &token);
    let replies = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| gateway.send(&call)))
            .collect();
        sent.into_iter()
            .map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((served, upstream.total()), (1, 1));
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert!(matches!(reply.status, 409 | 410), "{reply:?}");
    }
}

fn a_route_may_take_ecash_alone_without_any_node(mint: &Arc<Mint>) {
    let upstream = farebox_testkit::ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream)
        .msat(7)
        .line("methods = [\"cashu\"]");
    let setup = Setup::new().section(&format!("[[mint]]\nurl = \"{}\"", mint.url()));
    let gateway = TestGateway::start(setup.route(route).without_lightning());
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    assert_eq!(reply.find("www-authenticate"), None);
    assert_eq!(reply.find("farebox-methods"), Some("cashu"));
    let token = mint.wallet("msat", 100).send(64);
    gateway
        .send(&with_token(&Call::get("/paid/a"), &token))
        .expect(200);
}

fn change_is_there_after_a_kill(mint: &Arc<Mint>) {
    let (_upstream, mut gateway) = opened(mint);
    let token = mint.wallet("msat", 10_000).send(4_000);
    let call = with_token(&Call::get("/paid/a"), &token);
    let first = gateway.send(&call).expect(200);
    gateway.kill();
    gateway.start_again(&[]);
    let fetched = gateway.send(&with_token(&Call::post("/.farebox/change", ""), &token));
    assert_eq!(fetched.expect(200).json()["change"][0], change(&first));
}
