//! What counts as paid, as failed and as unknown, whatever wallets and relays do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farebox_core::Preimage;
use farebox_lightning::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState};
use serde_json::{Value, json};

use super::stage::{Act, Actor, Asked, Stage, hex, send};
use super::{backend, bill, hasty, node, until};
use crate::recorded::odd;

const SOON: Duration = Duration::from_millis(400);

/// An invoice of somebody's, and its preimage.
async fn due(patience: Duration) -> (PaymentRequest, Preimage) {
    let payee = node();
    let bill = bill(&payee, patience).await;
    let preimage = payee.pay(&bill.bolt11).unwrap();
    (bill, preimage)
}

/// How a wallet shows our payment.
fn payment(asked: &Asked, state: &str) -> Value {
    json!({
        "type": "outgoing",
        "state": state,
        "payment_hash": asked.params["payment_hash"],
        "amount": 5000,
        "fees_paid": 3,
    })
}

/// A wallet that knows nothing until it pays, and then says `code`; afterwards its list says
/// `state`, or that it knows nothing.
async fn refusing(code: &'static str, state: Option<&'static str>) -> Stage {
    let asked_to_pay = AtomicBool::new(false);
    Stage::start(move |actor, asked| match asked.method.as_str() {
        "pay_invoice" => {
            asked_to_pay.store(true, Ordering::Relaxed);
            actor.refused(asked, code)
        }
        _ => match state.filter(|_| asked_to_pay.load(Ordering::Relaxed)) {
            Some(state) => actor.done(asked, &payment(asked, state)),
            None => actor.refused(asked, "NOT_FOUND"),
        },
    })
    .await
}

/// A wallet that knows nothing, and does this when it is to pay.
async fn paying(pay: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static) -> Stage {
    Stage::start(move |actor, asked| match asked.method.as_str() {
        "pay_invoice" => pay(actor, asked),
        _ => actor.refused(asked, "NOT_FOUND"),
    })
    .await
}

async fn outcome(stage: &Stage, patience: Duration) -> Result<PaymentState, NodeError> {
    let (bill, _) = due(patience).await;
    backend(&stage.uri).pay_invoice(bill).await
}

#[tokio::test]
async fn a_failure_counts_when_the_wallets_list_agrees() {
    for code in ["PAYMENT_FAILED", "OTHER", "INTERNAL", "SOMETHING_NEW"] {
        let stage = refusing(code, Some("failed")).await;
        let outcome = outcome(&stage, SOON).await.unwrap();
        let failed = PaymentState::Failed(PaymentFailure::Other);
        assert_eq!(outcome, failed, "{code}");
    }
}

#[tokio::test]
async fn a_failure_that_may_be_a_time_out_stays_unknown() {
    for code in [
        "PAYMENT_FAILED",
        "OTHER",
        "INTERNAL",
        "NOT_FOUND",
        "SOMETHING_NEW",
    ] {
        for state in [None, Some("pending"), Some("accepted"), Some("whatever")] {
            let stage = refusing(code, state).await;
            let outcome = outcome(&stage, SOON).await.unwrap();
            assert_eq!(outcome, PaymentState::Pending, "{code} {state:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_before_the_start_is_final_unless_the_list_knows_better() {
    let stage = refusing("INSUFFICIENT_BALANCE", None).await;
    let failed = PaymentState::Failed(PaymentFailure::InsufficientBalance);
    assert_eq!(outcome(&stage, SOON).await.unwrap(), failed);
    let stage = refusing("INSUFFICIENT_BALANCE", Some("pending")).await;
    let outcome_now = outcome(&stage, SOON).await.unwrap();
    assert_eq!(outcome_now, PaymentState::Pending);
    let stage = refusing("QUOTA_EXCEEDED", Some("settled")).await;
    let outcome_now = outcome(&stage, SOON).await.unwrap();
    assert!(matches!(outcome_now, PaymentState::Succeeded { .. }));
}

#[tokio::test]
async fn a_preimage_that_proves_nothing_leaves_the_outcome_unknown() {
    let wrong = "11".repeat(32);
    for result in [
        json!({ "preimage": wrong }),
        json!({ "preimage": "" }),
        json!({ "preimage": 7 }),
        json!({}),
        json!("paid"),
    ] {
        let shown = result.clone();
        let stage = paying(move |actor, asked| actor.done(asked, &shown)).await;
        let error = outcome(&stage, SOON).await.unwrap_err();
        assert!(matches!(error, NodeError::BadAnswer { .. }), "{error}");
        assert!(!error.is_certain_refusal());
        assert!(!error.to_string().contains(&wrong), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_payment_pending_and_is_believed_when_it_comes() {
    let (bill, preimage) = due(SOON).await;
    let asked = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&asked);
    let stage = paying(move |_, asked| {
        *kept.lock().unwrap() = Some(asked.clone());
        vec![]
    })
    .await;
    let backend = backend(&stage.uri);
    let state = backend.pay_invoice(bill.clone()).await.unwrap();
    assert_eq!(state, PaymentState::Pending);
    let state = backend.payment_state(bill.payment_hash).await.unwrap();
    assert_eq!(state, PaymentState::Pending, "never unheard of");
    let asked = asked.lock().unwrap().clone().unwrap();
    let result = json!({ "preimage": hex(&preimage), "fees_paid": 12 });
    let late = stage.actor.answer(&asked, &result);
    stage.out.send(super::stage::frame(&late)).unwrap();
    let (fee, proof) = until("the late answer", async || {
        match backend.payment_state(bill.payment_hash).await.unwrap() {
            PaymentState::Succeeded { fee, preimage } => Some((fee, preimage)),
            _ => None,
        }
    })
    .await;
    assert_eq!(fee.get(), 12);
    assert!(proof.unwrap().opens(&bill.payment_hash));
    assert_eq!(stage.asked("pay_invoice").len(), 1);
}

#[tokio::test]
async fn a_payment_whose_answer_is_lost_is_found_in_the_wallets_list() {
    let asked_to_pay = AtomicBool::new(false);
    let stage = Stage::start(move |actor, asked| match asked.method.as_str() {
        "pay_invoice" => {
            asked_to_pay.store(true, Ordering::Relaxed);
            vec![]
        }
        _ if asked_to_pay.load(Ordering::Relaxed) => actor.done(asked, &payment(asked, "settled")),
        _ => actor.refused(asked, "NOT_FOUND"),
    })
    .await;
    let (bill, _) = due(Duration::from_secs(60)).await;
    let state = hasty(&stage.uri).pay_invoice(bill).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { .. }), "{state:?}");
    assert_eq!(stage.asked("pay_invoice").len(), 1);
}

#[tokio::test]
async fn a_late_refusal_is_not_believed() {
    let (bill, _) = due(SOON).await;
    let stage = paying(|actor, asked| {
        let mut acts = vec![Act::Wait(SOON * 2)];
        acts.extend(actor.refused(asked, "INSUFFICIENT_BALANCE"));
        acts
    })
    .await;
    let backend = backend(&stage.uri);
    let state = backend.pay_invoice(bill.clone()).await.unwrap();
    assert_eq!(state, PaymentState::Pending);
    // The answer to this comes after the late one.
    let state = backend.payment_state(bill.payment_hash).await.unwrap();
    assert_eq!(state, PaymentState::Pending);
}

#[tokio::test]
async fn a_wallet_that_does_not_answer_is_not_asked_to_pay() {
    let stage = Stage::start(|_, _| vec![]).await;
    let backend = hasty(&stage.uri);
    let (bill, _) = due(SOON).await;
    let error = backend.pay_invoice(bill.clone()).await.unwrap_err();
    assert!(error.is_certain_refusal(), "{error}");
    assert!(error.is_temporary(), "{error}");
    assert_eq!(stage.asked("lookup_invoice").len(), 1);
    assert_eq!(stage.asked("pay_invoice").len(), 0);
}

#[tokio::test]
async fn what_was_never_sent_is_unheard_of_once_the_wallet_agrees() {
    let first = AtomicBool::new(true);
    let stage = Stage::start(move |actor, asked| {
        if first.swap(false, Ordering::Relaxed) {
            return vec![];
        }
        actor.refused(asked, "NOT_FOUND")
    })
    .await;
    let backend = hasty(&stage.uri);
    let (bill, _) = due(SOON).await;
    backend.pay_invoice(bill.clone()).await.unwrap_err();
    let state = backend.payment_state(bill.payment_hash).await.unwrap();
    assert_eq!(state, PaymentState::Unheard);
    let (other, _) = due(SOON).await;
    let state = backend.payment_state(other.payment_hash).await.unwrap();
    assert_eq!(state, PaymentState::Pending, "perhaps of an earlier run");
}

#[tokio::test]
async fn a_payment_goes_by_one_relay_and_a_broken_connection_does_not_repeat_it() {
    let (bill, _) = due(Duration::from_secs(2)).await;
    let stage = Stage::with(
        3,
        Some((super::stage::METHODS, "nip44_v2")),
        |actor, asked| match asked.method.as_str() {
            "pay_invoice" => vec![Act::Close],
            _ => actor.refused(asked, "NOT_FOUND"),
        },
    )
    .await;
    let backend = backend(&stage.uri);
    let state = backend.pay_invoice(bill).await.unwrap();
    assert_eq!(state, PaymentState::Pending);
    let sent = stage.asked("pay_invoice");
    assert_eq!(
        sent.len(),
        1,
        "to relay {:?}",
        sent.first().map(|s| s.relay)
    );
    let expires = sent[0].tags.iter().find(|tag| tag[0] == "expiration");
    let expires: u64 = expires.unwrap()[1].parse().unwrap();
    let now = nostr::Timestamp::now().as_secs();
    assert!(expires <= now + 62, "a request that is held back runs out");
}

#[tokio::test]
async fn what_the_wallet_is_paying_or_has_paid_is_not_paid_again() {
    for (state, paid) in [("pending", false), ("settled", true)] {
        let stage =
            Stage::start(move |actor, asked| actor.done(asked, &payment(asked, state))).await;
        let outcome = outcome(&stage, SOON).await.unwrap();
        assert_eq!(matches!(outcome, PaymentState::Succeeded { .. }), paid);
        assert_eq!(stage.asked("pay_invoice").len(), 0);
    }
}

#[tokio::test]
async fn the_list_counts_only_for_this_very_payment() {
    let stage = Stage::start(|actor, asked| {
        let mut shown = payment(asked, "settled");
        shown["payment_hash"] = json!("22".repeat(32));
        actor.done(asked, &shown)
    })
    .await;
    let (bill, _) = due(SOON).await;
    let state = backend(&stage.uri).payment_state(bill.payment_hash).await;
    let error = state.unwrap_err();
    assert!(matches!(error, NodeError::BadAnswer { .. }), "{error}");
    let stage = Stage::start(|actor, asked| {
        let mut shown = payment(asked, "settled");
        shown["type"] = json!("incoming");
        actor.done(asked, &shown)
    })
    .await;
    let (bill, _) = due(SOON).await;
    let state = backend(&stage.uri).payment_state(bill.payment_hash).await;
    assert_eq!(state.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn a_relay_that_refuses_a_payment_leaves_it_unknown() {
    let stage = paying(|_, asked| {
        let refused = nostr::RelayMessage::ok(asked.id, false, "blocked: not here");
        vec![Act::Send(nostr::JsonUtil::as_json(&refused))]
    })
    .await;
    let outcome = outcome(&stage, Duration::from_secs(10)).await.unwrap();
    assert_eq!(outcome, PaymentState::Pending);
}

#[tokio::test]
async fn a_wallet_that_cannot_pay_is_not_asked_to() {
    let stage = Stage::with(
        1,
        Some(("make_invoice lookup_invoice", "nip44_v2")),
        |actor, asked| actor.refused(asked, "NOT_FOUND"),
    )
    .await;
    let error = outcome(&stage, SOON).await.unwrap_err();
    assert!(error.is_certain_refusal(), "{error}");
    assert!(
        error.to_string().contains("does not offer pay_invoice"),
        "{error}"
    );
    assert_eq!(stage.asked("pay_invoice").len(), 0);
}

#[tokio::test]
async fn a_forged_success_is_not_believed() {
    let (bill, preimage) = due(SOON).await;
    let proof = hex(&preimage);
    let stage = paying(move |actor, asked| {
        let stranger = nostr::Keys::generate();
        let said = json!({ "result_type": "pay_invoice", "result": { "preimage": proof } });
        let forged = actor.event_by(&stranger, 23195, Some(asked.id), &said.to_string());
        let mut signed = actor.answer(asked, &json!({ "preimage": proof }));
        signed.sig = forged.sig;
        vec![send(&forged), send(&signed)]
    })
    .await;
    let state = backend(&stage.uri).pay_invoice(bill).await.unwrap();
    assert_eq!(state, PaymentState::Pending);
}

#[tokio::test]
async fn a_payment_that_is_settled_is_settled_whatever_else_is_said_of_it() {
    for member in ["preimage", "fees_paid", "amount", "settled_at"] {
        for odd in odd() {
            let shown = odd.clone();
            let stage = Stage::start(move |actor, asked| {
                let mut payment = payment(asked, "settled");
                payment[member] = shown.clone();
                actor.done(asked, &payment)
            })
            .await;
            let (bill, _) = due(SOON).await;
            let state = backend(&stage.uri)
                .payment_state(bill.payment_hash)
                .await
                .unwrap();
            let PaymentState::Succeeded { fee, preimage } = state else {
                panic!("{member}: {odd}: {state:?}");
            };
            assert!(preimage.is_none());
            assert_eq!(fee.get(), if member == "fees_paid" { 0 } else { 3 });
        }
    }
}
