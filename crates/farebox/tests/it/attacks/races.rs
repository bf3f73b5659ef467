//! Many requests with one token at the same moment.

use std::collections::BTreeMap;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};
use crate::rules::{Books, MANY_CHALLENGES, account_when, books_when};

const THREADS: usize = 4;

/// Sends `count` copies of `call`, each on a connection of its own, all before any answer is read.
fn volley(gateway: &TestGateway, call: &Call, count: usize) -> Vec<Reply> {
    let share = |thread: usize| count / THREADS + usize::from(thread < count % THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let open = |_| Connection::open(gateway.address).unwrap();
                    let mut all: Vec<_> = (0..share(thread)).map(open).collect();
                    for connection in &mut all {
                        connection.send(call).unwrap();
                    }
                    let read = |c: &mut Connection| c.read_reply(&call.method).unwrap();
                    all.iter_mut().map(read).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn tally(replies: &[Reply]) -> BTreeMap<u16, usize> {
    let mut tally = BTreeMap::new();
    for reply in replies {
        *tally.entry(reply.status).or_default() += 1;
    }
    tally
}

#[test]
fn a_hundred_uses_of_a_single_use_token_reach_the_upstream_once() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().section(MANY_CHALLENGES);
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::get("/paid/a?b=c");
    let token = gateway.buy(&call);
    let replies = volley(&gateway, &call.clone().with(&token), 100);
    assert_eq!(upstream.total(), 1);
    let served = |reply: &&Reply| reply.status == 200;
    let originals = replies.iter().filter(served);
    let originals = originals.filter(|reply| reply.all("farebox-replayed").is_empty());
    assert_eq!(originals.count(), 1, "{:?}", tally(&replies));
    let bodies = replies.iter().filter(served).map(Reply::text);
    assert!(
        bodies
            .collect::<Vec<_>>()
            .windows(2)
            .all(|pair| pair[0] == pair[1])
    );
    for reply in &replies {
        let known = [200, 409, 410].contains(&reply.status);
        assert!(known, "{:?}: {}", tally(&replies), reply.text());
        assert!(reply.all("www-authenticate").is_empty(), "{}", reply.status);
        assert!(reply.status != 409 || reply.find("retry-after").is_some());
    }
    let again = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn a_hundred_first_uses_of_slow_single_use_tokens_wait_for_the_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::get("/paid/gate/g");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let mut first = Connection::open(gateway.address).unwrap();
    first.send(&paid).unwrap();
    upstream.wait_for("/paid/gate/g", 1);
    for reply in volley(&gateway, &paid, 99) {
        assert_eq!(reply.expect(409).find("retry-after"), Some("1"));
    }
    upstream.open_gate("g");
    assert_eq!(first.read_reply("GET").unwrap().status, 200);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_thousand_uses_of_fifty_calls_reach_the_upstream_exactly_fifty_times() {
    let upstream = ScriptedUpstream::start().unwrap();
    // Past the usual limit the 402 of a used-up token is short and costs the node nothing.
    let gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(2000).calls(50)));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let replies = volley(&gateway, &paid, 1000);
    let tallied = tally(&replies);
    assert_eq!(tallied.get(&200), Some(&50), "{tallied:?}");
    assert!(
        tallied
            .keys()
            .all(|status| [200, 402, 429].contains(status)),
        "{tallied:?}"
    );
    for reply in replies.iter().filter(|reply| reply.status == 429) {
        assert!(reply.find("retry-after").is_some() && reply.all("www-authenticate").is_empty());
    }
    assert_eq!(upstream.total(), 50);
    account_when(&gateway, &token, |account| account["calls_used"] == 50);
    let retried = tally(&volley(&gateway, &paid, 950));
    assert_eq!(retried, BTreeMap::from([(402, 950)]));
    assert_eq!(upstream.total(), 50);
    books_when(&gateway, &Books::settled(100_000, 100_000));
}

#[test]
fn while_all_calls_are_held_nobody_is_asked_to_pay_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(2001).calls(20)));
    let call = Call::get("/calls/gate/g");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let mut held: Vec<_> = (0..20)
        .map(|_| Connection::open(gateway.address).unwrap())
        .collect();
    for connection in &mut held {
        connection.send(&paid).unwrap();
    }
    upstream.wait_for("/calls/gate/g", 20);
    books_when(
        &gateway,
        &Books {
            paid_in: 40_020,
            charged: 0,
            held: 40_020,
            left: 0,
        },
    );
    assert_eq!(
        tally(&volley(&gateway, &paid, 180)),
        BTreeMap::from([(429, 180)])
    );
    upstream.open_gate("g");
    for connection in &mut held {
        assert_eq!(connection.read_reply("GET").unwrap().status, 200);
    }
    account_when(&gateway, &token, |account| account["calls_used"] == 20);
    assert_eq!(gateway.send(&paid).status, 402);
    assert_eq!(upstream.total(), 20);
    books_when(&gateway, &Books::settled(40_020, 40_020));
}

#[test]
fn racing_draws_never_overdraw_a_balance() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/balance", &upstream).msat(3000);
    let route = route.line("balance = { msat = 100000 }");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/balance/a");
    let token = gateway.buy(&call);
    let replies = volley(&gateway, &call.with(&token), 200);
    let tallied = tally(&replies);
    assert_eq!(tallied.get(&200), Some(&33), "{tallied:?}");
    assert_eq!(upstream.total(), 33);
    // 1,000 msat buy no further call and stay the payer's.
    books_when(&gateway, &Books::settled(100_000, 99_000));
}

#[test]
fn racing_failures_give_every_call_back() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(10)));
    let token = gateway.buy(&Call::get("/calls/a"));
    let failing = Call::get("/calls/status/503").with(&token);
    let tallied = tally(&volley(&gateway, &failing, 60));
    assert!(
        tallied.keys().all(|status| [429, 503].contains(status)),
        "{tallied:?}"
    );
    books_when(&gateway, &Books::settled(10_000, 0));
    for left in (0..10).rev() {
        let reply = gateway
            .send(&Call::get("/calls/a").with(&token))
            .expect(200);
        assert_eq!(reply.find("farebox-calls-left"), Some(&*left.to_string()));
    }
    books_when(&gateway, &Books::settled(10_000, 10_000));
}

#[test]
fn racing_retries_under_one_idempotency_key_are_one_sale() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(10)));
    let call = Call::post("/calls/a", "order").header("Idempotency-Key", "k1");
    let token = gateway.buy(&call);
    let replies = volley(&gateway, &call.with(&token), 100);
    let tallied = tally(&replies);
    assert!(
        tallied
            .keys()
            .all(|status| [200, 409, 410].contains(status)),
        "{tallied:?}"
    );
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(10_000, 1000));
}

#[test]
fn racing_first_uses_of_a_pass_are_one_payment() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/pass", &upstream)
        .msat(5000)
        .line("pass = \"1h\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/pass/a");
    let token = gateway.buy(&call);
    let replies = volley(&gateway, &call.clone().with(&token), 100);
    assert_eq!(tally(&replies), BTreeMap::from([(200, 100)]));
    let ends: Vec<_> = replies
        .iter()
        .map(|reply| reply.find("farebox-expires"))
        .collect();
    books_when(&gateway, &Books::settled(5000, 5000));
    // It runs since one of them, whichever was charged first.
    let running = gateway.send(&call.with(&token)).expect(200);
    assert!(ends.iter().all(Option::is_some), "{ends:?}");
    assert!(ends.contains(&running.find("farebox-expires")), "{ends:?}");
}
