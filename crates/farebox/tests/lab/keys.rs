//! A prepaid key, bought over the channel, and what is left on it paid back over the channel.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::lab::Invoice;
use serde_json::{Value, json};

use crate::harness::{Call, Setup, TestGateway};
use crate::payouts::{
    BACK, Held, assert_nothing_sent, assert_received_once, payouts, refund_as_operator,
    wait_until_paid,
};
use crate::stage::{PRICE, Stage, alone, paid, shared, upstream};

/// What is paid for a key in these tests.
const DEPOSIT: u64 = 100_000;

struct Key {
    key: String,
    id: String,
}

impl Key {
    fn bearer(&self, call: Call) -> Call {
        call.header("Authorization", &format!("Bearer {}", self.key))
    }

    fn ask(&self, wish: &Value) -> Call {
        let call = Call::post("/.farebox/keys/refund", wish.to_string());
        self.bearer(call.header("Content-Type", "application/json"))
    }

    fn ask_to(&self, invoice: &Invoice) -> Call {
        self.ask(&json!({ "invoice": invoice.bolt11 }))
    }
}

fn setup(stage: &Stage, upstream: &ScriptedUpstream) -> Setup {
    stage
        .setup(paid(upstream))
        .section("[refunds]\nenabled = true")
}

/// bob buys a key.
#[track_caller]
fn buy(stage: &Stage, gateway: &TestGateway) -> Key {
    let order = json!({ "amount_msat": DEPOSIT }).to_string();
    let told = gateway
        .send(&Call::post("/.farebox/keys", order))
        .expect(201);
    let told = told.json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    stage.bob().pay(&text("invoice")).unwrap();
    Key {
        key: text("key"),
        id: text("id"),
    }
}

/// One call used.
#[track_caller]
fn buy_and_use(stage: &Stage, gateway: &TestGateway) -> Key {
    let key = buy(stage, gateway);
    gateway.send(&key.bearer(Call::get("/paid/a"))).expect(200);
    key
}

/// Fails unless `invoice` was paid once, and booked once on this key.
#[track_caller]
fn assert_paid_once(stage: &Stage, gateway: &TestGateway, key: &Key, invoice: &Invoice) {
    assert_received_once(stage, invoice);
    let told = gateway.admin(Call::get(&format!("/admin/v1/keys/{}", key.id)));
    let told = told.expect(200).json();
    assert_eq!(told["balance_msat"], DEPOSIT - PRICE - BACK, "{told}");
    assert_eq!(told["held_msat"], 0, "{told}");
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn a_key_is_bought_used_paid_back_and_used_again() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&stage, &upstream));
    let before = stage.balances();
    let key = buy_and_use(&stage, &gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    let call = key.ask_to(&invoice);
    let told = gateway.send(&call).expect(200).json();
    assert_eq!(told["refund"]["state"], "paid", "{told}");
    assert_eq!(gateway.send(&call).expect(200).json(), told);
    assert_paid_once(&stage, &gateway, &key, &invoice);
    gateway.send(&key.bearer(Call::get("/paid/a"))).expect(200);
    stage.assert_paid(before, i64::try_from(DEPOSIT - BACK).unwrap());
}

#[test]
fn the_same_wish_for_an_address_is_one_payment_and_the_operator_pays_the_rest() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let address = crate::address::Address::of(stage.bob());
    let allowed = format!(
        "[refunds]\nenabled = true\nallow_hosts = [\"{}\"]",
        address.host()
    );
    let setup = stage.setup(paid(&upstream)).section(&allowed);
    let gateway = TestGateway::start(setup);
    let before = stage.balances();
    let key = buy_and_use(&stage, &gateway);
    let wish = json!({ "address": address.to_string(), "amount_msat": 40_000 });
    let call = key.ask(&wish).header("Idempotency-Key", "one");
    let told = gateway.send(&call).expect(200).json();
    assert_eq!(told["refund"]["state"], "paid", "{told}");
    assert_eq!(gateway.send(&call).expect(200).json(), told);
    assert_eq!(payouts(&gateway).len(), 1);
    let invoice = stage.bob().invoice(50_000, 600).unwrap();
    refund_as_operator(&gateway, &key.id, &invoice);
    stage.assert_paid(before, i64::try_from(DEPOSIT - 90_000).unwrap());
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[cfg(feature = "crash-points")]
#[test]
fn a_key_is_paid_back_once_wherever_the_gateway_dies() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let points = farebox_ledger::PAYOUT_CRASH_POINTS.into_iter();
    for point in points.chain(farebox_paywall::payout::CRASH_POINTS) {
        let crash = [("FAREBOX_CRASH_AT", point)];
        let mut gateway = TestGateway::start_with(setup(&stage, &upstream), &crash);
        let before = stage.balances();
        let key = buy_and_use(&stage, &gateway);
        let invoice = stage.bob().invoice(BACK, 600).unwrap();
        let asked = crate::payouts::start_asking(&gateway, key.ask_to(&invoice));
        gateway.wait_for_exit();
        assert!(asked.join().unwrap().is_none(), "{point} was not reached");
        gateway.start_again(&[]);
        // The client comes back, as it got no answer.
        drop(gateway.send(&key.ask_to(&invoice)));
        wait_until_paid(&gateway);
        assert_paid_once(&stage, &gateway, &key, &invoice);
        stage.assert_paid(before, i64::try_from(DEPOSIT - BACK).unwrap());
    }
}

#[test]
fn a_refund_of_a_key_without_an_end_stays_unknown_over_a_kill_and_is_paid_once() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let mut gateway = TestGateway::start(setup(&stage, &upstream));
    let key = buy_and_use(&stage, &gateway);
    let Held {
        secret,
        invoice,
        asked,
    } = Held::start(&stage, &gateway, |invoice| key.ask_to(invoice));
    gateway.kill();
    assert!(asked.join().unwrap().is_none());
    gateway.start_again(&[]);
    assert_eq!(payouts(&gateway)[0]["state"], "open");
    // Another invoice gets nothing as long as the first may be paid.
    let another = stage.bob().invoice(5_000, 600).unwrap();
    let refused = gateway.send(&key.ask_to(&another));
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    stage.bob().settle(&secret.preimage).unwrap();
    wait_until_paid(&gateway);
    assert_paid_once(&stage, &gateway, &key, &invoice);
    assert_nothing_sent(&stage, &another);
}
