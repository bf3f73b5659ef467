//! LNbits on bob's node, as whoever sells with a wallet there would run it: installed from PyPI by
//! `cargo xtask test`, started for a test and killed after it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_testkit::lab::Node;
use farebox_testkit::parts::Part;
use farebox_testkit::service::{Service, Shared};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Call, Reply, ports};

/// It credits a payment within a moment.
const CREDIT_AT_MOST: Duration = Duration::from_secs(20);

/// What LNbits needs of its node.
const PERMISSIONS: [(&str, &str); 5] = [
    ("info", "read"),
    ("invoices", "read"),
    ("invoices", "write"),
    ("offchain", "read"),
    ("offchain", "write"),
];

/// A running LNbits. Dropping it kills it.
pub(crate) struct Lnbits {
    pub(crate) address: SocketAddr,
    _service: Service,
    folder: TempDir,
}

/// A wallet there, with its keys in files.
pub(crate) struct Wallet {
    pub(crate) invoice_key: String,
    /// As LNbits itself serves it.
    pub(crate) lightning_address: String,
    invoice_key_file: PathBuf,
    admin_key_file: PathBuf,
}

/// One for all tests that leave it alone, as long as one of them is at it.
static SHARED: Shared<Lnbits> = Shared::new();

impl Lnbits {
    /// On this node; none where LNbits is not installed.
    pub(crate) fn shared(node: &Node) -> Option<Arc<Self>> {
        SHARED.get(|| Self::start(node))
    }

    /// One of the test's own.
    pub(crate) fn start(node: &Node) -> Option<Self> {
        let venv = Part::Lnbits.find("venv")?;
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free();
        let macaroon = node.bake_macaroon(&PERMISSIONS).unwrap();
        // Not by the script's own first line: that names the place where it was installed at first.
        let mut command = Command::new(venv.join("bin/python"));
        command
            .arg(venv.join("bin/lnbits"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("LNBITS_BACKEND_WALLET_CLASS", "LndRestWallet")
            .env("LND_REST_ENDPOINT", &node.rest)
            .env("LND_REST_CERT", &node.cert)
            .env("LND_REST_MACAROON", macaroon)
            .env("LNBITS_DATA_FOLDER", folder.path())
            .env("LNBITS_ADMIN_UI", "false")
            // It looks for its own files below the folder in which it is started.
            .current_dir(package_folder(&venv));
        let health = Call::get("/api/v1/health");
        let service = Service::start(&mut command, folder.path(), port, |address| {
            health.try_send(address).map_or(0, |it| it.status) == 200
        });
        Some(Self {
            address: service.address(),
            _service: service,
            folder,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A wallet of the test's own.
    pub(crate) fn open_wallet(&self) -> Wallet {
        let name = json!({ "name": "seller" }).to_string();
        let call = Call::post("/api/v1/account", name).header("Content-Type", "application/json");
        let made = call.send(self.address).expect(200).json();
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let keep = |key: &str| {
            let file = self.folder.path().join(format!("{}.{key}", text("id")));
            fs::write(&file, text(key)).unwrap();
            file
        };
        Wallet {
            invoice_key: text("inkey"),
            lightning_address: format!("{}@{}", text("lightning_address"), self.address),
            invoice_key_file: keep("inkey"),
            admin_key_file: keep("adminkey"),
        }
    }

    /// Waits until the wallet owns so much; LNbits learns of payments by and by.
    #[track_caller]
    pub(crate) fn wait_for_balance(&self, wallet: &Wallet, msat: i64) {
        let call = Call::get("/api/v1/wallet").header("X-Api-Key", &wallet.invoice_key);
        let give_up_at = Instant::now() + CREDIT_AT_MOST;
        loop {
            let told: Value = call.send(self.address).expect(200).json();
            if told["balance"] == msat {
                return;
            }
            assert!(Instant::now() < give_up_at, "it stays {told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lines of `[lightning]` for a wallet that takes payments.
    pub(crate) fn lightning(&self, wallet: &Wallet) -> String {
        format!(
            "backend = \"lnbits\"\nnetwork = \"regtest\"\nurl = \"{}\"\nkey = {{ file = \"{}\" }}",
            self.url(),
            wallet.invoice_key_file.display()
        )
    }

    /// The same for one that pays, too.
    pub(crate) fn paying_lightning(&self, wallet: &Wallet) -> String {
        let admin_key = wallet.admin_key_file.display();
        let lightning = self.lightning(wallet);
        format!("{lightning}\nadmin_key = {{ file = \"{admin_key}\" }}")
    }

    /// What everybody is told about a payment hash, without any key.
    pub(crate) fn ask_in_public(&self, payment_hash: &str) -> Reply {
        Call::get(&format!("/api/v1/payments/{payment_hash}")).send(self.address)
    }
}

/// `lib/python3.x/site-packages`, whatever x is.
fn package_folder(venv: &Path) -> PathBuf {
    let folders = fs::read_dir(venv.join("lib")).unwrap();
    let mut packages = folders.map(|folder| folder.unwrap().path().join("site-packages"));
    packages
        .find(|folder| folder.join("lnbits").exists())
        .unwrap()
}
