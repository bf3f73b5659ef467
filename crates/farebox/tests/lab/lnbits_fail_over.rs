//! Two sellers' backends at once: an LND of one's own, and a wallet at LNbits for when it is away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Call, Setup, TestGateway};
use crate::lnbits_server::{Lnbits, Wallet};
use crate::stage::{PRICE, Stage, paid, shared, upstream};
use crate::wire::Wire;

/// alice's LND behind a wire, then the wallet on bob's node.
fn setup(stage: &Stage, wire: &Wire, lnbits: &Lnbits, wallet: &Wallet) -> Setup {
    let fallback = lnbits.paying_lightning(wallet);
    // The network is that of the first one.
    let fallback = fallback.replace("network = \"regtest\"\n", "");
    Setup::new()
        .lightning(&stage.lightning_at(&wire.url()))
        .section(&format!("[[lightning.fallback]]\n{fallback}"))
}

/// Asks until invoices come from alice, or do not.
#[track_caller]
fn wait_for_invoice_of(stage: &Stage, gateway: &TestGateway, is_alices: bool) {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    loop {
        let challenge = gateway.challenge(&Call::get("/paid/a"));
        let hash = stage.hash_of(&challenge);
        if stage.alice().find_invoice(&hash).is_ok() == is_alices {
            return;
        }
        assert!(Instant::now() < give_up_at, "alice: {}", !is_alices);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn lnbits_takes_over_while_the_node_is_away_and_gives_back() {
    let Some(stage) = shared() else { return };
    let Some(lnbits) = Lnbits::shared(stage.bob()) else {
        return;
    };
    let (wire, wallet) = (
        Wire::to(stage.alice().rest.trim_start_matches("https://")),
        lnbits.open_wallet(),
    );
    let upstream = upstream();
    let setup = setup(&stage, &wire, &lnbits, &wallet).route(paid(&upstream));
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let from_alice = stage.buy(&gateway, &call);
    gateway.send(&call.clone().with(&from_alice)).expect(200);

    wire.cut();
    // No buyer is turned away, the first one included.
    let challenge = gateway.challenge(&call);
    let paid = stage.alice().pay(&challenge.invoice).unwrap();
    let from_lnbits = challenge.paid_with(paid.preimage);
    gateway.send(&call.clone().with(&from_lnbits)).expect(200);
    assert_eq!(gateway.charged(&from_lnbits), PRICE);
    lnbits.wait_for_balance(&wallet, 2000);

    wire.mend();
    wait_for_invoice_of(&stage, &gateway, true);
    let again = stage.buy(&gateway, &call);
    gateway.send(&call.with(&again)).expect(200);
}

#[test]
fn what_lnbits_took_is_refunded_by_the_node_that_pays() {
    let Some(stage) = shared() else { return };
    let Some(lnbits) = Lnbits::shared(stage.bob()) else {
        return;
    };
    let wire = Wire::to(stage.alice().rest.trim_start_matches("https://"));
    let wallet = lnbits.open_wallet();
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 100000 }");
    let setup = setup(&stage, &wire, &lnbits, &wallet).route(route);
    let gateway = TestGateway::start(setup.section("[refunds]\nenabled = true"));
    let call = Call::get("/paid/a");
    wire.cut();
    let challenge = gateway.challenge(&call);
    let paid = stage.alice().pay(&challenge.invoice).unwrap();
    let token = challenge.paid_with(paid.preimage);
    gateway.send(&call.with(&token)).expect(200);
    wire.mend();

    // The first backend that can pay is alice's, whoever was paid.
    let invoice = stage.bob().invoice(90_000, 600).unwrap();
    let wish = json!({ "invoice": invoice.bolt11 }).to_string();
    let wish = Call::post("/.farebox/refund", wish)
        .header("Content-Type", "application/json")
        .with(&token);
    let paid = gateway.send(&wish).expect(200).json();
    assert_eq!(paid["refund"]["state"], "paid", "{paid}");
    let sent = stage.alice().sent_for(&invoice.payment_hash).unwrap();
    assert_eq!(sent, [90_000]);
    lnbits.wait_for_balance(&wallet, 100_000);
}
