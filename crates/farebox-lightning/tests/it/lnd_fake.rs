//! Backends over the scripted LND of the testkit; each test changes one thing about an honest node.

use std::ops::Deref;
use std::time::Duration;

use farebox_core::{Msat, Preimage};
use farebox_http::client::Trust;
use farebox_lightning::lnd::{Lnd, Macaroon};
use farebox_lightning::{Network, NodeOptions};
use farebox_testkit::lnd::{self, FakeLnd};
pub(crate) use farebox_testkit::lnd::{Call, Reply, Then, base64, invoice, payment, refusal};
use lightning_invoice::Currency;

use crate::provider::{Described, Draft, clock};

pub(crate) struct FakeNode(FakeLnd);

impl FakeNode {
    pub(crate) async fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self(FakeLnd::start(script).unwrap())
    }

    /// A node that makes honest invoices and otherwise does what the script says.
    pub(crate) async fn honest() -> Self {
        Self::start(|call| match call.path.as_str() {
            "/v1/invoices" => added(&draft(call)),
            _ => Reply::Json(404, refusal(5, "Not Found")),
        })
        .await
    }

    pub(crate) fn seen_paths(&self) -> Vec<String> {
        self.all_seen().into_iter().map(|call| call.path).collect()
    }

    pub(crate) fn options(&self) -> NodeOptions<Macaroon> {
        let url = format!("https://{}", self.address()).parse().unwrap();
        let mut options = NodeOptions::new(url, everything(), clock());
        options.trust = Trust::Pinned(vec![self.certificate().unwrap().clone()]);
        options.network = Network::Regtest;
        options
    }

    pub(crate) fn lnd(&self) -> Lnd {
        Lnd::new(self.options()).unwrap()
    }

    /// A backend that gives up soon.
    pub(crate) fn impatient(&self) -> Lnd {
        let mut options = self.options();
        options.call_timeout = Duration::from_millis(300);
        Lnd::new(options).unwrap()
    }
}

impl Deref for FakeNode {
    type Target = FakeLnd;

    fn deref(&self) -> &FakeLnd {
        &self.0
    }
}

/// The invoice an honest node makes for this call, different each time.
pub(crate) fn draft(call: &Call) -> Draft {
    let mut preimage = [9; 32];
    preimage[..8].copy_from_slice(&call.earlier.to_be_bytes());
    let number = |field: &str| call.body[field].as_str().unwrap().parse().unwrap();
    Draft {
        msat: Some(number("value_msat")),
        currency: Currency::Regtest,
        description: Described::Text("a call"),
        preimage,
        age: Duration::ZERO,
        expiry: Duration::from_secs(number("expiry")),
    }
}

/// The answer to `POST /v1/invoices`.
pub(crate) fn added(draft: &Draft) -> Reply {
    lnd::added(draft.preimage().payment_hash(), &draft.sign())
}

pub(crate) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub(crate) fn preimage(byte: u8) -> Preimage {
    Preimage::from_bytes([byte; 32])
}

fn everything() -> Macaroon {
    macaroon(&[
        ("invoices", &["read", "write"]),
        ("offchain", &["read", "write"]),
        ("info", &["read"]),
    ])
}

/// A macaroon with these permissions, its signature left blank.
pub(crate) fn macaroon(operations: &[(&str, &[&str])]) -> Macaroon {
    Macaroon::read(&lnd::macaroon(operations)).unwrap()
}
