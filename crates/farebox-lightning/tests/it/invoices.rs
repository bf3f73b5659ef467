//! What works with an honest provider.

use farebox_core::{Clock, Msat};
use farebox_lightning::lnurl::MetadataCommitment;
use farebox_lightning::{AmountLimits, CreateInvoice, InvoiceState, LookupInvoice, parse_invoice};
use serde_json::{Value, json};

use crate::provider::{Ask, Described, Draft, Provider, Reply, clock, request};

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
async fn a_plain_description_passes_only_where_the_operator_lets_it() {
    let plain = |ask: &Ask| Draft {
        description: Described::Text("pay me"),
        ..ask.draft()
    };
    let provider = Provider::drafting(plain).await;
    assert!(provider.invoice().await.is_err());
    let mut options = provider.options();
    options.metadata_commitment = MetadataCommitment::WhereGiven;
    let backend = farebox_lightning::lnurl::LightningAddress::new(options);
    assert!(backend.create_invoice(request(2000)).await.is_ok());
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
async fn a_lookup_that_contradicts_itself_proves_nothing() {
    let wrong_preimage = |_: &Draft| json!({ "settled": true, "preimage": "11".repeat(32) });
    assert!(looked_up(wrong_preimage).await.is_err());
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
