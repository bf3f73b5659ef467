//! In whatever order a holder leaves, retries and fetches: one service, or all of it as change, and what was
//! told once is told for ever.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::TestMint;
use serde_json::Value;

use super::faults::{mint, paid, pick_up, send, shop};
use super::with_token;
use crate::harness::{Call, Connection, Reply, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;
const SENT: u64 = 4_000;

/// How the first call with a token ends.
#[derive(Clone, Copy, Debug)]
enum First {
    /// Its client leaves before the answer: nothing was told to him.
    Left,
    /// The upstream fails, and the change is told with its answer.
    Failed,
    /// It is served.
    Served,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Retry,
    PickUp,
}

struct Place {
    mint: TestMint,
    upstream: ScriptedUpstream,
    gateway: TestGateway,
}

impl Place {
    fn open() -> Self {
        let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
        let route = paid(&upstream).line("max_voids = 1000");
        let gateway = shop(&[&mint], route.line("replay = false"));
        Self {
            mint,
            upstream,
            gateway,
        }
    }

    /// Makes the first call of a token, with a gate of this name; the call, and how often it was served.
    fn begin(&self, first: First, token: &str, gate: &str) -> (Call, u64) {
        let path = match first {
            First::Left => format!("/paid/gate/{gate}"),
            First::Failed => "/paid/status/500".to_owned(),
            First::Served => "/paid/a".to_owned(),
        };
        let call = with_token(&Call::get(&path), token);
        match first {
            First::Left => {
                let mut client = Connection::open(self.gateway.address).unwrap();
                client.send(&call).unwrap();
                self.upstream.wait_for(&path, 1);
                drop(client);
                let held = || self.gateway.trial_balance()["held_msat"].clone();
                assert_eq!(eventually(held, |held| *held == 0), 0);
                self.upstream.open_gate(gate);
            }
            First::Failed => drop(self.gateway.send(&call).expect(500)),
            First::Served => drop(self.gateway.send(&call).expect(200)),
        }
        (call, u64::from(matches!(first, First::Served)))
    }

    /// What a token has bought and brought back in the end, and that this is all there was.
    #[track_caller]
    fn close(&self, token: &str, served: u64, told: &[Vec<Value>]) {
        assert!(served <= 1);
        let last = fetched(&send(&self.gateway, &pick_up_of(token)).expect(200));
        for told in told {
            assert!(last.starts_with(told), "{told:?} and {last:?}");
        }
        let redeemed = last.iter().map(|it| self.mint.redeem(it.as_str().unwrap()));
        let back: u64 = redeemed.map(Result::unwrap).sum();
        assert_eq!(back + served * PRICE, SENT);
    }
}

fn pick_up_of(token: &str) -> Call {
    with_token(&Call::post("/.farebox/change", ""), token)
}

fn fetched(reply: &Reply) -> Vec<Value> {
    reply.json()["change"].as_array().unwrap().clone()
}

#[test]
fn every_order_of_retries_and_pick_ups_gives_one_service_or_all_change() {
    let place = Place::open();
    let gateway = &place.gateway;
    for first in [First::Left, First::Failed, First::Served] {
        for order in 0..16_u32 {
            let steps = (0..4).map(|bit| match order >> bit & 1 {
                0 => Step::Retry,
                _ => Step::PickUp,
            });
            let steps: Vec<_> = steps.collect();
            let token = place.mint.token("msat", SENT);
            let gate = format!("{first:?}{order}");
            let (call, mut served) = place.begin(first, &token, &gate);
            // Only who was told nothing yet may still be served.
            let may_be_served = matches!(first, First::Left) && steps[0] == Step::Retry;
            let mut told = Vec::new();
            for step in &steps {
                match step {
                    Step::Retry => {
                        let reply = send(gateway, &call);
                        served += u64::from(reply.status == 200);
                        assert!(matches!(reply.status, 200 | 400 | 410), "{reply:?}");
                        assert!(reply.find("farebox-change").is_some(), "{reply:?}");
                    }
                    Step::PickUp => {
                        let reply = send(gateway, &pick_up_of(&token));
                        told.push(fetched(&reply.expect(200)));
                    }
                }
            }
            let begun = u64::from(matches!(first, First::Served));
            assert_eq!(
                served,
                begun + u64::from(may_be_served),
                "{first:?}, {steps:?}"
            );
            place.close(&token, served, &told);
        }
    }
    assert_eq!(gateway.trial_balance()["sum_msat"], 0);
    place.mint.assert_sound();
}

#[test]
fn pick_ups_beside_retries_leave_one_service_or_all_change_and_never_both() {
    let place = Place::open();
    for round in 0..12 {
        let token = place.mint.token("msat", SENT);
        let (call, _) = place.begin(First::Left, &token, &format!("both{round}"));
        let pick_up = pick_up_of(&token);
        let replies = std::thread::scope(|scope| {
            let gateway = &place.gateway;
            let calls = [&call, &pick_up, &pick_up, &call, &pick_up, &call];
            let sent: Vec<_> = calls
                .map(|call| scope.spawn(move || (call, gateway.send(call))))
                .into();
            let replies = sent.into_iter().map(|it| it.join().unwrap());
            replies.collect::<Vec<_>>()
        });
        let (mut served, mut told) = (0, Vec::new());
        for (sent, reply) in &replies {
            match (std::ptr::eq(*sent, &pick_up), reply.status) {
                (true, 200) => told.push(fetched(reply)),
                (false, 200) => served += 1,
                (true, 425) | (false, 400 | 409 | 410) => {}
                _ => panic!("{reply:?}"),
            }
        }
        place.close(&token, served, &told);
    }
    assert_eq!(place.gateway.trial_balance()["sum_msat"], 0);
    place.mint.assert_sound();
}

#[test]
fn pick_ups_at_once_are_told_the_same_bytes() {
    let place = Place::open();
    for round in 0..4 {
        let token = place.mint.token("msat", SENT);
        let (_, served) = place.begin(First::Left, &token, &format!("same{round}"));
        let told = std::thread::scope(|scope| {
            let fetch = || pick_up(&place.gateway, &token).expect(200);
            let sent: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
            let sent = sent.into_iter().map(|it| it.join().unwrap().body);
            sent.collect::<Vec<_>>()
        });
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
        place.close(&token, served, &[]);
    }
}
