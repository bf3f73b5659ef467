//! A stand-in for LND: its REST API, as far as Farebox uses it, over a mock node that lives in the
//! test. A second mock node, connected to it, is where refunds go.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use farebox::clock::SystemClock;
use farebox_core::{Msat, PaymentHash};
use farebox_lightning::mock::{MockNode, PayFault};
use farebox_lightning::{
    CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState, LookupInvoice, PayInvoice,
    PaymentRequest, PaymentState, parse_invoice,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Answer, Ask, serve};

/// How long a test waits for something that must happen.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// What happens to a request to pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OnSend {
    /// It is done, and answered.
    #[default]
    Obey,
    /// The connection breaks first.
    CutBefore,
    /// It is done, and the connection breaks.
    CutAfter,
    /// It is done, and never answered.
    SilentAfter,
    /// It is refused: the credential allows no payments.
    Forbid,
}

/// The node.
pub(super) struct Lnd {
    pub(super) address: SocketAddr,
    /// Whoever pays and is paid as the node.
    pub(super) node: Arc<MockNode>,
    /// Somebody else, whom the node can pay.
    pub(super) payee: Arc<MockNode>,
    desk: Arc<Desk>,
    folder: TempDir,
}

struct Desk {
    node: Arc<MockNode>,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    made: HashSet<PaymentHash>,
    /// The invoices that were to be paid, in order.
    sent: Vec<String>,
    on_send: OnSend,
    /// Whoever asks what became of a payment gets no answer.
    deaf: bool,
    /// Nobody gets any answer.
    away: bool,
    /// No invoice is called settled any more.
    forgetful: bool,
}

pub(super) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

/// A node of its own, on the wall clock.
pub(super) fn mock_node() -> Arc<MockNode> {
    Arc::new(MockNode::new(Arc::new(SystemClock)).unwrap())
}

/// An invoice of `node`, payable for `seconds`.
pub(super) fn invoice_of(node: &MockNode, amount: u64, seconds: u64) -> CreatedInvoice {
    let request = InvoiceRequest {
        amount: msat(amount),
        memo: "for me".to_owned(),
        expiry: Duration::from_secs(seconds),
    };
    wait(node.create_invoice(request)).unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

impl Lnd {
    pub(super) fn start() -> Self {
        let (node, payee) = (mock_node(), mock_node());
        node.connect(&payee);
        let desk = Arc::new(Desk {
            node: Arc::clone(&node),
            script: Mutex::default(),
        });
        let clerk = Arc::clone(&desk);
        let address = serve(move |ask| clerk.answer(ask));
        let lnd = Self {
            address,
            node,
            payee,
            desk,
            folder: tempfile::tempdir().unwrap(),
        };
        // Version 2, an identifier, no conditions, a signature. What it allows is not said.
        let macaroon = format!("0202046162636400000620{}", "00".repeat(32));
        std::fs::write(lnd.macaroon(), macaroon).unwrap();
        lnd
    }

    /// The lines of `[lightning]` for it.
    pub(super) fn toml(&self) -> String {
        format!(
            "backend = \"lnd\"\nurl = \"http://{}\"\nmacaroon = {{ file = \"{}\" }}",
            self.address,
            self.macaroon().display()
        )
    }

    fn macaroon(&self) -> PathBuf {
        self.folder.path().join("test.macaroon")
    }

    pub(super) fn on_send(&self, on_send: OnSend) {
        self.desk.script.lock().unwrap().on_send = on_send;
    }

    /// From now on nobody is told what became of a payment.
    pub(super) fn be_deaf(&self, deaf: bool) {
        self.desk.script.lock().unwrap().deaf = deaf;
    }

    /// From now on whoever calls is hung up on.
    pub(super) fn be_away(&self, away: bool) {
        self.desk.script.lock().unwrap().away = away;
    }

    /// From now on no invoice was ever paid.
    pub(super) fn forget_payments(&self) {
        self.desk.script.lock().unwrap().forgetful = true;
    }

    pub(super) fn fail_payments(&self, fault: PayFault) {
        self.node.set_pay_fault(fault);
    }

    /// The invoices that the gateway sent, in order; the same one may stand there several times.
    pub(super) fn sent(&self) -> Vec<String> {
        self.desk.script.lock().unwrap().sent.clone()
    }

    /// How many payments arrived, and what left with them.
    pub(super) fn paid_out(&self) -> (usize, u64) {
        let (count, total) = self.node.paid_out();
        (count, total.get())
    }

    /// Waits until the gateway has sent `count` requests to pay.
    pub(super) fn wait_for_sent(&self, count: usize) {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while self.sent().len() < count {
            assert!(Instant::now() < give_up_at, "sent: {:?}", self.sent());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An invoice of somebody else.
    pub(super) fn invoice(&self, amount: u64) -> String {
        invoice_of(&self.payee, amount, 3600).bolt11
    }
}

impl Desk {
    fn answer(&self, ask: &Ask) -> Answer {
        if self.script.lock().unwrap().away {
            return Answer::Cut;
        }
        let path: Vec<_> = ask.path.split('/').skip(1).collect();
        match (ask.method.as_str(), path.as_slice()) {
            ("POST", ["v1", "invoices"]) => self.add(&ask.body),
            ("GET", ["v1", "invoice", hash]) => self.look_up(hash),
            ("GET", ["v1", "invoices"]) => Answer::Json(200, json!({ "invoices": [] }).to_string()),
            ("GET", ["v1", "invoices", "subscribe"]) => Answer::Silence,
            ("GET", ["v1", "getinfo"]) => {
                let info = json!({ "alias": "stand-in", "synced_to_chain": true });
                Answer::Json(200, info.to_string())
            }
            ("POST", ["v2", "router", "send"]) => self.send(&ask.body),
            ("GET", ["v2", "router", "track", hash]) => self.track(hash),
            _ => Answer::Json(
                404,
                json!({ "code": 5, "message": "Not Found" }).to_string(),
            ),
        }
    }

    fn add(&self, body: &str) -> Answer {
        let asked: Value = serde_json::from_str(body).unwrap();
        let number = |name: &str| asked[name].as_str().unwrap().parse().unwrap();
        let made = invoice_of(&self.node, number("value_msat"), number("expiry"));
        let mut script = self.script.lock().unwrap();
        script.made.insert(made.payment_hash);
        let r_hash = STANDARD.encode(made.payment_hash.as_bytes());
        let added = json!({ "payment_request": made.bolt11, "r_hash": r_hash });
        Answer::Json(200, added.to_string())
    }

    fn look_up(&self, hex: &str) -> Answer {
        let hash = PaymentHash::from_hex(hex).unwrap();
        if !self.script.lock().unwrap().made.contains(&hash) {
            let unknown = json!({ "code": 5, "message": "unable to locate invoice" });
            return Answer::Json(404, unknown.to_string());
        }
        let forgetful = self.script.lock().unwrap().forgetful;
        let (state, paid) = match wait(self.node.lookup_invoice(hash)).unwrap() {
            InvoiceState::Settled { received } if !forgetful => {
                ("SETTLED", received.unwrap().get())
            }
            _ => ("OPEN", 0),
        };
        let r_hash = STANDARD.encode(hash.as_bytes());
        let invoice =
            json!({ "r_hash": r_hash, "state": state, "amt_paid_msat": paid.to_string() });
        Answer::Json(200, invoice.to_string())
    }

    fn send(&self, body: &str) -> Answer {
        let asked: Value = serde_json::from_str(body).unwrap();
        let bolt11 = asked["payment_request"].as_str().unwrap().to_owned();
        let max_fee = asked["fee_limit_msat"].as_str().unwrap().parse().unwrap();
        let on_send = {
            let mut script = self.script.lock().unwrap();
            script.sent.push(bolt11.clone());
            script.on_send
        };
        match on_send {
            OnSend::CutBefore => return Answer::Cut,
            OnSend::Forbid => {
                let denied = json!({ "code": 7, "message": "permission denied" });
                return Answer::Json(403, denied.to_string());
            }
            _ => {}
        }
        let invoice = parse_invoice(&bolt11).unwrap();
        let request = PaymentRequest {
            bolt11,
            payment_hash: invoice.payment_hash,
            amount: invoice.amount,
            max_fee: msat(max_fee),
            patience: Duration::from_secs(60),
        };
        let state = wait(self.node.pay_invoice(request)).unwrap();
        match on_send {
            OnSend::CutAfter => Answer::Cut,
            OnSend::SilentAfter => Answer::Silence,
            _ => Answer::Json(200, line(invoice.payment_hash, &state)),
        }
    }

    fn track(&self, base64: &str) -> Answer {
        let hash: [u8; 32] = URL_SAFE.decode(base64).unwrap().try_into().unwrap();
        let hash = PaymentHash::from_bytes(hash);
        if self.script.lock().unwrap().deaf {
            return Answer::Cut;
        }
        match wait(self.node.payment_state(hash)).unwrap() {
            PaymentState::Unheard => {
                let unheard = json!({ "code": 5, "message": "payment isn't initiated" });
                Answer::Json(404, unheard.to_string())
            }
            state => Answer::Json(200, line(hash, &state)),
        }
    }
}

/// One line of a stream of payments.
fn line(hash: PaymentHash, state: &PaymentState) -> String {
    let payment = match state {
        PaymentState::Succeeded { fee, preimage } => json!({
            "status": "SUCCEEDED",
            "payment_hash": hash.to_string(),
            "fee_msat": fee.get().to_string(),
            "payment_preimage": preimage.as_ref().map(|it| hex::encode(it.reveal())),
        }),
        PaymentState::Failed(_) => json!({
            "status": "FAILED",
            "payment_hash": hash.to_string(),
            "failure_reason": "FAILURE_REASON_NO_ROUTE",
        }),
        _ => json!({ "status": "IN_FLIGHT", "payment_hash": hash.to_string() }),
    };
    format!("{}\n", json!({ "result": payment }))
}
