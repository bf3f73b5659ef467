//! The LND backend against a scripted node: invoices, what became of them, and access.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, PaymentHash};
use farebox_lightning::Needs;
use farebox_lightning::lnd::Lnd;
use farebox_lightning::{
    AnswerFault, Backend, CheckAccess, CreateInvoice, InvoiceFault, InvoiceRequest, InvoiceState,
    LookupInvoice, Network, NodeError, PaymentHashes,
};
use lightning_invoice::Currency;
use serde_json::{Value, json};

use crate::lnd_fake::{
    Call, FakeNode, Reply, added, draft, invoice, macaroon, msat, preimage, refusal,
};
use crate::provider::{Draft, clock, request};
use crate::recorded::odd;

#[tokio::test]
async fn an_invoice_is_made_as_asked_and_says_so_itself() {
    let node = FakeNode::honest().await;
    let made = node.lnd().create_invoice(request(2001)).await.unwrap();
    assert_eq!(made.amount, msat(2001));
    assert_eq!(
        made.expires_at,
        clock().now().plus(Duration::from_secs(600))
    );
    let asked = &node.seen("/v1/invoices")[0].body;
    assert_eq!(asked["value_msat"], "2001");
    assert_eq!(asked["memo"], "a call & more");
    assert_eq!(asked["expiry"], "600");
    assert_eq!(asked["private"], false);
    assert_eq!(asked.get("is_amp"), None);
    assert_eq!(node.lnd().payment_hashes(), PaymentHashes::Own);
}

#[tokio::test]
async fn hints_to_private_channels_are_asked_for_where_configured() {
    let node = FakeNode::honest().await;
    let lnd = node.lnd().with_private_hints(true);
    lnd.create_invoice(request(2000)).await.unwrap();
    assert_eq!(node.seen("/v1/invoices")[0].body["private"], true);
}

#[tokio::test]
async fn a_long_memo_is_cut_between_characters() {
    let node = FakeNode::honest().await;
    let memo = "é".repeat(400);
    let long = InvoiceRequest {
        memo,
        ..request(2000)
    };
    node.lnd().create_invoice(long).await.unwrap();
    let sent = node.seen("/v1/invoices")[0].body["memo"].clone();
    assert_eq!(sent.as_str().unwrap().len(), 638);
}

#[tokio::test]
async fn an_amount_below_the_least_is_not_even_asked_for() {
    let node = FakeNode::honest().await;
    let lnd = node.lnd();
    let error = lnd.create_invoice(request(999)).await.unwrap_err();
    assert!(matches!(error, NodeError::AmountOutOfRange { min, .. } if min == msat(1000)));
    assert!(node.seen("/v1/invoices").is_empty());
    assert_eq!(lnd.limits().cover(msat(1)), Some(msat(1000)));
    assert_eq!(lnd.limits().cover(msat(1001)), Some(msat(1001)));
}

async fn fault(change: fn(&mut Draft)) -> NodeError {
    let node = FakeNode::start(move |call| {
        let mut draft = draft(call);
        change(&mut draft);
        added(&draft)
    })
    .await;
    node.lnd().create_invoice(request(2000)).await.unwrap_err()
}

#[tokio::test]
async fn an_invoice_that_was_not_asked_for_is_refused() {
    let error = fault(|draft| draft.msat = Some(1999)).await;
    assert!(
        matches!(error, NodeError::BadInvoice(InvoiceFault::Amount { found, .. }) if found == msat(1999))
    );
    let error = fault(|draft| draft.msat = None).await;
    assert!(matches!(
        error,
        NodeError::BadInvoice(InvoiceFault::Amountless)
    ));
    let error = fault(|draft| draft.currency = Currency::Bitcoin).await;
    assert!(
        matches!(error, NodeError::BadInvoice(InvoiceFault::Network { found, .. }) if found == Network::Mainnet)
    );
    let error = fault(|draft| draft.expiry = Duration::from_secs(20)).await;
    assert!(matches!(
        error,
        NodeError::BadInvoice(InvoiceFault::Expired)
    ));
}

#[tokio::test]
async fn an_invoice_beside_another_hash_is_refused() {
    let node = FakeNode::start(|call| {
        let Reply::Json(status, mut json) = added(&draft(call)) else {
            unreachable!("an invoice is JSON")
        };
        json["r_hash"] = crate::lnd_fake::base64(&[1; 32]).into();
        Reply::Json(status, json)
    })
    .await;
    let error = node.lnd().create_invoice(request(2000)).await.unwrap_err();
    let other = AnswerFault::OtherInvoice;
    assert!(matches!(error, NodeError::BadAnswer { fault, .. } if fault == other));
}

#[tokio::test]
async fn what_lnd_refuses_comes_with_its_reason() {
    let node = FakeNode::start(|_| Reply::Json(500, refusal(2, "memo too\nlarge"))).await;
    let error = node.lnd().create_invoice(request(2000)).await.unwrap_err();
    assert!(matches!(&error, NodeError::Refused { reason, .. } if reason == "memo too large"));
    assert!(!error.is_temporary());
    let node = FakeNode::start(|_| Reply::Json(500, refusal(2, "wallet locked, unlock it"))).await;
    let error = node.lnd().create_invoice(request(2000)).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

async fn looked_up(answer: fn(PaymentHash) -> Value) -> Result<InvoiceState, NodeError> {
    let hash = preimage(4).payment_hash();
    let node = FakeNode::start(move |_| Reply::Json(200, answer(hash))).await;
    let state = node.lnd().lookup_invoice(hash).await;
    assert_eq!(node.seen(&format!("/v1/invoice/{hash}")).len(), 1);
    state
}

#[tokio::test]
async fn each_state_of_an_invoice_is_told_as_what_it_is() {
    let state = |answer| async move { looked_up(answer).await.unwrap() };
    assert_eq!(
        state(|hash| invoice(hash, "OPEN", 0, 0)).await,
        InvoiceState::Open
    );
    assert_eq!(
        state(|hash| invoice(hash, "ACCEPTED", 2000, 0)).await,
        InvoiceState::Held
    );
    assert_eq!(
        state(|hash| invoice(hash, "CANCELED", 0, 0)).await,
        InvoiceState::Canceled
    );
    let received = Some(msat(3999));
    assert_eq!(
        state(|hash| invoice(hash, "SETTLED", 3999, 5)).await,
        InvoiceState::Settled { received }
    );
}

#[tokio::test]
async fn only_lnd_itself_can_say_that_it_does_not_know_an_invoice() {
    let hash = preimage(4).payment_hash();
    let missing = |_: &Call| Reply::Json(404, refusal(5, "unable to locate invoice"));
    let node = FakeNode::start(missing).await;
    let state = node.lnd().lookup_invoice(hash).await.unwrap();
    assert_eq!(state, InvoiceState::Unknown);
    for reply in [
        || Reply::Json(404, refusal(5, "Not Found")),
        || Reply::Json(404, json!({})),
        || Reply::Json(500, refusal(2, "permission denied")),
    ] {
        let node = FakeNode::start(move |_| reply()).await;
        assert!(node.lnd().lookup_invoice(hash).await.is_err());
    }
}

#[tokio::test]
async fn an_answer_about_another_invoice_settles_nothing() {
    let another = |_| invoice(preimage(5).payment_hash(), "SETTLED", 2000, 1);
    let error = looked_up(another).await.unwrap_err();
    let other = AnswerFault::OtherInvoice;
    assert!(matches!(error, NodeError::BadAnswer { fault, .. } if fault == other));
    let strange = looked_up(|hash| invoice(hash, "PAID", 2000, 1)).await;
    assert!(strange.is_err());
}

#[tokio::test]
async fn a_settled_invoice_is_settled_whatever_else_is_said_of_it() {
    let hash = preimage(4).payment_hash();
    for member in [
        "amt_paid_msat",
        "value_msat",
        "settle_index",
        "htlcs",
        "r_preimage",
    ] {
        for odd in odd() {
            let mut answer = invoice(hash, "SETTLED", 2000, 1);
            answer[member] = odd.clone();
            let node = FakeNode::start(move |_| Reply::Json(200, answer.clone())).await;
            let received = Some(msat(2000)).filter(|_| member != "amt_paid_msat");
            let settled = InvoiceState::Settled { received };
            let state = node.lnd().lookup_invoice(hash).await.unwrap();
            assert_eq!(state, settled, "{member}: {odd}");
        }
    }
}

#[tokio::test]
async fn a_macaroon_gives_the_abilities_that_it_allows() {
    let node = FakeNode::honest().await;
    let abilities = |operations: &[(&str, &[&str])]| {
        let mut options = node.options();
        options.credential = macaroon(operations);
        Backend::from(Arc::new(Lnd::new(options).unwrap()))
    };
    let receive = ("invoices", &["read", "write"][..]);
    let receiving = abilities(&[receive]);
    assert!(receiving.invoices.is_some() && receiving.lookup.is_some());
    assert!(receiving.watch.is_some());
    assert!(receiving.pay.is_none() && receiving.hold.is_none());
    let holding = abilities(&[receive, ("info", &["read"])]);
    assert!(holding.hold.is_some() && holding.pay.is_none());
    let paying = |actions| abilities(&[receive, ("offchain", actions)]).pay;
    assert!(paying(&["write"]).is_none());
    assert!(paying(&["read", "write"]).is_some());
}

fn info(call: &Call) -> Reply {
    match call.path.as_str() {
        "/v1/getinfo" => Reply::Json(
            200,
            json!({
                "alias": "alice\u{202e}",
                "version": "0.20.1-beta commit=v0.20.1-beta",
                "synced_to_chain": true,
                "num_active_channels": 1,
                "block_height": 456,
                "chains": [{ "chain": "bitcoin", "network": "regtest" }],
            }),
        ),
        "/v1/invoices" => Reply::Json(200, json!({ "invoices": [] })),
        _ => Reply::Json(404, refusal(5, "Not Found")),
    }
}

#[tokio::test]
async fn the_report_names_what_is_missing_and_what_is_too_much() {
    let node = FakeNode::start(info).await;
    let mut options = node.options();
    options.credential = macaroon(&[
        ("invoices", &["write"]),
        ("address", &["read"]),
        ("onchain", &["read", "write"]),
        ("offchain", &["read", "write"]),
        ("info", &["read"]),
    ]);
    let report = Lnd::new(options.clone())
        .unwrap()
        .check_access()
        .await
        .unwrap();
    assert_eq!(report.identity, "LND 0.20.1-beta alice  (regtest)");
    assert_eq!(report.missing, ["invoices:read"]);
    assert_eq!(
        report.needless,
        ["offchain:read", "offchain:write", "onchain:write"]
    );
    assert_eq!(report.remarks, Vec::<String>::new());

    options.needs = Needs {
        pay: true,
        hold: true,
    };
    let report = Lnd::new(options).unwrap().check_access().await.unwrap();
    assert_eq!(report.needless, ["onchain:write"]);
}

#[tokio::test]
async fn the_report_tells_a_node_on_another_network_that_nobody_can_pay() {
    let node = FakeNode::start(|call| match info(call) {
        Reply::Json(200, mut json) if call.path == "/v1/getinfo" => {
            json["synced_to_chain"] = false.into();
            json["num_active_channels"] = 0.into();
            json["chains"][0]["network"] = "mainnet".into();
            Reply::Json(200, json)
        }
        other => other,
    })
    .await;
    let report = node.lnd().check_access().await.unwrap();
    assert_eq!(report.remarks.len(), 3, "{:?}", report.remarks);
    assert!(report.remarks[0].contains("mainnet") && report.remarks[0].contains("regtest"));
}

#[tokio::test]
async fn a_macaroon_for_invoices_alone_is_enough_for_a_report() {
    let node = FakeNode::start(|call| match call.path.as_str() {
        "/v1/getinfo" => Reply::Json(500, refusal(2, "permission denied")),
        _ => info(call),
    })
    .await;
    let mut options = node.options();
    options.credential = macaroon(&[("invoices", &["read", "write"])]);
    let lnd = Lnd::new(options).unwrap();
    let report = lnd.check_access().await.unwrap();
    assert_eq!(report.identity, "LND");
    assert!(report.missing.is_empty() && report.needless.is_empty());
}

#[tokio::test]
async fn a_macaroon_that_does_not_even_receive_is_reported_and_not_refused() {
    let node = FakeNode::start(|_| Reply::Json(500, refusal(2, "permission denied"))).await;
    let mut options = node.options();
    options.credential = macaroon(&[("invoices", &["write"])]);
    let report = Lnd::new(options).unwrap().check_access().await.unwrap();
    assert_eq!(report.missing, ["invoices:read"]);
}

#[tokio::test]
async fn a_macaroon_that_the_node_does_not_accept_is_an_error() {
    let message = "verification failed: signature mismatch after caveat verification";
    let node = FakeNode::start(move |_| Reply::Json(500, refusal(2, message))).await;
    let error = node.lnd().check_access().await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn a_locked_wallet_is_told_apart_from_a_node_that_is_down() {
    let node = FakeNode::start(|call| match call.path.as_str() {
        "/v1/state" => Reply::Json(200, json!({ "state": "LOCKED" })),
        _ => Reply::Json(
            500,
            refusal(2, "wallet locked, unlock it to enable full RPC access"),
        ),
    })
    .await;
    let report = node.lnd().check_access().await.unwrap();
    assert_eq!(report.remarks, ["its wallet is locked"]);
}
