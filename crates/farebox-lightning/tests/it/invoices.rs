//! What works with an honest provider.

use farebox_core::{Clock, Msat};
use farebox_lightning::lnurl::{LightningAddress, MetadataCommitment};
use farebox_lightning::{
    AmountLimits, CreateInvoice, InvoiceState, LookupInvoice, NodeError, parse_invoice,
};
use serde_json::{Value, json};

use crate::provider::{Ask, Described, Draft, METADATA, Provider, Reply, clock, request};
use crate::recorded::odd;

const WELL_KNOWN: &str = "/.well-known/lnurlp/me";

#[tokio::test]
async fn an_invoice_of_the_asked_amount_comes_back() {
    let provider = Provider::honest().await;
    let created = provider.invoice().await.unwrap();
    let read = parse_invoice(&created.bolt11).unwrap();
    assert_eq!(created.amount.get(), 2000);
    assert_eq!(created.payment_hash, read.payment_hash);
    assert_eq!(
        created.expires_at,
        clock().now().plus(std::time::Duration::from_secs(600))
    );
}

#[tokio::test]
async fn the_callback_keeps_its_query_and_gets_amount_and_comment() {
    let provider = Provider::honest().await;
    provider.invoice().await.unwrap();
    assert_eq!(
        provider.seen("/cb"),
        ["session=a%20b&amount=2000&comment=a%20call%20%26%20mor"]
    );
}

#[tokio::test]
async fn no_comment_is_sent_where_none_is_taken_or_wanted() {
    let provider = Provider::stating("commentAllowed", json!(0)).await;
    provider.invoice().await.unwrap();
    assert_eq!(provider.seen("/cb"), ["session=a%20b&amount=2000"]);

    let provider = Provider::honest().await;
    let mut options = provider.options();
    options.comment = false;
    let backend = farebox_lightning::lnurl::LightningAddress::new(options);
    backend.create_invoice(request(2000)).await.unwrap();
    assert_eq!(provider.seen("/cb"), ["session=a%20b&amount=2000"]);
}

#[tokio::test]
async fn the_address_is_resolved_once_for_many_invoices_at_a_time() {
    let provider = Provider::honest().await;
    let backend = provider.backend();
    let create = || backend.create_invoice(request(2000));
    let (one, two, three) = tokio::join!(create(), create(), create());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    create().await.unwrap();
    assert_eq!(provider.seen(WELL_KNOWN).len(), 1);
    assert_eq!(provider.seen("/cb").len(), 4);
}

#[tokio::test]
async fn limits_are_the_providers_once_they_are_known() {
    let provider = Provider::honest().await;
    let backend = provider.backend();
    assert_eq!(backend.limits(), AmountLimits::ANY);
    let limits = backend.resolve().await.unwrap();
    assert_eq!((limits.min.get(), limits.max.get()), (1000, 5_000_000));
    assert_eq!(backend.limits(), limits);
    assert_eq!(provider.seen("/cb"), [""; 0]);
}

#[tokio::test]
async fn a_description_passes_as_far_as_the_operator_lets_it() {
    let made = async |description: fn() -> Described, commitment| {
        let draft = move |ask: &Ask| Draft {
            description: description(),
            ..ask.draft()
        };
        let mut options = Provider::drafting(draft).await.options();
        options.metadata_commitment = commitment;
        let backend = LightningAddress::new(options);
        backend.create_invoice(request(2000)).await.is_ok()
    };
    let right = || Described::Hash(METADATA.into());
    let plain = || Described::Text("Pay kiosk");
    let other = || Described::Hash(b"Pay kiosk".into());
    for (commitment, passes) in [
        (MetadataCommitment::Required, [true, false, false]),
        (MetadataCommitment::WhereGiven, [true, true, false]),
        (MetadataCommitment::Any, [true, true, true]),
    ] {
        assert_eq!(made(right, commitment).await, passes[0], "{commitment:?}");
        assert_eq!(made(plain, commitment).await, passes[1], "{commitment:?}");
        assert_eq!(made(other, commitment).await, passes[2], "{commitment:?}");
    }
}

/// How a provider answers somebody who asks for a part of a satoshi.
const PARTS_OF_A_SATOSHI: [fn(&Ask) -> Reply; 3] = [
    |_| Reply::Json(json!({ "status": "ERROR", "reason": "amount must be whole sats" })),
    |ask| rounded(ask, 0).reply(),
    |ask| rounded(ask, 1000).reply(),
];

fn rounded(ask: &Ask, more: u64) -> Draft {
    Draft {
        msat: Some(ask.amount() / 1000 * 1000 + more),
        ..ask.draft()
    }
}

#[tokio::test]
async fn a_provider_of_whole_satoshis_is_asked_for_them_from_then_on() {
    for reply in PARTS_OF_A_SATOSHI {
        let provider = Provider::calling_back(move |ask| {
            if ask.amount().is_multiple_of(1000) {
                ask.honest()
            } else {
                reply(ask)
            }
        })
        .await;
        let backend = provider.backend();
        backend.create_invoice(request(3000)).await.unwrap();
        assert_eq!(backend.limits().step.get(), 1);
        // Never handed out as the one that was asked for.
        backend.create_invoice(request(1500)).await.unwrap_err();
        let limits = backend.limits();
        assert_eq!((limits.min.get(), limits.step.get()), (1000, 1000));
        assert_eq!(
            limits.cover(request(1500).amount),
            Some(request(2000).amount)
        );
        let calls = provider.seen("/cb").len();
        let refused = backend.create_invoice(request(1500)).await.unwrap_err();
        assert!(
            matches!(refused, NodeError::AmountOutOfRange { .. }),
            "{refused}"
        );
        assert_eq!(provider.seen("/cb").len(), calls);
        backend.create_invoice(request(2000)).await.unwrap();
        assert_eq!(backend.limits(), limits);
    }
}

#[tokio::test]
async fn a_refusal_that_was_not_about_parts_of_a_satoshi_teaches_nothing() {
    let provider = Provider::calling_back(|ask| match ask.earlier {
        0..2 => Reply::Json(json!({ "status": "ERROR", "reason": "closed for lunch" })),
        _ => ask.honest(),
    })
    .await;
    let backend = provider.backend();
    backend.create_invoice(request(1500)).await.unwrap_err();
    backend.create_invoice(request(2000)).await.unwrap_err();
    assert_eq!(backend.limits().step.get(), 1);
    assert!(backend.create_invoice(request(1500)).await.is_ok());
}

/// The state that a provider's `verify` answer leads to, for an invoice it made.
async fn looked_up(
    verify: impl Fn(&Draft) -> Value + Send + Sync + 'static,
) -> Result<InvoiceState, farebox_lightning::NodeError> {
    let provider = Provider::start(move |ask| match ask.path.as_str() {
        "/cb" => {
            let url = format!("{}/verify?{}", ask.base, ask.query);
            Reply::Json(json!({ "pr": ask.draft().sign(), "verify": url }))
        }
        "/verify" => Reply::Json(verify(&ask.draft())),
        _ => ask.honest(),
    })
    .await;
    let backend = provider.backend();
    let created = backend.create_invoice(request(2000)).await.unwrap();
    backend.lookup_invoice(created.payment_hash).await
}

fn preimage(draft: &Draft) -> String {
    hex::encode(draft.preimage().reveal())
}

#[tokio::test]
async fn a_payment_is_looked_up_where_the_provider_offers_it() {
    let unpaid = |draft: &Draft| json!({ "settled": false, "preimage": null, "pr": draft.sign() });
    assert_eq!(looked_up(unpaid).await.unwrap(), InvoiceState::Open);
    let settled = InvoiceState::Settled { received: None };
    let paid = |draft: &Draft| json!({ "settled": true, "preimage": preimage(draft) });
    assert_eq!(looked_up(paid).await.unwrap(), settled);
    let inside_the_house = |_: &Draft| json!({ "settled": true, "preimage": null });
    assert_eq!(looked_up(inside_the_house).await.unwrap(), settled);
}

#[tokio::test]
async fn what_the_provider_calls_settled_is_settled_whatever_preimage_it_shows() {
    let words = [
        "11".repeat(32),
        "8f1f6b2e-5d1c-4a77-9a3b-2f3c1d0e9b11".to_owned(),
    ];
    for shown in odd().into_iter().chain(words.map(Value::from)) {
        let answer = json!({ "status": "OK", "settled": true, "preimage": shown });
        let state = looked_up(move |_| answer.clone()).await;
        let settled = InvoiceState::Settled { received: None };
        assert_eq!(state.unwrap(), settled, "{shown}");
        let answer = json!({ "settled": false, "preimage": shown });
        let state = looked_up(move |_| answer.clone()).await;
        assert_eq!(state.unwrap(), InvoiceState::Open, "{shown}");
    }
}

#[tokio::test]
async fn an_invoice_that_is_not_found_before_it_is_paid_is_open() {
    let missing = |_: &Draft| json!({ "status": "ERROR", "reason": "Not found" });
    assert_eq!(looked_up(missing).await.unwrap(), InvoiceState::Open);
    let busy = |_: &Draft| json!({ "status": "ERROR", "reason": "busy" });
    assert!(looked_up(busy).await.is_err());
    let body = json!({ "status": "ERROR", "reason": "Invoice not found" }).to_string();
    let provider = Provider::start(move |ask| match ask.path.as_str() {
        "/cb" => {
            let url = format!("{}/verify", ask.base);
            Reply::Json(json!({ "pr": ask.draft().sign(), "verify": url }))
        }
        "/verify" => Reply::Raw {
            status: 404,
            headers: vec![],
            body: body.clone().into(),
        },
        _ => ask.honest(),
    })
    .await;
    let backend = provider.backend();
    let created = backend.create_invoice(request(2000)).await.unwrap();
    let state = backend.lookup_invoice(created.payment_hash).await;
    assert_eq!(state.unwrap(), InvoiceState::Open);
}

#[tokio::test]
async fn a_lookup_about_another_invoice_proves_nothing() {
    let other_invoice = |draft: &Draft| {
        let other = Draft {
            preimage: [1; 32],
            ..copy(draft)
        };
        json!({ "settled": true, "preimage": preimage(draft), "pr": other.sign() })
    };
    assert!(looked_up(other_invoice).await.is_err());
}

fn copy(draft: &Draft) -> Draft {
    Draft {
        msat: draft.msat,
        currency: draft.currency.clone(),
        description: Described::Text("x"),
        preimage: draft.preimage,
        age: draft.age,
        expiry: draft.expiry,
    }
}

#[tokio::test]
async fn without_a_verify_url_an_invoice_is_unknown() {
    let provider = Provider::honest().await;
    let backend = provider.backend();
    let created = backend.create_invoice(request(2000)).await.unwrap();
    assert_eq!(
        backend.lookup_invoice(created.payment_hash).await.unwrap(),
        InvoiceState::Unknown
    );
}

#[tokio::test]
async fn an_amount_out_of_range_is_refused_without_asking() {
    let provider = Provider::honest().await;
    let backend = provider.backend();
    for msat in [1, 999, 5_000_001] {
        let error = backend.create_invoice(request(msat)).await.unwrap_err();
        let farebox_lightning::NodeError::AmountOutOfRange { amount, min, max } = error else {
            panic!("{error}")
        };
        assert_eq!(amount, Msat::new(msat).unwrap());
        assert_eq!((min.get(), max.get()), (1000, 5_000_000));
    }
    assert_eq!(provider.seen("/cb"), [""; 0]);
}
