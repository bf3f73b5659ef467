//! The two nodes for the length of one test, and a gateway that sells for alice what bob buys.

use std::fs;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::lab::{Invoice, Lab, LabError, Node, Payment, Turn};
use farebox_testkit::parts::is_left_out;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::harness::{Call, Challenge, Route, Setup, TestGateway, Token};

pub(crate) const PRICE: u64 = 2000;

/// What alice's macaroon allows a gateway that takes, pays and holds payments.
const SELLER: [(&str, &str); 5] = [
    ("info", "read"),
    ("invoices", "read"),
    ("invoices", "write"),
    ("offchain", "read"),
    ("offchain", "write"),
];

/// The nodes, and the right to use them.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    macaroon: PathBuf,
    _folder: TempDir,
    _turn: Turn,
}

/// What a test owns of the lab: together with others, or all of it.
#[derive(Clone, Copy)]
enum Part {
    Shared,
    Whole,
}

/// For tests that buy and sell.
pub(crate) fn shared() -> Option<Stage> {
    Stage::find(Part::Shared)
}

/// For tests that stop a node or compare what the nodes own.
pub(crate) fn alone() -> Option<Stage> {
    Stage::find(Part::Whole)
}

impl Stage {
    fn find(part: Part) -> Option<Self> {
        let lab = find_lab()?;
        let turn = match part {
            Part::Shared => lab.share().unwrap(),
            Part::Whole => lab.take().unwrap(),
        };
        let folder = tempfile::tempdir().unwrap();
        let macaroon = folder.path().join("seller.macaroon");
        fs::write(&macaroon, lab.alice().bake_macaroon(&SELLER).unwrap()).unwrap();
        Some(Self {
            lab,
            macaroon,
            _folder: folder,
            _turn: turn,
        })
    }

    pub(crate) fn alice(&self) -> &Node {
        self.lab.alice()
    }

    pub(crate) fn bob(&self) -> &Node {
        self.lab.bob()
    }

    /// The lines of `[lightning]` for alice.
    pub(crate) fn lightning(&self) -> String {
        self.lightning_at(&self.alice().rest)
    }

    /// The lines of `[lightning]` for alice, reached at another URL.
    pub(crate) fn lightning_at(&self, url: &str) -> String {
        self.lightning_with(url, &self.macaroon.display().to_string())
    }

    /// The lines of `[lightning]` for alice, with a macaroon file.
    pub(crate) fn lightning_with(&self, url: &str, macaroon: &str) -> String {
        format!(
            "backend = \"lnd\"\nname = \"alice\"\nnetwork = \"regtest\"\nurl = \"{url}\"\n\
             macaroon = {{ file = \"{macaroon}\" }}\ntls_cert = \"{}\"",
            self.alice().cert.display()
        )
    }

    /// A gateway in front of a scripted upstream, with one route at `/paid`.
    pub(crate) fn setup(&self, route: Route) -> Setup {
        Setup::new().lightning(&self.lightning()).route(route)
    }

    /// bob pays what `call` costs.
    #[track_caller]
    pub(crate) fn buy(&self, gateway: &TestGateway, call: &Call) -> Token {
        self.pay(gateway.challenge(call))
    }

    #[track_caller]
    pub(crate) fn pay(&self, challenge: Challenge) -> Token {
        let paid = self.bob().pay(&challenge.invoice).unwrap();
        challenge.paid_with(paid.preimage)
    }

    /// bob begins to pay; how it ends may take until somebody takes the payment or gives it back.
    pub(crate) fn start_paying(&self, challenge: &Challenge) -> Paying {
        let (bob, invoice) = (self.bob().clone(), challenge.invoice.clone());
        Paying(std::thread::spawn(move || bob.pay(&invoice)))
    }

    /// A token with one call used.
    #[track_caller]
    pub(crate) fn buy_and_use(&self, gateway: &TestGateway) -> Token {
        let call = Call::get("/paid/a");
        let token = self.buy(gateway, &call);
        gateway.send(&call.with(&token)).expect(200);
        assert_eq!(gateway.charged(&token), PRICE);
        token
    }

    /// Buys one call and asks for it twice: again is the same sale, as the answer is kept.
    #[track_caller]
    pub(crate) fn buy_one_call(&self, gateway: &TestGateway) -> Token {
        let token = self.buy_and_use(gateway);
        let call = Call::get("/paid/a").with(&token);
        gateway.send(&call).expect(200);
        assert_eq!(gateway.charged(&token), PRICE);
        token
    }

    /// The payment hash of a challenge's invoice.
    pub(crate) fn hash_of(&self, challenge: &Challenge) -> String {
        self.bob().payment_hash_of(&challenge.invoice).unwrap()
    }

    /// What both nodes own, once nothing is under way.
    pub(crate) fn balances(&self) -> Balances {
        Balances {
            alice: self.alice().settled_balance().unwrap(),
            bob: self.bob().settled_balance().unwrap(),
        }
    }

    /// Fails unless bob has paid alice so much since `before`, and nothing got lost on the way.
    #[track_caller]
    pub(crate) fn assert_paid(&self, before: Balances, msat: i64) {
        let now = self.balances();
        let gained = i128::from(now.alice) - i128::from(before.alice);
        let spent = i128::from(before.bob) - i128::from(now.bob);
        assert_eq!((gained, spent), (i128::from(msat), i128::from(msat)));
    }
}

/// What both nodes own in their channel, in msat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balances {
    pub(crate) alice: u64,
    pub(crate) bob: u64,
}

/// A payment under way.
pub(crate) struct Paying(JoinHandle<Result<Payment, LabError>>);

impl Paying {
    pub(crate) fn outcome(self) -> Result<Payment, LabError> {
        self.0.join().unwrap()
    }
}

/// A preimage of a test's own and its hash, in hex.
pub(crate) struct Secret {
    pub(crate) preimage: String,
    pub(crate) hash: String,
}

impl Secret {
    pub(crate) fn new() -> Self {
        let mut preimage = [0; 32];
        getrandom::fill(&mut preimage).unwrap();
        Self {
            preimage: hex::encode(preimage),
            hash: hex::encode(Sha256::digest(preimage)),
        }
    }
}

pub(crate) fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::start().unwrap()
}

/// The one route of most tests.
pub(crate) fn paid(upstream: &ScriptedUpstream) -> Route {
    Route::at("/paid", upstream).msat(PRICE)
}

/// A holder's wish for a refund to an invoice.
pub(crate) fn refund_to(invoice: &Invoice, token: &Token) -> Call {
    let wish = json!({ "invoice": invoice.bolt11 }).to_string();
    Call::post("/.farebox/refund", wish)
        .header("Content-Type", "application/json")
        .with(token)
}

/// What the ledger says about a token, once it is as `wanted`; it learns of payments by and by.
#[track_caller]
pub(crate) fn wait_for_account(
    gateway: &TestGateway,
    token: &Token,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    loop {
        let account = gateway.find_account(token).unwrap_or(json!(null));
        if wanted(&account) {
            return account;
        }
        assert!(Instant::now() < give_up_at, "it stays {account}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn find_lab() -> Option<Lab> {
    let lab = Lab::find().unwrap();
    if is_left_out("Lightning nodes", lab.is_some()) {
        return None;
    }
    lab
}
