//! What goes back to bob: refunds of tokens, of keys and of a wallet's balances, and how they end.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farebox_testkit::lab::Invoice;
use serde_json::Value;

use crate::harness::{Call, Reply, TestGateway};
use crate::stage::{Secret, Stage};

/// What goes back in these tests: of 100,000 msat all but one call and the room for fees.
pub(crate) const BACK: u64 = 90_000;
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// A refund that bob has in his hand, and has neither taken nor given back.
pub(crate) struct Held {
    pub(crate) secret: Secret,
    pub(crate) invoice: Invoice,
    /// Who asked for it and waits.
    pub(crate) asked: JoinHandle<Option<Reply>>,
}

impl Held {
    /// Asks for a refund by the call that `to` makes, and waits until the payment is with bob.
    #[track_caller]
    pub(crate) fn start(
        stage: &Stage,
        gateway: &TestGateway,
        to: impl FnOnce(&Invoice) -> Call,
    ) -> Self {
        let secret = Secret::new();
        let invoice = stage.bob().hold_invoice(&secret.hash, BACK).unwrap();
        let asked = start_asking(gateway, to(&invoice));
        let arrived = stage.bob().wait_for_invoice(&secret.hash, "ACCEPTED");
        arrived.unwrap();
        Self {
            secret,
            invoice,
            asked,
        }
    }
}

/// Asks for a refund that may take its time, or be answered never.
pub(crate) fn start_asking(gateway: &TestGateway, call: Call) -> JoinHandle<Option<Reply>> {
    let address = gateway.address;
    std::thread::spawn(move || call.try_send(address).ok())
}

pub(crate) fn payouts(gateway: &TestGateway) -> Vec<Value> {
    let call = Call::get("/admin/v1/payouts");
    let listed = gateway.admin(call).expect(200).json();
    listed["payouts"].as_array().unwrap().clone()
}

/// Waits until the only refund there is was paid.
#[track_caller]
pub(crate) fn wait_until_paid(gateway: &TestGateway) {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        let all = payouts(gateway);
        if all.len() == 1 && all[0]["state"] == "paid" {
            return;
        }
        assert!(Instant::now() < give_up_at, "not paid: {all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fails unless `invoice` was paid once, with the whole of [`BACK`].
#[track_caller]
pub(crate) fn assert_received_once(stage: &Stage, invoice: &Invoice) {
    let hash = &invoice.payment_hash;
    stage.bob().wait_for_invoice(hash, "SETTLED").unwrap();
    assert_eq!(stage.bob().received_for(hash).unwrap(), BACK);
    assert_eq!(stage.alice().sent_for(hash).unwrap(), [BACK]);
}

#[track_caller]
pub(crate) fn assert_nothing_sent(stage: &Stage, invoice: &Invoice) {
    let sent = stage.alice().sent_for(&invoice.payment_hash).unwrap();
    assert_eq!(sent, [0; 0]);
}

/// The operator pays what is on `account` back to an invoice, and waits for the end.
#[track_caller]
pub(crate) fn refund_as_operator(gateway: &TestGateway, account: &str, invoice: &Invoice) {
    let console = gateway.console.to_string();
    let words = [
        "admin",
        "refund",
        account,
        "--to",
        &invoice.bolt11,
        "--wait",
    ];
    let words = [&words[..], &["--console", &console]].concat();
    let output = gateway.command(&words);
    assert!(output.status.success(), "{output:?}");
}
