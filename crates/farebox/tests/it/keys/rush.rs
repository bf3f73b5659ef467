//! A thousand calls at once on a key with money for fifty.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{INPUT, PRICE, balance, bearer, buy, post, shop};
use crate::harness::{Call, Reply, TestGateway, with_upstream};

const CALLS: u64 = 1_000;
const SERVED: u64 = 50;
/// How many words one metered call is charged for, and how many bytes bound them.
const WORDS: usize = 20;
const HOLD_FOR_CHARGE: usize = 10;
/// What every prompt counts for beyond its bytes.
const OVERHEAD: usize = 64;
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// Sends every call at the same moment, each on a connection of its own. None is what got no answer.
fn rush(to: SocketAddr, call: &Call) -> Vec<Option<Reply>> {
    rush_and_count(to, call, &AtomicU64::new(0))
}

/// The same, and counts the answers as they come.
fn rush_and_count(to: SocketAddr, call: &Call, answered: &AtomicU64) -> Vec<Option<Reply>> {
    let start = Barrier::new(usize::try_from(CALLS).unwrap());
    std::thread::scope(|scope| {
        let one = || {
            start.wait();
            let reply = call.try_send(to).ok();
            answered.fetch_add(reply.is_some().into(), Ordering::Relaxed);
            reply
        };
        let threads: Vec<_> = (0..CALLS).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Nobody is offered an invoice, and who is told to wait is told so.
#[track_caller]
fn check_refusal(reply: &Reply, statuses: &[u16]) {
    assert!(
        statuses.contains(&reply.status),
        "{}: {}",
        reply.status,
        reply.text()
    );
    assert!(reply.all("www-authenticate").is_empty());
    if reply.status == 429 {
        assert!(reply.find("retry-after").is_some(), "{}", reply.text());
    }
}

/// What the operator sees of the key.
#[track_caller]
fn seen(gateway: &TestGateway, id: &str) -> (u64, u64, u64) {
    let told = gateway.admin(Call::get(&format!("/admin/v1/keys/{id}")));
    let told = told.expect(200).json();
    let number = |name: &str| told[name].as_u64().unwrap();
    (
        number("balance_msat"),
        number("held_msat"),
        number("spent_msat"),
    )
}

#[track_caller]
fn wait_until_seen(gateway: &TestGateway, id: &str, expected: (u64, u64, u64)) {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    while seen(gateway, id) != expected {
        assert!(Instant::now() < give_up_at, "{:?}", seen(gateway, id));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn assert_books(gateway: &TestGateway, route: &str, earned: u64) {
    let books = gateway.trial_balance();
    assert_eq!(books["sound"], true, "{books}");
    assert_eq!(
        books["house_msat"][format!("revenue:{route}")],
        earned,
        "{books}"
    );
}

/// The same while something else is done.
fn rush_in_background(
    to: SocketAddr,
    call: Call,
    answered: &Arc<AtomicU64>,
) -> JoinHandle<Vec<Option<Reply>>> {
    let answered = Arc::clone(answered);
    std::thread::spawn(move || rush_and_count(to, &call, &answered))
}

#[test]
fn held_as_much_as_charged_exactly_fifty_are_let_in_and_a_kill_gives_all_of_it_back() {
    let (upstream, mut gateway) = with_upstream(shop);
    let money = SERVED * PRICE;
    let bought = buy(&gateway, money);
    assert_eq!(balance(&gateway, &bought.key), money);
    let gate = bearer(Call::get("/paid/gate/one"), &bought.key);
    let answered = Arc::default();
    let rushing = rush_in_background(gateway.address, gate, &answered);
    upstream.wait_for("/paid/gate/one", 50);
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    while answered.load(Ordering::Relaxed) < CALLS - SERVED {
        assert!(Instant::now() < give_up_at, "{answered:?} were refused");
        std::thread::sleep(Duration::from_millis(5));
    }
    wait_until_seen(&gateway, &bought.id, (money, money, 0));
    // Nothing is free: whoever asks now is told to wait, and offered nothing.
    let more = bearer(Call::get("/paid/echo"), &bought.key);
    check_refusal(&gateway.send(&more), &[429]);
    gateway.kill();
    let replies = rushing.join().unwrap();
    for reply in replies.iter().flatten() {
        check_refusal(reply, &[429]);
    }
    assert_eq!(replies.iter().filter(|reply| reply.is_none()).count(), 50);
    assert_eq!(upstream.count("/paid/gate/one"), 50);
    upstream.open_gate("one");

    gateway.start_again(&[]);
    wait_until_seen(&gateway, &bought.id, (money, 0, 0));
    let replies = rush(gateway.address, &more);
    let (served, refused): (Vec<_>, Vec<_>) = replies
        .into_iter()
        .flatten()
        .partition(|reply| reply.status == 200);
    assert_eq!((served.len(), refused.len()), (50, 950));
    for reply in &refused {
        check_refusal(reply, &[402, 429]);
    }
    wait_until_seen(&gateway, &bought.id, (0, 0, money));
    check_refusal(&gateway.send(&more), &[402]);
    assert_books(&gateway, "paid", money);
}

#[test]
fn a_restart_in_the_middle_of_a_thousand_calls_changes_nothing() {
    let (upstream, mut gateway) = with_upstream(shop);
    let money = SERVED * PRICE;
    let bought = buy(&gateway, money);
    assert_eq!(balance(&gateway, &bought.key), money);
    let (to, call) = (
        gateway.address,
        bearer(Call::get("/paid/echo"), &bought.key),
    );
    let (served, paused, ready) = (AtomicU64::new(0), Barrier::new(101), AtomicBool::new(false));
    let left = AtomicU64::new(CALLS);
    let one = || {
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            // Who finds nobody, because the gateway is away at this moment, comes again.
            let reply = loop {
                if let Ok(reply) = call.try_send(to) {
                    break reply;
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            if reply.status != 200 {
                check_refusal(&reply, &[402, 429]);
            } else if served.fetch_add(1, Ordering::Relaxed) == 20 {
                ready.store(true, Ordering::Relaxed);
            }
        }
        paused.wait();
    };
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(one);
        }
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while !ready.load(Ordering::Relaxed) {
            assert!(Instant::now() < give_up_at, "nobody is served");
            std::thread::sleep(Duration::from_millis(1));
        }
        gateway.restart();
        paused.wait();
    });
    assert_eq!(served.into_inner(), SERVED);
    assert_eq!(upstream.total(), 50);
    wait_until_seen(&gateway, &bought.id, (0, 0, money));
    assert_books(&gateway, "paid", money);
}

/// A call whose bytes bound ten times as many tokens as it is charged for. No answer of it could be
/// made shorter.
fn embedding() -> Call {
    let bytes = HOLD_FOR_CHARGE * WORDS - OVERHEAD;
    let body = |last: usize| {
        let mut words = vec!["word".to_owned(); WORDS - 1];
        words.push("w".repeat(last));
        json!({ "input": words.join(" "), "model": "small" })
    };
    let short = body(1).to_string().len();
    let call = post("/v1/embeddings", &body(bytes - short + 1));
    assert_eq!(call.body.len(), bytes);
    call
}

#[test]
fn held_ten_times_what_is_charged_never_more_than_there_is_and_coming_again_reaches_fifty() {
    let (_upstream, mut gateway) = with_upstream(shop);
    let charge = INPUT * u64::try_from(WORDS).unwrap();
    let hold = charge * u64::try_from(HOLD_FOR_CHARGE).unwrap();
    // The last of fifty has to be held, too.
    let money = (SERVED - 1) * charge + hold;
    let bought = buy(&gateway, money);
    assert_eq!(balance(&gateway, &bought.key), money);
    let call = bearer(embedding(), &bought.key);

    let rushing = rush_in_background(gateway.address, call.clone(), &Arc::default());
    while !rushing.is_finished() {
        let (balance, held, spent) = seen(&gateway, &bought.id);
        assert!(held <= balance && held % hold == 0, "{held} of {balance}");
        assert_eq!(balance + spent, money);
    }
    let mut served = 0;
    for reply in rushing.join().unwrap().iter().flatten() {
        if reply.status == 200 {
            assert_eq!(reply.json()["usage"]["cost_msat"], charge);
            served += 1;
        } else {
            check_refusal(reply, &[402, 429]);
        }
    }
    assert!((1..=SERVED).contains(&served), "{served}");
    gateway.restart();
    let ended = loop {
        let reply = gateway.send(&call);
        match reply.status {
            200 => served += 1,
            429 => std::thread::sleep(Duration::from_millis(20)),
            _ => break reply,
        }
    };
    check_refusal(&ended, &[402]);
    assert_eq!(served, SERVED);
    wait_until_seen(&gateway, &bought.id, (hold - charge, 0, SERVED * charge));
    assert_books(&gateway, "v1", SERVED * charge);
}
