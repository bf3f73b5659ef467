//! Relays that forge, repeat and garble, and wallets that answer something else than was asked.

use farebox_lightning::{CreateInvoice, InvoiceState, LookupInvoice, NodeError};
use nostr::Keys;
use serde_json::{Value, json};

use super::stage::{Act, Actor, Asked, METHODS, Stage, send};
use super::{WallClock, backend, hasty, invoice, node, options, request};
use crate::recorded::odd;
use farebox_lightning::mock::{MockNode, MockOptions};
use farebox_lightning::nwc::Nwc;
use farebox_lightning::{CreatedInvoice, Network, WatchEvent, WatchSettlements};
use std::sync::Arc;
use std::time::Duration;

/// Makes the invoice that was asked for, as an honest wallet would.
async fn made(msat: u64) -> CreatedInvoice {
    node().create_invoice(request(msat)).await.unwrap()
}

fn shown(invoice: &CreatedInvoice) -> Value {
    json!({
        "type": "incoming",
        "state": "pending",
        "invoice": invoice.bolt11,
        "payment_hash": invoice.payment_hash.to_string(),
        "amount": invoice.amount.get(),
    })
}

/// A stage whose wallet shows `result` for everything.
async fn showing(result: Value) -> Stage {
    Stage::start(move |actor, asked| actor.done(asked, &result)).await
}

/// A stage that says `lies` before the truth.
async fn lying_first(
    lies: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static,
) -> (Stage, CreatedInvoice) {
    let truth = made(21_000).await;
    let result = shown(&truth);
    let stage = Stage::start(move |actor, asked| {
        let mut acts = lies(actor, asked);
        acts.extend(actor.done(asked, &result));
        acts
    })
    .await;
    (stage, truth)
}

#[tokio::test]
async fn what_others_say_in_the_wallets_place_is_not_heard() {
    let bait = shown(&made(21_000).await);
    let (stage, truth) = lying_first(move |actor, asked| {
        let stranger = Keys::generate();
        let text = json!({ "result_type": asked.method, "result": bait }).to_string();
        let forged = actor.event_by(&stranger, 23195, Some(asked.id), &text);
        let mut renamed = forged.clone();
        renamed.pubkey = actor.wallet.public_key();
        let mut resealed = actor.event(23195, Some(asked.id), &text);
        resealed.sig = forged.sig;
        let mut reworded = actor.event(23195, Some(asked.id), "{}");
        reworded.content = actor.event(23195, Some(asked.id), &text).content;
        [forged, renamed, resealed, reworded]
            .iter()
            .map(send)
            .collect()
    })
    .await;
    assert_eq!(invoice(&backend(&stage.uri)).await.unwrap(), truth);
}

#[tokio::test]
async fn the_answer_to_another_request_is_not_taken_for_this_ones() {
    let bait = shown(&made(21_000).await);
    let (stage, truth) = lying_first(move |actor, asked| {
        let text = json!({ "result_type": asked.method, "result": bait }).to_string();
        let other = actor.event(1, None, "another request").id;
        let elsewhere = actor.event(23195, Some(other), &text);
        let nowhere = actor.event(23195, None, &text);
        let as_notification = actor.event(23197, Some(asked.id), &text);
        let of_another_kind = actor.event(1, Some(asked.id), &text);
        [elsewhere, nowhere, as_notification, of_another_kind]
            .iter()
            .map(send)
            .collect()
    })
    .await;
    assert_eq!(invoice(&backend(&stage.uri)).await.unwrap(), truth);
}

#[tokio::test]
async fn answers_out_of_order_and_repeated_reach_whom_they_are_for() {
    let held = std::sync::Mutex::new(Vec::new());
    let stage = Stage::start(move |actor, asked| {
        let node = node();
        let amount = asked.params["amount"].as_u64().unwrap();
        let made = futures_util::FutureExt::now_or_never(node.create_invoice(request(amount)));
        let mut held = held.lock().unwrap();
        held.push(actor.answer(asked, &shown(&made.unwrap().unwrap())));
        if held.len() < 8 {
            return vec![];
        }
        held.iter().rev().chain(held.iter()).map(send).collect()
    })
    .await;
    let backend = Arc::new(backend(&stage.uri));
    let mut calls = tokio::task::JoinSet::new();
    for sats in 1..=8 {
        let backend = Arc::clone(&backend);
        calls.spawn(async move {
            let made = backend.create_invoice(request(sats * 1000)).await.unwrap();
            assert_eq!(made.amount.get(), sats * 1000);
        });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn frames_that_are_none_are_passed_over() {
    let (stage, truth) = lying_first(|_, asked| {
        let id = asked.id.to_hex();
        [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            "[\"EVENT\"]".to_owned(),
            "[\"EVENT\",\"answers\",{\"kind\":23195}]".to_owned(),
            "[\"WAT\",1]".to_owned(),
            "[".repeat(2000),
            format!("[\"OK\",\"{id}\",true,\"\"]"),
            format!("[\"OK\",\"{}\",false,\"not yours\"]", "00".repeat(32)),
            "[\"NOTICE\",\"hello\"]".to_owned(),
        ]
        .map(Act::Send)
        .into_iter()
        .collect()
    })
    .await;
    assert_eq!(invoice(&backend(&stage.uri)).await.unwrap(), truth);
}

#[tokio::test]
async fn a_relay_that_sends_too_much_is_left_and_others_go_on() {
    for much in [
        vec![Act::Send(" ".repeat(300 * 1024))],
        (0..60).map(|_| Act::Send("garbage".to_owned())).collect(),
    ] {
        let truth = made(21_000).await;
        let result = shown(&truth);
        let flood = std::sync::Mutex::new(Some(much));
        let stage = Stage::with(2, Some((METHODS, "nip44_v2")), move |actor, asked| {
            if asked.relay == 0 {
                let much = flood.lock().unwrap().take();
                return much.unwrap_or_default();
            }
            let mut acts = vec![Act::Wait(Duration::from_millis(200))];
            acts.extend(actor.done(asked, &result));
            acts
        })
        .await;
        assert_eq!(invoice(&backend(&stage.uri)).await.unwrap(), truth);
    }
}

#[tokio::test]
async fn an_invoice_other_than_the_one_asked_for_is_refused() {
    let options = MockOptions {
        network: Network::Regtest,
        ..MockOptions::new(Arc::new(WallClock))
    };
    let foreign = MockNode::with_options(options).unwrap();
    let foreign = foreign.create_invoice(request(21_000)).await.unwrap();
    for bad in [made(20_000).await, made(22_000).await, foreign] {
        let stage = showing(shown(&bad)).await;
        let error = invoice(&backend(&stage.uri)).await.unwrap_err();
        assert!(matches!(error, NodeError::BadInvoice(_)), "{error}");
    }
    let mut two_faced = shown(&made(21_000).await);
    two_faced["payment_hash"] = json!("44".repeat(32));
    let stage = showing(two_faced).await;
    let error = invoice(&backend(&stage.uri)).await.unwrap_err();
    assert!(matches!(error, NodeError::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_without_sense_is_an_error_that_shows_nothing_of_it() {
    let secret = "55".repeat(32);
    for text in [
        " ".to_owned(),
        "[]".to_owned(),
        format!("{{\"preimage\":\"{secret}\"}}"),
        format!("{{\"result_type\":\"pay_invoice\",\"result\":{{\"preimage\":\"{secret}\"}}}}"),
        "{\"result_type\":\"make_invoice\",\"result\":null}".to_owned(),
        format!("{{\"result_type\":\"make_invoice\",\"result\":\"{secret}\"}}"),
    ] {
        let said = text.clone();
        let stage = Stage::start(move |actor, asked| {
            vec![send(&actor.event(23195, Some(asked.id), &said))]
        })
        .await;
        let error = invoice(&backend(&stage.uri)).await.unwrap_err();
        assert!(
            matches!(error, NodeError::BadAnswer { .. }),
            "{text}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains(&secret), "{error:?}");
    }
}

#[tokio::test]
async fn a_wallet_that_reads_nothing_but_nip_04_is_refused_with_a_word_about_it() {
    let stage = Stage::with(1, Some((METHODS, "nip04")), |actor, asked| {
        actor.done(asked, &json!({}))
    })
    .await;
    let error = invoice(&backend(&stage.uri)).await.unwrap_err();
    assert!(error.to_string().contains("NIP-04"), "{error}");
    assert!(stage.asked("make_invoice").is_empty());
}

#[tokio::test]
async fn a_wallet_without_an_info_event_is_asked_all_the_same() {
    let truth = made(21_000).await;
    let result = shown(&truth);
    let stage = Stage::with(1, None, move |actor, asked| actor.done(asked, &result)).await;
    assert_eq!(invoice(&backend(&stage.uri)).await.unwrap(), truth);
}

#[tokio::test]
async fn an_older_or_forged_info_event_changes_nothing() {
    let (stage, truth) = lying_first(|actor, _| {
        let mut forged = actor.info("", "nip04");
        forged.created_at = nostr::Timestamp::from_secs(forged.created_at.as_secs() + 60);
        let old = nostr::EventBuilder::new(nostr::Kind::WalletConnectInfo, "")
            .custom_created_at(nostr::Timestamp::from_secs(1000))
            .sign_with_keys(&actor.wallet)
            .unwrap();
        [forged, old].iter().map(send).collect()
    })
    .await;
    let backend = backend(&stage.uri);
    assert_eq!(invoice(&backend).await.unwrap(), truth);
    assert_eq!(invoice(&backend).await.unwrap(), truth);
}

#[tokio::test]
async fn an_invoice_counts_as_settled_only_by_the_wallets_word_about_this_one() {
    let truth = made(21_000).await;
    let hash = truth.payment_hash;
    let with = |field: &str, value: Value| {
        let mut shown = shown(&truth);
        shown[field] = value;
        shown
    };
    let look = async |shown: Value| {
        let stage = showing(shown).await;
        backend(&stage.uri).lookup_invoice(hash).await
    };
    for (shown, state) in [
        (with("state", json!("pending")), InvoiceState::Open),
        (with("state", json!("accepted")), InvoiceState::Held),
        (with("state", json!("expired")), InvoiceState::Canceled),
        (with("state", json!("failed")), InvoiceState::Open),
        (with("type", json!("outgoing")), InvoiceState::Unknown),
        (with("settled_at", json!(1_700_000_000)), InvoiceState::Open),
        (with("state", Value::Null), InvoiceState::Open),
        (
            with("state", json!("settled")),
            InvoiceState::Settled {
                received: Some(truth.amount),
            },
        ),
    ] {
        let words = shown.to_string();
        assert_eq!(look(shown).await.unwrap(), state, "{words}");
    }
    let mut stateless = with("settled_at", json!(1_700_000_000));
    stateless["state"] = Value::Null;
    let settled = look(stateless).await.unwrap();
    assert!(matches!(settled, InvoiceState::Settled { .. }));
    let mut others = with("state", json!("settled"));
    others["payment_hash"] = json!("66".repeat(32));
    look(others).await.unwrap_err();
}

#[tokio::test]
async fn what_the_wallet_calls_settled_is_settled_whatever_else_it_shows() {
    let truth = made(21_000).await;
    let hash = truth.payment_hash;
    let mut settled = shown(&truth);
    settled["state"] = json!("settled");
    settled["preimage"] = json!("");
    let words = [
        json!("8f1f6b2e-5d1c-4a77-9a3b-2f3c1d0e9b11"),
        json!("0".repeat(64)),
        json!(truth.bolt11),
    ];
    let preimages = words.map(|word| ("preimage", word));
    let cases = [
        "preimage",
        "amount",
        "fees_paid",
        "settled_at",
        "created_at",
    ]
    .into_iter()
    .flat_map(|member| odd().map(|odd| (member, odd)))
    .chain(preimages)
    .chain([
        ("settled_at", json!(1_780_000_000.512)),
        ("amount", json!(21_000.0)),
        ("amount", json!("21000")),
        ("fees_paid", json!(0.0)),
    ]);
    // One wallet for all: what it shows next stands here.
    let next = Arc::new(std::sync::Mutex::new(Value::Null));
    let showing = Arc::clone(&next);
    let stage = Stage::start(move |actor, asked| {
        let result = showing.lock().unwrap().clone();
        actor.done(asked, &result)
    })
    .await;
    let backend = backend(&stage.uri);
    for (member, odd) in cases {
        let mut shown = settled.clone();
        shown[member] = odd.clone();
        *next.lock().unwrap() = shown;
        let received = Some(truth.amount)
            .filter(|_| member != "amount" || [json!(21_000.0), json!("21000")].contains(&odd));
        let state = backend.lookup_invoice(hash).await;
        assert_eq!(
            state.unwrap(),
            InvoiceState::Settled { received },
            "{member}: {odd}"
        );
    }
}

#[tokio::test]
async fn a_notification_is_heard_whatever_preimage_it_shows() {
    let stage = Stage::start(|_, _| vec![]).await;
    let backend = Arc::new(backend(&stage.uri));
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let watching = Arc::clone(&backend);
    let watch = tokio::spawn(async move {
        let mut sink = |event| sender.send(event).unwrap();
        watching.watch(None, &mut sink).await
    });
    assert_eq!(heard.recv().await, Some(WatchEvent::Listening));
    for preimage in [json!("77".repeat(32)), json!("lnbc1"), json!(7), json!("")] {
        let truth = made(21_000).await;
        let mut about = shown(&truth);
        about["state"] = json!("settled");
        about["preimage"] = preimage;
        let text = json!({ "notification_type": "payment_received", "notification": about });
        let event = stage.actor.event(23197, None, &text.to_string());
        stage.out.send(super::stage::frame(&event)).unwrap();
        let Some(WatchEvent::Settled(settlement)) = heard.recv().await else {
            panic!("no settlement");
        };
        assert_eq!(settlement.payment_hash, truth.payment_hash);
        assert_eq!(settlement.received, Some(truth.amount));
    }
    watch.abort();
}

#[tokio::test]
async fn an_amount_that_is_not_taken_is_not_asked_for() {
    let stage = Stage::start(|_, _| vec![]).await;
    let backend = hasty(&stage.uri);
    for msat in [0, 1, 999, 1001, 1999] {
        let error = backend.create_invoice(request(msat)).await.unwrap_err();
        assert!(
            matches!(error, NodeError::AmountOutOfRange { .. }),
            "{msat}"
        );
    }
    assert!(stage.asked("make_invoice").is_empty());
    let mut fine = options(&stage.uri);
    fine.whole_sats = false;
    assert!(Nwc::new(fine).unwrap().limits().allow(request(1001).amount));
}

#[tokio::test]
async fn the_wallets_no_has_a_meaning_for_the_gateway() {
    for (code, temporary, certain) in [
        ("RATE_LIMITED", true, false),
        ("UNAUTHORIZED", false, true),
        ("RESTRICTED", false, true),
        ("INTERNAL", false, false),
        ("<b>NEW</b>", false, false),
    ] {
        let stage = Stage::start(move |actor, asked| actor.refused(asked, code)).await;
        let error = invoice(&backend(&stage.uri)).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{error}");
        assert_eq!(error.is_certain_refusal(), certain, "{error}");
    }
}
