//! When a payment and its use come at odd moments: too late, just in time, with a restart between.

use farebox_testkit::lab::LabError;

use crate::harness::{Call, HOUR, TestClock, TestGateway};
use crate::stage::{PRICE, paid, shared, upstream};

#[test]
fn an_expired_invoice_cannot_be_paid_and_the_next_one_can() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let setup = stage
        .setup(paid(&upstream))
        .server("invoice_expiry = \"5s\"");
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let late = gateway.challenge(&call);
    let hash = stage.hash_of(&late);
    stage.alice().wait_for_invoice(&hash, "CANCELED").unwrap();
    let wallet = stage.bob().pay(&late.invoice);
    assert!(
        matches!(wallet, Err(LabError::Refused { .. })),
        "{wallet:?}"
    );
    // Not even a wallet that does not look at the time gets rid of its money.
    let careless = stage.bob().overpay(&late.invoice, PRICE);
    assert!(
        matches!(careless, Err(LabError::NotPaid(_))),
        "{careless:?}"
    );
    let given_away = late.paid_with(stage.alice().preimage(&hash).unwrap());
    assert_eq!(gateway.find_account(&given_away), None);

    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_token_paid_in_time_is_good_until_its_claim_window_ends() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let clock = TestClock::new();
    let (name, value) = clock.environment();
    let setup = stage.setup(paid(&upstream).calls(2));
    let gateway = TestGateway::start_with(setup, &[(name, &value)]);
    let call = Call::get("/paid/a");
    let (late, too_late) = (stage.buy(&gateway, &call), stage.buy(&gateway, &call));
    // Ten minutes for the invoice, and a day.
    clock.shift(24 * HOUR);
    gateway.send(&call.clone().with(&late)).expect(200);
    clock.shift(HOUR);
    gateway.send(&call.clone().with(&late)).expect(200);
    // No challenge, either: to this gateway the node's invoices seem long expired.
    gateway.send(&call.with(&too_late)).expect(503);
    assert_eq!(upstream.total(), 2);
    // It is still its owner's money.
    let account = gateway.find_account(&too_late).unwrap();
    assert_eq!(account["balance_msat"], 2 * PRICE, "{account}");
}

#[test]
fn a_gateway_restarted_between_payment_and_use_honours_the_payment() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let mut gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    gateway.restart();
    let token = stage.pay(challenge);
    gateway.kill();
    gateway.start_again(&[]);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn an_invoice_paid_while_the_gateway_is_down_is_honoured() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let lightning = format!("{}\nstrict = true", stage.lightning());
    let setup = stage.setup(paid(&upstream)).lightning(&lightning);
    let mut gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    gateway.kill();
    let token = stage.pay(challenge);
    gateway.start_again(&[]);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}
