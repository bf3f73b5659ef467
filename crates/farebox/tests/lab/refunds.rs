//! What was not used goes back over the channel, once, whatever happens on the way.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::lab::Invoice;
use serde_json::{Value, json};

use crate::harness::{Call, Route, Setup, TestGateway, Token};
use crate::payouts::{
    BACK, Held, assert_nothing_sent, assert_received_once, payouts, refund_as_operator,
    wait_until_paid,
};
use crate::stage::{PRICE, Stage, alone, paid, shared, upstream};
use crate::wire::Wire;

/// What a token buys in these tests.
const BALANCE: u64 = 100_000;

fn route(upstream: &ScriptedUpstream) -> Route {
    paid(upstream).line(&format!("balance = {{ msat = {BALANCE} }}"))
}

fn setup(stage: &Stage, upstream: &ScriptedUpstream) -> Setup {
    stage
        .setup(route(upstream))
        .section("[refunds]\nenabled = true")
}

fn wish(token: &Token, destination: &Value) -> Call {
    Call::post("/.farebox/refund", destination.to_string())
        .header("Content-Type", "application/json")
        .with(token)
}

fn to_invoice(token: &Token, invoice: &Invoice) -> Call {
    wish(token, &json!({ "invoice": invoice.bolt11 }))
}

fn standing(gateway: &TestGateway, token: &Token) -> Value {
    let call = Call::get("/.farebox/refund").with(token);
    gateway.send(&call).expect(200).json()
}

/// Fails unless `invoice` was paid once, and booked once.
#[track_caller]
fn assert_paid_once(stage: &Stage, gateway: &TestGateway, invoice: &Invoice) {
    assert_received_once(stage, invoice);
    let all = payouts(gateway);
    let booked = all.iter().filter(|payout| payout["state"] == "paid");
    assert_eq!(booked.count(), 1, "{all:?}");
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn an_unused_balance_goes_back_to_an_invoice() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let before = stage.balances();
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    let call = to_invoice(&token, &invoice);
    let paid = gateway.send(&call).expect(200).json();
    assert_eq!(paid["refund"]["state"], "paid", "{paid}");
    assert_eq!(paid["refund"]["fee_msat"], 0, "{paid}");
    assert_paid_once(&stage, &gateway, &invoice);
    // Asking again is told what was done.
    let again = gateway.send(&call).expect(200).json();
    assert_eq!(again["refund"]["id"], paid["refund"]["id"]);
    let left = standing(&gateway, &token);
    assert_eq!(left["refundable_msat"], BALANCE - PRICE - BACK, "{left}");
    stage.assert_paid(before, 10_000);
    // The rest can still be spent.
    gateway.send(&Call::get("/paid/a").with(&token)).expect(200);
}

#[test]
fn an_unused_balance_goes_back_to_a_lightning_address() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let address = crate::address::Address::of(stage.bob());
    let allowed = format!(
        "[refunds]\nenabled = true\nallow_hosts = [\"{}\"]",
        address.host()
    );
    let setup = stage.setup(route(&upstream)).section(&allowed);
    let gateway = TestGateway::start(setup);
    let before = stage.balances();
    let token = stage.buy_and_use(&gateway);
    let destination = json!({ "address": address.to_string(), "amount_msat": BACK });
    let paid = gateway.send(&wish(&token, &destination)).expect(200).json();
    assert_eq!(paid["refund"]["state"], "paid", "{paid}");
    stage.assert_paid(before, 10_000);
}

#[test]
fn the_operator_gives_back_what_is_left() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let before = stage.balances();
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    refund_as_operator(&gateway, &token.payment_hash(), &invoice);
    assert_paid_once(&stage, &gateway, &invoice);
    stage.assert_paid(before, 10_000);
}

#[cfg(feature = "crash-points")]
#[test]
fn a_refund_is_paid_once_wherever_the_gateway_dies() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let points = farebox_ledger::PAYOUT_CRASH_POINTS.into_iter();
    for point in points.chain(farebox_paywall::payout::CRASH_POINTS) {
        let crash = [("FAREBOX_CRASH_AT", point)];
        let mut gateway = TestGateway::start_with(setup(&stage, &upstream), &crash);
        let before = stage.balances();
        let token = stage.buy_and_use(&gateway);
        let invoice = stage.bob().invoice(BACK, 600).unwrap();
        let asked = crate::payouts::start_asking(&gateway, to_invoice(&token, &invoice));
        gateway.wait_for_exit();
        assert!(asked.join().unwrap().is_none(), "{point} was not reached");
        gateway.start_again(&[]);
        // The client comes back, as it got no answer.
        drop(gateway.send(&to_invoice(&token, &invoice)));
        wait_until_paid(&gateway);
        assert_paid_once(&stage, &gateway, &invoice);
        stage.assert_paid(before, 10_000);
    }
}

#[test]
fn a_refund_that_was_sent_is_not_sent_again_by_the_next_process() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let mut gateway = TestGateway::start(setup(&stage, &upstream));
    let token = stage.buy_and_use(&gateway);
    let Held {
        secret,
        invoice,
        asked,
    } = Held::start(&stage, &gateway, |invoice| to_invoice(&token, invoice));
    gateway.kill();
    assert!(asked.join().unwrap().is_none());
    stage.bob().settle(&secret.preimage).unwrap();
    gateway.start_again(&[]);
    wait_until_paid(&gateway);
    assert_paid_once(&stage, &gateway, &invoice);
}

#[test]
fn a_refund_whose_end_nobody_knows_stays_open_and_holds_its_money() {
    let Some(stage) = shared() else { return };
    let wire = Wire::to(stage.alice().rest.trim_start_matches("https://"));
    let lightning = stage.lightning_at(&wire.url());
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream).lightning(&lightning));
    let token = stage.buy_and_use(&gateway);
    let Held {
        secret,
        invoice,
        asked,
    } = Held::start(&stage, &gateway, |invoice| to_invoice(&token, invoice));
    wire.cut();
    let told = asked.join().unwrap().unwrap();
    assert_eq!(told.status, 202, "{}", told.text());
    let left = standing(&gateway, &token);
    assert_eq!(
        left["refundable_msat"].as_u64().unwrap() + left["held_msat"].as_u64().unwrap(),
        BALANCE - PRICE
    );
    assert!(left["held_msat"].as_u64().unwrap() >= BACK, "{left}");
    // Another invoice gets nothing as long as the first may be paid.
    let another = stage.bob().invoice(BACK, 600).unwrap();
    let refused = gateway.send(&to_invoice(&token, &another));
    assert_ne!(refused.status, 200, "{}", refused.text());
    wire.mend();
    stage.bob().settle(&secret.preimage).unwrap();
    wait_until_paid(&gateway);
    assert_paid_once(&stage, &gateway, &invoice);
    assert_nothing_sent(&stage, &another);
}

#[test]
fn a_refund_under_way_is_the_same_one_whoever_asks_and_is_booked_once() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let token = stage.buy_and_use(&gateway);
    let Held {
        secret,
        invoice,
        asked: patient,
    } = Held::start(&stage, &gateway, |invoice| to_invoice(&token, invoice));
    let call = to_invoice(&token, &invoice);
    let told = gateway.send(&call).expect(202);
    assert_eq!(told.json()["refund"]["state"], "open", "{}", told.text());
    stage.bob().settle(&secret.preimage).unwrap();
    let told = patient.join().unwrap().unwrap().expect(200);
    assert_eq!(told.json()["refund"]["state"], "paid", "{}", told.text());
    let told = gateway.send(&call).expect(200);
    assert_eq!(told.json()["refund"]["state"], "paid", "{}", told.text());
    assert_paid_once(&stage, &gateway, &invoice);
}

#[test]
fn a_refund_that_the_payee_refuses_is_back_on_the_token() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let token = stage.buy_and_use(&gateway);
    let Held { secret, asked, .. } =
        Held::start(&stage, &gateway, |invoice| to_invoice(&token, invoice));
    stage.bob().cancel(&secret.hash).unwrap();
    let told = asked.join().unwrap().unwrap();
    assert_eq!(told.json()["refund"]["state"], "failed", "{}", told.text());
    assert_eq!(
        standing(&gateway, &token)["refundable_msat"],
        BALANCE - PRICE
    );
    let second = stage.bob().invoice(BACK, 600).unwrap();
    gateway.send(&to_invoice(&token, &second)).expect(200);
    assert_paid_once(&stage, &gateway, &second);
}

#[test]
fn what_was_overpaid_for_a_used_call_goes_back() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let setup = stage
        .setup(paid(&upstream))
        .section("[refunds]\nenabled = true");
    let gateway = TestGateway::start(setup);
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let paid = stage.bob().overpay(&challenge.invoice, 2 * PRICE).unwrap();
    let token = challenge.paid_with(paid.preimage);
    gateway.send(&call.with(&token)).expect(200);
    crate::stage::wait_for_account(&gateway, &token, |account| account["balance_msat"] == PRICE);
    let invoice = stage.bob().invoice(1000, 600).unwrap();
    gateway.send(&to_invoice(&token, &invoice)).expect(200);
    stage.assert_paid(before, 3000);
}

#[test]
fn a_payment_that_only_its_preimage_proves_is_not_given_back() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let preimage = stage.alice().preimage(&stage.hash_of(&challenge)).unwrap();
    let token = challenge.paid_with(preimage);
    gateway.send(&call.with(&token)).expect(200);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    let refused = gateway.send(&to_invoice(&token, &invoice));
    assert!((400..600).contains(&refused.status), "{}", refused.text());
    assert_nothing_sent(&stage, &invoice);
}

#[test]
fn a_node_whose_macaroon_makes_invoices_only_sells_and_pays_nothing_out() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let macaroon = stage.alice().macaroons.invoice.display().to_string();
    let lightning = stage.lightning_with(&stage.alice().rest, &macaroon);
    let setup = stage.setup(route(&upstream)).lightning(&lightning);
    let gateway = TestGateway::start(setup);
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    let refused = gateway.send(&to_invoice(&token, &invoice));
    assert!((400..600).contains(&refused.status), "{}", refused.text());
    gateway.send(&Call::get("/paid/a").with(&token)).expect(200);
}
