use std::collections::HashSet;
use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_testkit::ManualClock;

use super::*;
use crate::{Description, parse_invoice};

fn node() -> (MockNode, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (MockNode::new(clock.clone()).unwrap(), clock)
}

fn request(msat: u64) -> InvoiceRequest {
    InvoiceRequest {
        amount: Msat::new(msat).unwrap(),
        memo: "one call".to_owned(),
        expiry: Duration::from_secs(600),
    }
}

async fn invoice(node: &MockNode, msat: u64) -> CreatedInvoice {
    node.create_invoice(request(msat)).await.unwrap()
}

#[tokio::test]
async fn an_invoice_says_what_was_asked_for() {
    let (node, clock) = node();
    for msat in [
        1,
        999,
        1000,
        2_500_000,
        100_000_000_000,
        AmountLimits::ANY.max.get(),
    ] {
        let created = invoice(&node, msat).await;
        let read = parse_invoice(&created.bolt11).unwrap();
        assert!(created.bolt11.starts_with("lnbc"));
        assert_eq!((read.amount.get(), created.amount.get()), (msat, msat));
        assert_eq!(read.payment_hash, created.payment_hash);
        assert_eq!(
            created.expires_at,
            clock.now().plus(Duration::from_secs(600))
        );
        assert_eq!(read.expires_at, created.expires_at);
        assert_eq!(read.description, Description::Text("one call".to_owned()));
    }
}

#[tokio::test]
async fn paying_gives_the_preimage_and_paying_again_the_same() {
    let (node, _) = node();
    let created = invoice(&node, 1000).await;
    let preimage = node.pay(&created.bolt11).unwrap();
    assert!(preimage.opens(&created.payment_hash));
    assert!(node.pay(&created.bolt11).unwrap() == preimage);
}

#[tokio::test]
async fn no_two_invoices_share_a_payment_hash() {
    let (node, _) = node();
    let mut hashes = HashSet::new();
    for _ in 0..100 {
        assert!(hashes.insert(invoice(&node, 1000).await.payment_hash));
    }
}

#[tokio::test]
async fn a_node_started_again_with_its_secret_pays_old_invoices_and_repeats_none() {
    let start = || {
        let mut options = MockOptions::new(Arc::new(ManualClock::default()));
        options.secret = Some(Secret::new([7; 32]));
        MockNode::with_options(options).unwrap()
    };
    let before = invoice(&start(), 1000).await;
    let node = start();
    assert!(
        node.pay(&before.bolt11)
            .unwrap()
            .opens(&before.payment_hash)
    );
    assert_ne!(invoice(&node, 1000).await.payment_hash, before.payment_hash);
}

#[tokio::test]
async fn a_foreign_invoice_is_not_paid() {
    let (ours, _) = node();
    let (theirs, _) = node();
    let created = invoice(&theirs, 1000).await;
    assert_eq!(ours.pay(&created.bolt11), Err(PayError::Foreign));
}

#[tokio::test]
async fn an_invoice_that_copies_our_payment_secret_and_hash_is_foreign() {
    let (ours, _) = node();
    let created = invoice(&ours, 1_000_000).await;
    let copied = crate::invoice::decode(&created.bolt11).unwrap();
    let (raw, _, _) = copied.into_signed_raw().into_parts();
    let thief = NodeKeys::new(None).unwrap();
    let forged = raw.sign::<_, ()>(|hash| Ok(thief.sign(hash))).unwrap();
    assert_eq!(ours.pay(&forged.to_string()), Err(PayError::Foreign));
}

#[tokio::test]
async fn an_expired_invoice_is_not_paid() {
    let (node, clock) = node();
    let created = invoice(&node, 1000).await;
    clock.set(UnixMillis::new(created.expires_at.get() - 1));
    assert!(node.pay(&created.bolt11).is_ok());
    clock.set(created.expires_at);
    assert_eq!(node.pay(&created.bolt11), Err(PayError::Expired));
}

#[tokio::test]
async fn a_paid_invoice_is_settled_and_an_unpaid_one_open() {
    let (node, _) = node();
    let (paid, unpaid) = (invoice(&node, 1000).await, invoice(&node, 1000).await);
    node.pay(&paid.bolt11).unwrap();
    let state = async |hash| node.lookup_invoice(hash).await.unwrap();
    let received = Some(Msat::new(1000).unwrap());
    assert_eq!(
        state(paid.payment_hash).await,
        InvoiceState::Settled { received }
    );
    assert_eq!(state(unpaid.payment_hash).await, InvoiceState::Open);
}

#[tokio::test]
async fn it_pays_its_own_invoices_once_and_no_others() {
    let ((node, _), (other, _)) = (node(), node());
    let pay = async |created: &CreatedInvoice| {
        let request = PaymentRequest {
            bolt11: created.bolt11.clone(),
            payment_hash: created.payment_hash,
            amount: created.amount,
            max_fee: Msat::ZERO,
            patience: Duration::ZERO,
        };
        node.pay_invoice(request).await.unwrap()
    };
    let (own, foreign) = (invoice(&node, 1000).await, invoice(&other, 1000).await);
    let unheard = node.payment_state(own.payment_hash).await.unwrap();
    assert_eq!(unheard, PaymentState::Unheard);
    let paid = pay(&own).await;
    assert!(matches!(paid, PaymentState::Succeeded { .. }), "{paid:?}");
    assert_eq!(pay(&own).await, paid);
    assert_eq!(node.payment_state(own.payment_hash).await.unwrap(), paid);
    let failed = PaymentState::Failed(PaymentFailure::NoRoute);
    assert_eq!(pay(&foreign).await, failed);
}

#[tokio::test]
async fn an_amount_outside_of_the_limits_is_refused() {
    let mut options = MockOptions::new(Arc::new(ManualClock::default()));
    options.limits.max = Msat::new(5000).unwrap();
    let node = MockNode::with_options(options).unwrap();
    assert!(node.create_invoice(request(5000)).await.is_ok());
    let refused = node.create_invoice(request(5001)).await;
    assert!(matches!(refused, Err(NodeError::AmountOutOfRange { .. })));
}

#[tokio::test]
async fn the_network_shows_in_the_prefix() {
    for (network, prefix) in [(Network::Regtest, "lnbcrt"), (Network::Testnet, "lntb")] {
        let mut options = MockOptions::new(Arc::new(ManualClock::default()));
        options.network = network;
        let created = invoice(&MockNode::with_options(options).unwrap(), 1000).await;
        assert!(created.bolt11.starts_with(prefix));
        assert_eq!(parse_invoice(&created.bolt11).unwrap().network, network);
    }
}

#[tokio::test]
async fn a_long_memo_is_cut_between_characters() {
    let (node, _) = node();
    let mut request = request(1000);
    request.memo = "é".repeat(400);
    let created = node.create_invoice(request).await.unwrap();
    let description = parse_invoice(&created.bolt11).unwrap().description;
    assert_eq!(description, Description::Text("é".repeat(319)));
}
