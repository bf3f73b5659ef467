//! A stand-in for LND: its REST API, as far as Farebox uses it, over a mock node that lives in the
//! test. A second mock node, connected to it, is where refunds go.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use farebox::clock::SystemClock;
use farebox_core::{Msat, PaymentHash};
use farebox_lightning::{
    CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState, LookupInvoice, PayInvoice,
    PaymentRequest, PaymentState, parse_invoice,
};
use farebox_testkit::lnd::{Call, FakeLnd, Reply, Then, added, invoice, payment, refusal};
use farebox_testkit::mock_node::{PayFault, TestNode};
use serde_json::json;
use tempfile::TempDir;

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
    fake: FakeLnd,
    /// Whoever pays and is paid as the node.
    pub(super) node: Arc<TestNode>,
    /// Somebody else, whom the node can pay.
    pub(super) payee: Arc<TestNode>,
    desk: Arc<Desk>,
    folder: TempDir,
}

struct Desk {
    node: Arc<TestNode>,
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
pub(crate) fn mock_node() -> Arc<TestNode> {
    Arc::new(TestNode::new(Arc::new(SystemClock)))
}

/// An invoice of `node`, payable for `seconds`.
pub(crate) fn invoice_of(node: &TestNode, amount: u64, seconds: u64) -> CreatedInvoice {
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
        let lnd = Self {
            fake: FakeLnd::start_plain(move |call| clerk.answer(call)).unwrap(),
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
            self.fake.address(),
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
    fn answer(&self, call: &Call) -> Reply {
        if self.script.lock().unwrap().away {
            return Reply::Cut;
        }
        let path: Vec<_> = call.path.split('/').skip(1).collect();
        match (call.method.as_str(), path.as_slice()) {
            ("POST", ["v1", "invoices"]) => self.add(call),
            ("GET", ["v1", "invoice", hash]) => self.look_up(hash),
            ("GET", ["v1", "invoices"]) => Reply::Json(200, json!({ "invoices": [] })),
            ("GET", ["v1", "invoices", "subscribe"]) => Reply::Silence,
            ("GET", ["v1", "getinfo"]) => {
                Reply::Json(200, json!({ "alias": "stand-in", "synced_to_chain": true }))
            }
            ("POST", ["v2", "router", "send"]) => self.send(call),
            ("GET", ["v2", "router", "track", hash]) => self.track(hash),
            _ => Reply::Json(404, refusal(5, "Not Found")),
        }
    }

    fn add(&self, call: &Call) -> Reply {
        let number = |name: &str| call.body[name].as_str().unwrap().parse().unwrap();
        let made = invoice_of(&self.node, number("value_msat"), number("expiry"));
        self.script.lock().unwrap().made.insert(made.payment_hash);
        added(made.payment_hash, &made.bolt11)
    }

    fn look_up(&self, hex: &str) -> Reply {
        let hash = PaymentHash::from_hex(hex).unwrap();
        let (made, forgetful) = {
            let script = self.script.lock().unwrap();
            (script.made.contains(&hash), script.forgetful)
        };
        if !made {
            return Reply::Json(404, refusal(5, "unable to locate invoice"));
        }
        let (state, paid) = match wait(self.node.lookup_invoice(hash)).unwrap() {
            InvoiceState::Settled { received } if !forgetful => {
                ("SETTLED", received.unwrap().get())
            }
            _ => ("OPEN", 0),
        };
        Reply::Json(200, invoice(hash, state, paid, 0))
    }

    fn send(&self, call: &Call) -> Reply {
        let bolt11 = call.body["payment_request"].as_str().unwrap().to_owned();
        let max_fee = call.body["fee_limit_msat"].as_str().unwrap();
        let on_send = {
            let mut script = self.script.lock().unwrap();
            script.sent.push(bolt11.clone());
            script.on_send
        };
        match on_send {
            OnSend::CutBefore => return Reply::Cut,
            OnSend::Forbid => return Reply::Json(403, refusal(7, "permission denied")),
            _ => {}
        }
        let invoice = parse_invoice(&bolt11).unwrap();
        let request = PaymentRequest {
            bolt11,
            payment_hash: invoice.payment_hash,
            amount: invoice.amount,
            max_fee: msat(max_fee.parse().unwrap()),
            patience: Duration::from_secs(60),
        };
        let state = wait(self.node.pay_invoice(request)).unwrap();
        match on_send {
            OnSend::CutAfter => Reply::Cut,
            OnSend::SilentAfter => Reply::Silence,
            _ => line(invoice.payment_hash, &state),
        }
    }

    fn track(&self, base64: &str) -> Reply {
        let hash: [u8; 32] = URL_SAFE.decode(base64).unwrap().try_into().unwrap();
        let hash = PaymentHash::from_bytes(hash);
        if self.script.lock().unwrap().deaf {
            return Reply::Cut;
        }
        match wait(self.node.payment_state(hash)).unwrap() {
            PaymentState::Unheard => Reply::Json(404, refusal(5, "payment isn't initiated")),
            state => line(hash, &state),
        }
    }
}

/// A stream of one line about a payment.
fn line(hash: PaymentHash, state: &PaymentState) -> Reply {
    let (status, changes) = match state {
        PaymentState::Succeeded { fee, preimage } => {
            let preimage = preimage.as_ref().map(|it| hex::encode(it.reveal()));
            let fee = fee.get().to_string();
            (
                "SUCCEEDED",
                json!({ "fee_msat": fee, "payment_preimage": preimage }),
            )
        }
        PaymentState::Failed(_) => (
            "FAILED",
            json!({ "failure_reason": "FAILURE_REASON_NO_ROUTE" }),
        ),
        _ => ("IN_FLIGHT", json!({})),
    };
    Reply::Lines(vec![payment(hash, status, &changes)], Then::End)
}
