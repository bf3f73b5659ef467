//! A preimage proves that its owner knows it. With `strict`, the node must say that it was paid for.

use std::time::{Duration, Instant};

use crate::harness::{Call, TestGateway, Token};
use crate::stage::{PRICE, Stage, paid, shared, upstream};

/// A token whose preimage leaked from the seller's node: nobody paid.
fn leaked(stage: &Stage, gateway: &TestGateway, call: &Call) -> Token {
    let challenge = gateway.challenge(call);
    let preimage = stage.alice().preimage(&stage.hash_of(&challenge)).unwrap();
    challenge.paid_with(preimage)
}

#[test]
fn with_strict_a_preimage_that_leaked_buys_nothing_until_its_invoice_is_paid() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let lightning = format!("{}\nstrict = true", stage.lightning());
    let setup = stage.setup(paid(&upstream)).lightning(&lightning);
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let hash = stage.hash_of(&challenge);
    let token = challenge
        .clone()
        .paid_with(stage.alice().preimage(&hash).unwrap());
    let refused = gateway.send(&call.clone().with(&token));
    assert!(refused.status != 200, "{}", refused.text());
    assert_eq!(upstream.total(), 0);
    assert_eq!(gateway.find_account(&token), None);
    stage.bob().pay(&challenge.invoice).unwrap();
    // What the node said a moment ago may count for a second.
    let call = call.with(&token);
    let give_up_at = Instant::now() + Duration::from_secs(60);
    let reply = loop {
        let reply = gateway.send(&call);
        if reply.status != 409 {
            break reply;
        }
        assert!(Instant::now() < give_up_at, "the payment is never seen");
        std::thread::sleep(Duration::from_millis(50));
    };
    reply.expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn without_strict_the_preimage_is_the_proof() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let call = Call::get("/paid/a");
    let token = leaked(&stage, &gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn with_strict_a_paid_token_is_good_at_once() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let lightning = format!("{}\nstrict = true", stage.lightning());
    let setup = stage.setup(paid(&upstream).calls(3)).lightning(&lightning);
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    for _ in 0..3 {
        gateway.send(&call.clone().with(&token)).expect(200);
    }
    assert_eq!(gateway.charged(&token), 3 * PRICE);
}
