//! A stand-in for LND as far as receiving goes: invoices, look-ups, the stream of settlements, and
//! who it is.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox::clock::SystemClock;
use farebox_core::{Msat, PaymentHash, UnixMillis};
use farebox_lightning::mock::MockNode;
use farebox_lightning::{CreateInvoice, InvoiceRequest};
use farebox_testkit::ManualClock;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::calls::{answer_with, read};

/// Everything that receiving needs.
pub(crate) const INVOICES: &[(&str, &[&str])] = &[("invoices", &["read", "write"])];

/// The node.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    folder: TempDir,
}

struct Desk {
    mock: MockNode,
    book: Mutex<Book>,
    news: Condvar,
}

#[derive(Default)]
struct Book {
    /// Whoever calls is hung up on.
    away: bool,
    invoices: HashMap<PaymentHash, u64>,
    /// In the order of their settlement, with what was paid.
    settled: Vec<(PaymentHash, u64)>,
    /// From where each subscription wanted to hear.
    subscriptions: Vec<u64>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(MockNode::new(Arc::new(SystemClock)).unwrap())
    }

    /// A node whose clock goes wrong by so many seconds.
    pub(crate) fn with_clock_ahead(seconds: u64) -> Self {
        use farebox_core::Clock;
        let now = SystemClock.now().get();
        let clock = ManualClock::new(UnixMillis::new(now + seconds * 1000));
        Self::with(MockNode::new(Arc::new(clock)).unwrap())
    }

    fn with(mock: MockNode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            mock,
            book: Mutex::default(),
            news: Condvar::new(),
        });
        let clerk = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let clerk = Arc::clone(&clerk);
                std::thread::spawn(move || clerk.attend(stream));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        Self {
            address,
            desk,
            folder,
        }
    }

    /// The lines of `[lightning]` for it, with a macaroon for invoices alone.
    pub(crate) fn toml(&self) -> String {
        self.toml_with(INVOICES)
    }

    /// The same with a macaroon that allows these operations.
    pub(crate) fn toml_with(&self, operations: &[(&str, &[&str])]) -> String {
        let file = self.folder.path().join("test.macaroon");
        std::fs::write(&file, macaroon(operations)).unwrap();
        let address = self.address;
        format!("backend = \"lnd\"\nurl = \"http://{address}\"\nmacaroon = {{ file = {file:?} }}")
    }

    /// A file with a macaroon for invoices alone.
    pub(crate) fn macaroon(&self) -> PathBuf {
        let file = self.folder.path().join("invoice.macaroon");
        std::fs::write(&file, macaroon(INVOICES)).unwrap();
        file
    }

    /// From now on whoever calls is hung up on, or not.
    pub(crate) fn be_away(&self, away: bool) {
        self.desk.book.lock().unwrap().away = away;
        self.desk.news.notify_all();
    }

    /// Pays one of its invoices and gives the preimage in hex; `extra` msat on top.
    pub(crate) fn pay(&self, invoice: &str, extra: u64) -> String {
        let preimage = self.desk.mock.pay(invoice).unwrap();
        let hash = preimage.payment_hash();
        let mut book = self.desk.book.lock().unwrap();
        let paid = book.invoices[&hash] + extra;
        book.settled.push((hash, paid));
        self.desk.news.notify_all();
        hex::encode(preimage.reveal())
    }

    /// From where each subscription so far wanted to hear.
    pub(crate) fn subscriptions(&self) -> Vec<u64> {
        self.desk.book.lock().unwrap().subscriptions.clone()
    }
}

impl Desk {
    fn attend(&self, mut stream: TcpStream) {
        let Some(ask) = read(&stream) else { return };
        if self.book.lock().unwrap().away {
            return;
        }
        let path: Vec<_> = ask.path.split('/').skip(1).collect();
        let (status, answer) = match (ask.method.as_str(), path.as_slice()) {
            ("POST", ["v1", "invoices"]) => (200, self.add(&ask.body)),
            ("GET", ["v1", "invoices"]) => (200, json!({ "invoices": self.all() })),
            ("GET", ["v1", "invoice", hash]) => self.look_up(hash),
            ("GET", ["v1", "getinfo"]) => (200, info()),
            ("GET", ["v1", "invoices", "subscribe"]) => {
                self.stream(&ask.query, &mut stream);
                return;
            }
            _ => (404, json!({ "code": 5, "message": "Not Found" })),
        };
        answer_with(&mut stream, status, &answer.to_string());
    }

    fn add(&self, body: &str) -> Value {
        let asked: Value = serde_json::from_str(body).unwrap();
        let number = |name: &str| asked[name].as_str().unwrap().parse().unwrap();
        let request = InvoiceRequest {
            amount: Msat::new(number("value_msat")).unwrap(),
            memo: "a call".to_owned(),
            expiry: Duration::from_secs(number("expiry")),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let made = runtime.unwrap().block_on(self.mock.create_invoice(request));
        let made = made.unwrap();
        let mut book = self.book.lock().unwrap();
        book.invoices.insert(made.payment_hash, made.amount.get());
        let r_hash = STANDARD.encode(made.payment_hash.as_bytes());
        json!({ "payment_request": made.bolt11, "r_hash": r_hash })
    }

    fn all(&self) -> Vec<Value> {
        let book = self.book.lock().unwrap();
        let places = 0..book.settled.len();
        places.map(|place| book.settlement(place)).collect()
    }

    fn look_up(&self, hex: &str) -> (u16, Value) {
        let hash = PaymentHash::from_hex(hex).unwrap();
        let book = self.book.lock().unwrap();
        let settled = book
            .settled
            .iter()
            .position(|(settled, _)| *settled == hash);
        match (settled, book.invoices.get(&hash)) {
            (Some(place), _) => (200, book.settlement(place)),
            (None, Some(value)) => (200, invoice(hash, *value, 0, 0)),
            (None, None) => (
                404,
                json!({ "code": 5, "message": "unable to locate invoice" }),
            ),
        }
    }

    /// Everything settled after the place in the query, and what comes, until the node goes away.
    fn stream(&self, query: &str, stream: &mut TcpStream) {
        let index = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("settle_index="));
        let from: u64 = index.unwrap().parse().unwrap();
        let mut book = self.book.lock().unwrap();
        book.subscriptions.push(from);
        let mut next = usize::try_from(from).unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut open = stream.write_all(head.as_bytes()).is_ok();
        while open && !book.away {
            while next < book.settled.len() {
                let line = format!("{}\n", json!({ "result": book.settlement(next) }));
                let chunk = format!("{:x}\r\n{line}\r\n", line.len());
                open = stream.write_all(chunk.as_bytes()).is_ok();
                next += 1;
            }
            book = self.news.wait(book).unwrap();
        }
    }
}

impl Book {
    fn settlement(&self, place: usize) -> Value {
        let (hash, paid) = self.settled[place];
        invoice(hash, self.invoices[&hash], paid, place + 1)
    }
}

fn invoice(hash: PaymentHash, value: u64, paid: u64, settle_index: usize) -> Value {
    json!({
        "r_hash": STANDARD.encode(hash.as_bytes()),
        "value_msat": value.to_string(),
        "amt_paid_msat": paid.to_string(),
        "settle_index": settle_index.to_string(),
        "state": if settle_index == 0 { "OPEN" } else { "SETTLED" },
    })
}

fn info() -> Value {
    json!({
        "version": "0.20.1-beta commit=v0.20.1-beta",
        "alias": "alice",
        "synced_to_chain": true,
        "num_active_channels": 1,
        "chains": [{ "chain": "bitcoin", "network": "mainnet" }],
    })
}

/// A macaroon as LND writes it, its signature left blank.
fn macaroon(operations: &[(&str, &[&str])]) -> Vec<u8> {
    let field = |tag: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
        [&[tag, length], value].concat()
    };
    let mut identifier = vec![3];
    for (entity, actions) in operations {
        let mut operation = field(10, entity.as_bytes());
        for action in *actions {
            operation.extend(field(18, action.as_bytes()));
        }
        identifier.extend(field(26, &operation));
    }
    let (identifier, signature) = (field(2, &identifier), field(6, &[0; 32]));
    [&[2], &identifier[..], &[0, 0], &signature].concat()
}
