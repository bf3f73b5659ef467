//! More money than was asked for, and the same money twice.

use std::sync::Arc;

use farebox_testkit::lab::LabError;

use crate::harness::{Call, Route, TestGateway};
use crate::stage::{PRICE, alone, paid, shared, upstream, wait_for_account};

#[test]
fn an_overpaid_balance_can_be_spent() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 2000 }");
    let gateway = TestGateway::start(stage.setup(route));
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let paid = stage.bob().overpay(&challenge.invoice, 4000).unwrap();
    let token = challenge.paid_with(paid.preimage);
    let call = call.with(&token);
    gateway.send(&call).expect(200);
    wait_for_account(&gateway, &token, |account| account["balance_msat"] == 2000);
    gateway.send(&call).expect(200);
    gateway.send(&call).expect(402);
    wait_for_account(&gateway, &token, |account| account["balance_msat"] == 0);
    assert_eq!(upstream.total(), 2);
    stage.assert_paid(before, 4000);
}

#[test]
fn what_was_overpaid_for_one_call_stays_the_payer_s() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let paid = stage.bob().overpay(&challenge.invoice, 3500).unwrap();
    let token = challenge.paid_with(paid.preimage);
    gateway.send(&call.clone().with(&token)).expect(200);
    let account = wait_for_account(&gateway, &token, |account| account["balance_msat"] == 1500);
    assert_eq!(account["amount_msat"], PRICE, "{account}");
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 3500);
}

#[test]
fn an_invoice_is_paid_once_however_often_it_is_tried() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let invoice = Arc::new(challenge.invoice.clone());
    let payers: Vec<_> = (0..4)
        .map(|_| {
            let (bob, invoice) = (stage.bob().clone(), Arc::clone(&invoice));
            std::thread::spawn(move || bob.pay(&invoice))
        })
        .collect();
    let outcomes = payers.into_iter().map(|payer| payer.join().unwrap());
    let paid: Vec<_> = outcomes.filter_map(Result::ok).collect();
    assert_eq!(paid.len(), 1, "{} payments", paid.len());
    let again = stage.bob().overpay(&invoice, PRICE);
    assert!(again.is_err(), "{again:?}");
    let token = challenge.paid_with(paid[0].preimage.clone());
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_payment_in_several_parts_is_one_payment() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let route = Route::at("/paid", &upstream).msat(35_000_000);
    let lightning = format!("{}\nstrict = true", stage.lightning());
    let gateway = TestGateway::start(stage.setup(route).lightning(&lightning));
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let paid = stage.bob().pay_in_parts(&challenge.invoice).unwrap();
    let token = challenge.paid_with(paid.preimage);
    let parts = stage.bob().sent_for(&token.payment_hash()).unwrap();
    assert!(parts.len() > 1, "{parts:?}");
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 35_000_000);
    stage.assert_paid(before, 35_000_000);
}

#[test]
fn an_underpaid_invoice_is_not_paid_at_all() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let challenge = gateway.challenge(&Call::get("/paid/a"));
    let short = stage.bob().overpay(&challenge.invoice, PRICE - 1);
    assert!(matches!(short, Err(LabError::NotPaid(_))), "{short:?}");
    stage.bob().pay(&challenge.invoice).unwrap();
}
