//! A stand-in for phoenixd as far as receiving goes: invoices, look-ups, the list of what came in,
//! and its webhook.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farebox::clock::SystemClock;
use farebox_core::{Clock, Msat, PaymentHash};
use farebox_lightning::mock::MockNode;
use farebox_lightning::{CreateInvoice, InvoiceRequest};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use super::calls::{Ask, answer_with, read};
use crate::harness::{Call, Reply, TestGateway};

/// `webhook-secret` of its `phoenix.conf`.
pub(super) const WEBHOOK_SECRET: &str = "ef72d3b96324106dfbf83f2a4efeff7d";
/// Where the gateway listens for it.
pub(super) const WEBHOOK: &str = "/.farebox/webhooks/phoenixd";

/// The node.
pub(crate) struct Phoenixd {
    address: SocketAddr,
    desk: Arc<Desk>,
    folder: TempDir,
}

struct Desk {
    mock: MockNode,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// What each invoice asks for, in satoshis.
    invoices: HashMap<PaymentHash, u64>,
    /// What came in, in satoshis, and when.
    paid: HashMap<PaymentHash, (u64, u64)>,
    /// It keeps half a satoshi of each payment, and does not tell what was asked for.
    takes_a_fee: bool,
    /// How often it was asked what came in.
    lists: usize,
}

impl Phoenixd {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            mock: MockNode::new(Arc::new(SystemClock)).unwrap(),
            book: Mutex::default(),
        });
        let clerk = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let clerk = Arc::clone(&clerk);
                std::thread::spawn(move || clerk.attend(stream));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "hunter2-hunter2").unwrap();
        Self {
            address,
            desk,
            folder,
        }
    }

    /// The lines of `[lightning]` for it, without its webhook.
    pub(crate) fn toml_without_webhook(&self) -> String {
        let password = self.folder.path().join("password");
        let address = self.address;
        format!(
            "backend = \"phoenixd\"\nurl = \"http://{address}\"\n\
             password = {{ file = {password:?} }}"
        )
    }

    /// The lines of `[lightning]` for it.
    pub(super) fn toml(&self, webhook_secret: &str) -> String {
        let file = self.folder.path().join(format!("{webhook_secret}.txt"));
        std::fs::write(&file, webhook_secret).unwrap();
        let lightning = self.toml_without_webhook();
        format!("{lightning}\nwebhook_secret = {{ file = {file:?} }}")
    }

    /// Pays one of its invoices with `extra` satoshis on top, tells nobody, and gives the preimage
    /// in hex.
    pub(crate) fn pay(&self, invoice: &str, extra: u64) -> String {
        let preimage = self.desk.mock.pay(invoice).unwrap();
        let hash = preimage.payment_hash();
        let mut book = self.desk.book.lock().unwrap();
        let sats = book.invoices[&hash] + extra;
        book.paid.insert(hash, (sats, SystemClock.now().get()));
        hex::encode(preimage.reveal())
    }

    /// From now on half a satoshi of each payment is a fee, and nobody is told what was asked for.
    pub(crate) fn take_a_fee(&self) {
        self.desk.book.lock().unwrap().takes_a_fee = true;
    }

    /// How often it was asked what came in.
    pub(super) fn lists(&self) -> usize {
        self.desk.book.lock().unwrap().lists
    }
}

/// What phoenixd tells of a payment.
pub(super) fn event(hash: &str) -> String {
    json!({
        "type": "payment_received", "timestamp": 1_712_785_550_079_u64, "amountSat": 1,
        "paymentHash": hash, "externalId": null,
    })
    .to_string()
}

/// A call of the webhook, signed with a secret.
pub(super) fn signed(secret: &str, body: &str) -> Call {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    Call::post(WEBHOOK, body).header("X-Phoenix-Signature", &signature)
}

/// phoenixd tells the gateway of a payment.
pub(super) fn ring(gateway: &TestGateway, hash: &str) -> Reply {
    gateway.send(&signed(WEBHOOK_SECRET, &event(hash)))
}

impl Desk {
    fn attend(&self, mut stream: TcpStream) {
        let Some(ask) = read(&stream) else { return };
        let path: Vec<_> = ask.path.split('/').skip(1).collect();
        let answer = match (ask.method.as_str(), path.as_slice()) {
            ("POST", ["createinvoice"]) => Some(self.create(&ask)),
            ("GET", ["payments", "incoming"]) => Some(self.list(&ask)),
            ("GET", ["payments", "incoming", hash]) => {
                let book = self.book.lock().unwrap();
                book.find(&PaymentHash::from_hex(hash).unwrap())
            }
            ("GET", ["getinfo"]) => Some(json!({
                "nodeId": "02aa", "chain": "mainnet", "version": "0.8.0",
                "channels": [{ "inboundLiquiditySat": 1_000_000 }],
            })),
            _ => None,
        };
        match answer {
            Some(answer) => answer_with(&mut stream, 200, &answer.to_string()),
            None => answer_with(&mut stream, 404, "Not found"),
        }
    }

    fn create(&self, ask: &Ask) -> Value {
        let sats = field(&ask.body, "amountSat");
        let request = InvoiceRequest {
            amount: Msat::new(sats * 1000).unwrap(),
            memo: "a call".to_owned(),
            expiry: Duration::from_secs(field(&ask.body, "expirySeconds")),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let made = runtime.unwrap().block_on(self.mock.create_invoice(request));
        let made = made.unwrap();
        let mut book = self.book.lock().unwrap();
        book.invoices.insert(made.payment_hash, sats);
        json!({
            "amountSat": sats, "paymentHash": made.payment_hash.to_string(),
            "serialized": made.bolt11,
        })
    }

    /// The newest first.
    fn list(&self, ask: &Ask) -> Value {
        let mut book = self.book.lock().unwrap();
        book.lists += 1;
        let since = field(&ask.query, "from");
        let mut paid: Vec<_> = book.paid.iter().map(|(hash, (_, at))| (at, hash)).collect();
        paid.retain(|(at, _)| **at >= since);
        paid.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(**at));
        let found = paid.into_iter().filter_map(|(_, hash)| book.find(hash));
        let skip = usize::try_from(field(&ask.query, "offset")).unwrap();
        let take = usize::try_from(field(&ask.query, "limit")).unwrap();
        found.skip(skip).take(take).collect()
    }
}

impl Book {
    fn find(&self, hash: &PaymentHash) -> Option<Value> {
        let asked = self.invoices.get(hash)?;
        let paid = self.paid.get(hash);
        if let Some((sats, at)) = paid.filter(|_| self.takes_a_fee) {
            return Some(json!({
                "type": "incoming_payment", "paymentHash": hash.to_string(), "isPaid": true,
                "receivedSat": sats - 1, "fees": 500, "completedAt": at,
            }));
        }
        Some(json!({
            "type": "incoming_payment", "paymentHash": hash.to_string(),
            "isPaid": paid.is_some(), "requestedSat": asked,
            "receivedSat": paid.map_or(0, |(sats, _)| *sats), "fees": 0,
            "completedAt": paid.map(|(_, at)| *at),
        }))
    }
}

/// A number out of a form or a query.
fn field(form: &str, name: &str) -> u64 {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name);
    value.unwrap().1.parse().unwrap()
}
