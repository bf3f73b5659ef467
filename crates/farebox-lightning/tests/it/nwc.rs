//! The Nostr Wallet Connect backend: against a real relay and a wallet service, and against relays
//! and wallets that do whatever a test says.

mod honest;
mod lies;
mod outages;
mod payments;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Msat, Secret};
use farebox_lightning::nwc::{Nwc, NwcOptions};
use farebox_lightning::{CreateInvoice, CreatedInvoice, InvoiceRequest, NodeError, PaymentRequest};
use farebox_testkit::WallClock;
use farebox_testkit::mock_node::TestNode;

fn options(uri: &str) -> NwcOptions {
    NwcOptions::new(Secret::new(uri.to_owned()), Arc::new(WallClock))
}

fn backend(uri: &str) -> Nwc {
    Nwc::new(options(uri)).unwrap()
}

/// A backend that gives up soon, for tests in which nothing comes.
fn hasty(uri: &str) -> Nwc {
    let mut options = options(uri);
    options.call_timeout = Duration::from_millis(400);
    Nwc::new(options).unwrap()
}

fn node() -> Arc<TestNode> {
    Arc::new(TestNode::new(Arc::new(WallClock)))
}

fn request(msat: u64) -> InvoiceRequest {
    InvoiceRequest {
        amount: Msat::new(msat).unwrap(),
        memo: "a call".to_owned(),
        expiry: Duration::from_secs(600),
    }
}

async fn invoice(backend: &Nwc) -> Result<CreatedInvoice, NodeError> {
    backend.create_invoice(request(21_000)).await
}

/// A request to pay an invoice of somebody else's node.
async fn bill(payee: &TestNode, patience: Duration) -> PaymentRequest {
    let made = payee.create_invoice(request(5000)).await.unwrap();
    PaymentRequest {
        bolt11: made.bolt11,
        payment_hash: made.payment_hash,
        amount: made.amount,
        max_fee: Msat::new(1000).unwrap(),
        patience,
    }
}

/// Waits for what comes about by itself.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), looking).await;
    found.unwrap_or_else(|_| panic!("{what} did not come about"))
}
