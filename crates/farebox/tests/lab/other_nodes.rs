//! Sales and refunds in the words of Core Lightning and phoenixd, over a real channel.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Call, Setup, TestGateway};
use crate::stage::{Stage, paid, refund_to, shared, upstream, wait_for_account};
use crate::stand_in::{SECRET, StandIn};

/// 1 once the gateway hears of payments from then on.
const LISTENING: &str = "farebox_lightning_following";

/// Sells a balance under `strict`, pays most of it back, and looks at all the books.
fn sell_and_refund(stage: &Stage, stand_in: &StandIn, backend: &str, credential: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(credential);
    fs::write(&file, SECRET).unwrap();
    let lightning = format!(
        "backend = \"{backend}\"\nnetwork = \"regtest\"\nstrict = true\nurl = \"{}\"\n\
         {credential} = {{ file = \"{}\" }}",
        stand_in.url(),
        file.display()
    );
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 100000 }");
    let setup = Setup::new().lightning(&lightning).route(route);
    let gateway = TestGateway::start(setup.section("[refunds]\nenabled = true"));

    gateway.wait_for_metric(LISTENING, &[&format!("backend=\"{backend}\"")], 1);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let early = stage.alice().preimage(&stage.hash_of(&challenge)).unwrap();
    let early = challenge.clone().paid_with(early);
    // A preimage that leaked before the payment buys nothing where the node's word counts.
    assert_ne!(gateway.send(&call.clone().with(&early)).status, 200);
    let paid = stage.bob().overpay(&challenge.invoice, 104_000).unwrap();
    let token = challenge.paid_with(paid.preimage);
    call_until_the_node_says_so(&gateway, &call.with(&token));
    // What the node tells by itself: the payer sent more than was asked.
    wait_for_account(&gateway, &token, |account| {
        account["balance_msat"] == 102_000
    });

    let invoice = stage.bob().invoice(90_000, 600).unwrap();
    let wish = refund_to(&invoice, &token);
    let refund = gateway.send(&wish).expect(200).json();
    assert_eq!(refund["refund"]["state"], "paid", "{refund}");
    let again = gateway.send(&wish).expect(200).json();
    assert_eq!(again["refund"]["id"], refund["refund"]["id"]);
    let sent = stage.alice().sent_for(&invoice.payment_hash).unwrap();
    assert_eq!(sent, [90_000]);
    assert_eq!(gateway.trial_balance()["sound"], true);
    assert!(!gateway.log().contains(SECRET));
}

/// The gateway asks the node again a moment after it said no.
#[track_caller]
fn call_until_the_node_says_so(gateway: &TestGateway, call: &Call) {
    let give_up_at = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = gateway.send(call);
        if reply.status == 200 {
            return;
        }
        let reply = reply.expect(409);
        assert!(Instant::now() < give_up_at, "it stays {reply:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_balance_is_sold_and_refunded_in_the_words_of_core_lightning() {
    let Some(stage) = shared() else { return };
    let stand_in = StandIn::cln(stage.alice());
    sell_and_refund(&stage, &stand_in, "cln", "rune");
}

#[test]
fn a_balance_is_sold_and_refunded_in_the_words_of_phoenixd() {
    let Some(stage) = shared() else { return };
    let stand_in = StandIn::phoenixd(stage.alice());
    sell_and_refund(&stage, &stand_in, "phoenixd", "password");
}
