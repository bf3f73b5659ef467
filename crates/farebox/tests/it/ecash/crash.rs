//! The process is killed at every named point between a token and its change. The next start loses nobody's
//! money: the same token gets the answer or its value back, and never both.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;

use super::real_mint::{Mint, Wallet};
use super::{shop, with_token};
use crate::harness::{Call, Reply, Route, TestGateway};

const SIGKILL: i32 = 9;
const PRICE: u64 = 1_500;
const SENT: u64 = 4_000;
/// What our own swap and the wallet's cost at most, at a tenth for each coin.
const MAX_FEES: u64 = 8;
const SETTLED_AT_MOST: Duration = Duration::from_secs(60);

at_each_mint! {
    a_token_gets_its_answer_or_its_value_back_wherever_the_process_dies,
}

fn points() -> impl Iterator<Item = &'static str> {
    let ledger = farebox_ledger::CRASH_POINTS.into_iter();
    let gateway = farebox_gateway::CRASH_POINTS.into_iter();
    farebox_ledger::SWAP_CRASH_POINTS
        .into_iter()
        .chain([farebox_paywall::ecash::SWAPPED])
        .chain(ledger)
        .chain(gateway)
}

/// Sends the call again until it is neither in flight nor waits for the mint.
#[track_caller]
fn settle(gateway: &TestGateway, call: &Call) -> Reply {
    let give_up_at = Instant::now() + SETTLED_AT_MOST;
    loop {
        let reply = gateway.send(call);
        if !matches!(reply.status, 409 | 425 | 503) {
            return reply;
        }
        assert!(Instant::now() < give_up_at, "{reply:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What all parts of the change of this token are worth, in the wallet.
#[track_caller]
fn fetch(gateway: &TestGateway, wallet: &Wallet, token: &str) -> u64 {
    let pick_up = with_token(&Call::post("/.farebox/change", ""), token);
    let told = settle(gateway, &pick_up).expect(200).json();
    let again = settle(gateway, &pick_up).expect(200).json();
    assert_eq!(told, again, "the same parts for ever");
    let before = wallet.balance();
    for part in told["change"].as_array().unwrap() {
        wallet.receive(part.as_str().unwrap());
    }
    wallet.balance() - before
}

#[track_caller]
fn assert_worth(back: u64, sum: u64, point: &str) {
    assert!(
        (sum - MAX_FEES..=sum).contains(&back),
        "{back} of {sum} at {point}"
    );
}

fn a_token_gets_its_answer_or_its_value_back_wherever_the_process_dies(mint: &Arc<Mint>) {
    let wallet = mint.wallet("msat", 200_000);
    for point in points() {
        let upstream = ScriptedUpstream::start().unwrap();
        let mut gateway = shop(mint, [Route::at("/paid", &upstream).msat(PRICE)]);
        gateway.stop();
        gateway.start_again(&[("FAREBOX_CRASH_AT", point)]);
        let token = wallet.send(SENT);
        let call = with_token(&Call::get("/paid/large/300000"), &token);
        // It may arrive, in part or not at all: what counts is what the next start finds.
        drop(call.try_send(gateway.address));
        let status = gateway.wait_for_exit();
        assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
        gateway.start_again(&[]);
        let reply = settle(&gateway, &call);
        let charged = match reply.status {
            200 | 410 => PRICE,
            // Its change was told before it was served, and so it pays for nothing any more.
            400 if reply.json()["reason"] == "used" => 0,
            _ => panic!("at {point}: {reply:?}"),
        };
        assert_worth(fetch(&gateway, &wallet, &token), SENT - charged, point);
        let last = gateway.send(&call);
        assert!(matches!(last.status, 400 | 410), "at {point}: {last:?}");
    }
}
