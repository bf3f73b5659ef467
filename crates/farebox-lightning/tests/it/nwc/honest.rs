//! A real relay (`nostr-relay-builder`) and a wallet service in front of the mock node.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::Msat;
use farebox_lightning::{
    CheckAccess, InvoiceState, LookupInvoice, PayInvoice, PaymentState, WatchEvent,
    WatchSettlements,
};
use farebox_testkit::mock_node::TestNode;
use farebox_testkit::wallet_service::{TestRelay, WalletOptions, WalletService};

use super::{backend, bill, invoice, node, until};

fn serve(relays: &[&TestRelay], node: &Arc<TestNode>) -> WalletService {
    let urls: Vec<_> = relays.iter().map(|relay| relay.url()).collect();
    WalletService::start(&urls, node.backend(), WalletOptions::default()).unwrap()
}

#[tokio::test]
async fn an_invoice_is_made_paid_and_looked_up() {
    let relay = TestRelay::start().unwrap();
    let node = node();
    let wallet = serve(&[&relay], &node);
    let backend = backend(wallet.uri());
    let made = invoice(&backend).await.unwrap();
    assert_eq!(made.amount.get(), 21_000);
    let look_up = || backend.lookup_invoice(made.payment_hash);
    assert_eq!(look_up().await.unwrap(), InvoiceState::Open);
    node.pay(&made.bolt11).unwrap();
    let received = Some(made.amount);
    assert_eq!(look_up().await.unwrap(), InvoiceState::Settled { received });
    let other = invoice(&backend).await.unwrap();
    assert_ne!(other.payment_hash, made.payment_hash);
}

#[tokio::test]
async fn an_invoice_of_another_wallet_is_unknown() {
    let relay = TestRelay::start().unwrap();
    let wallet = serve(&[&relay], &node());
    let others = bill(&node(), Duration::from_secs(1)).await;
    let backend = backend(wallet.uri());
    let state = backend.lookup_invoice(others.payment_hash);
    assert_eq!(state.await.unwrap(), InvoiceState::Unknown);
}

#[tokio::test]
async fn a_payment_is_made_once_and_proves_itself() {
    let relay = TestRelay::start().unwrap();
    let (payer, payee) = (node(), node());
    payer.connect(&payee);
    payer.set_fee(Msat::new(7).unwrap());
    let wallet = serve(&[&relay], &payer);
    let backend = backend(wallet.uri());
    let bill = bill(&payee, Duration::from_secs(10)).await;
    let paid = backend.pay_invoice(bill.clone()).await.unwrap();
    let PaymentState::Succeeded { fee, preimage } = paid else {
        panic!("{paid:?}");
    };
    assert_eq!(fee.get(), 7);
    assert!(preimage.unwrap().opens(&bill.payment_hash));
    let again = backend.pay_invoice(bill.clone()).await.unwrap();
    assert!(matches!(again, PaymentState::Succeeded { .. }), "{again:?}");
    let state = backend.payment_state(bill.payment_hash).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { .. }), "{state:?}");
    assert_eq!(wallet.heard("pay_invoice"), 1);
    assert_eq!(payer.paid_out().0, 1);
}

#[tokio::test]
async fn a_settlement_is_told_of_by_itself_and_once() {
    let (first, second) = (TestRelay::start().unwrap(), TestRelay::start().unwrap());
    let node = node();
    let wallet = serve(&[&first, &second], &node);
    let backend = Arc::new(backend(wallet.uri()));
    let made = invoice(&backend).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watching = Arc::clone(&backend);
    let watching = tokio::spawn(async move {
        let mut sink = |event| {
            let _ = tell.send(event);
        };
        watching.watch(None, &mut sink).await
    });
    assert_eq!(told.recv().await, Some(WatchEvent::Listening));
    node.pay(&made.bolt11).unwrap();
    let Some(WatchEvent::Settled(settled)) = told.recv().await else {
        panic!("not told");
    };
    assert_eq!(settled.payment_hash, made.payment_hash);
    assert_eq!(settled.received, Some(made.amount));
    let next = invoice(&backend).await.unwrap();
    node.pay(&next.bolt11).unwrap();
    let Some(WatchEvent::Settled(settled)) = told.recv().await else {
        panic!("not told");
    };
    assert_eq!(settled.payment_hash, next.payment_hash);
    drop((first, second));
    let ended = tokio::time::timeout(Duration::from_secs(20), watching).await;
    let ended = ended.unwrap().unwrap().unwrap_err();
    assert!(ended.is_temporary(), "{ended}");
}

#[tokio::test]
async fn a_dead_relay_beside_a_living_one_does_no_harm() {
    let (dead, living) = (TestRelay::start().unwrap(), TestRelay::start().unwrap());
    let wallet = serve(&[&dead, &living], &node());
    let backend = backend(wallet.uri());
    invoice(&backend).await.unwrap();
    drop(dead);
    for _ in 0..3 {
        invoice(&backend).await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_that_comes_back_is_used_again() {
    let relay = TestRelay::start().unwrap();
    let port = relay.port();
    let wallet = serve(&[&relay], &node());
    let backend = backend(wallet.uri());
    invoice(&backend).await.unwrap();
    drop(relay);
    let away = until("the loss of the relay", async || {
        invoice(&backend).await.err()
    })
    .await;
    assert!(away.is_temporary(), "{away}");
    let _relay = TestRelay::start_on(port).unwrap();
    until("an invoice", async || invoice(&backend).await.ok()).await;
}

/// Every worker of the gateway has a runtime of its own, and the one that connected may end first.
#[test]
fn a_backend_outlives_the_runtime_that_connected_it() {
    let relay = TestRelay::start().unwrap();
    let wallet = serve(&[&relay], &node());
    let backend = backend(wallet.uri());
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = runtime();
    first.block_on(invoice(&backend)).unwrap();
    drop(first);
    runtime().block_on(invoice(&backend)).unwrap();
}

#[tokio::test]
async fn the_wallet_says_what_it_allows() {
    let relay = TestRelay::start().unwrap();
    let options = WalletOptions {
        methods: "make_invoice get_info pay_keysend",
        notifications: "",
        ..WalletOptions::default()
    };
    let wallet = WalletService::start(&[relay.url()], node().backend(), options).unwrap();
    let backend = backend(wallet.uri());
    let report = backend.check_access().await.unwrap();
    assert!(report.identity.contains("wallet of a test"), "{report:?}");
    assert_eq!(report.missing, ["lookup_invoice"]);
    assert_eq!(report.needless, ["pay_keysend"]);
    let remarks = report.remarks.join("\n");
    for remark in ["pay_invoice is not allowed", "does not notify", "regtest"] {
        assert!(remarks.contains(remark), "{remarks}");
    }
    assert!(!format!("{report:?}").contains("secret"));
}
