//! nutshell, a mint that many run, and its wallet: installed from PyPI by `cargo xtask test`, started for the
//! tests and killed after them. Its Lightning node is one that pays everything.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use farebox_testkit::parts::Part;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::harness::{Call, ports};

/// It takes three seconds where nothing else runs.
const START_AT_MOST: Duration = Duration::from_secs(120);

/// A running mint. Dropping it kills it.
pub(crate) struct Nutshell {
    child: Child,
    port: u16,
    folder: TempDir,
    venv: std::path::PathBuf,
}

/// A wallet at that mint.
pub(crate) struct Wallet {
    mint: Arc<Nutshell>,
    folder: TempDir,
    unit: &'static str,
}

/// One for all tests, as long as one of them is at it.
static SHARED: Mutex<Weak<Nutshell>> = Mutex::new(Weak::new());

impl Nutshell {
    /// The mint of all tests, which takes a tenth of a unit for each coin that is spent; none where it is
    /// not installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    fn start() -> Option<Self> {
        let venv = Part::Nutshell.find("venv")?;
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free();
        let log = File::create(folder.path().join("mint.log")).unwrap();
        let child = Command::new(venv.join("bin/python"))
            .arg(venv.join("bin/mint"))
            .envs([
                ("MINT_BACKEND_BOLT11_SAT", "FakeWallet"),
                ("MINT_BACKEND_BOLT11_MSAT", "FakeWallet"),
                // The second is the path of millisatoshis.
                (
                    "MINT_DERIVATION_PATH_LIST",
                    r#"["m/0'/0'/0'","m/0'/1'/0'"]"#,
                ),
                ("FAKEWALLET_DELAY_INCOMING_PAYMENT", "0"),
                ("MINT_INPUT_FEE_PPK", "100"),
                ("MINT_PRIVATE_KEY", "a mint of tests"),
                ("MINT_LISTEN_HOST", "127.0.0.1"),
                ("TOR", "FALSE"),
            ])
            .env("MINT_LISTEN_PORT", port.to_string())
            .env("MINT_DATABASE", folder.path().join("mint"))
            .env("CASHU_DIR", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut mint = Self {
            child,
            port,
            folder,
            venv,
        };
        mint.wait_until_it_answers();
        Some(mint)
    }

    fn wait_until_it_answers(&mut self) {
        let give_up_at = Instant::now() + START_AT_MOST;
        let info = Call::get("/v1/info");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        while info.try_send(address).map_or(0, |it| it.status) != 200 {
            let has_ended = self.child.try_wait().unwrap().is_some();
            let is_late = Instant::now() > give_up_at;
            let log = std::fs::read_to_string(self.folder.path().join("mint.log"));
            assert!(!has_ended && !is_late, "nutshell: {log:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A wallet of the test's own, with so much in it.
    pub(crate) fn wallet(self: &Arc<Self>, unit: &'static str, amount: u64) -> Wallet {
        let wallet = Wallet {
            mint: Arc::clone(self),
            folder: tempfile::tempdir().unwrap(),
            unit,
        };
        wallet.fill(amount);
        assert_eq!(wallet.balance(), amount);
        wallet
    }
}

impl Wallet {
    /// Mints so much. Waiting for the payment is done by asking twice: nutshell's own way to wait misses one
    /// that comes while it subscribes.
    fn fill(&self, amount: u64) {
        let amount = amount.to_string();
        let said = self.run(&["invoice", &amount, "--no-check"]);
        let mut words = said.split_whitespace().skip_while(|word| *word != "--id");
        let quote = words.nth(1).unwrap_or_else(|| panic!("no quote in {said}"));
        self.run(&["invoice", &amount, "--id", quote]);
    }

    /// What is in it.
    pub(crate) fn balance(&self) -> u64 {
        let said = self.run(&["balance"]);
        let said = said.split("Balance: ").nth(1).expect("it says a balance");
        said.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// A token of so much.
    pub(crate) fn send(&self, amount: u64) -> String {
        let said = self.run(&["send", &amount.to_string()]);
        let mut words = said.split_whitespace();
        let token = words.find(|word| word.starts_with("cashu"));
        token
            .unwrap_or_else(|| panic!("no token in {said}"))
            .to_owned()
    }

    /// Redeems a token.
    pub(crate) fn receive(&self, token: &str) {
        self.run(&["receive", token]);
    }

    fn run(&self, arguments: &[&str]) -> String {
        let venv = &self.mint.venv;
        let output = Command::new(venv.join("bin/python"))
            .arg(venv.join("bin/cashu"))
            .args(["--yes", "--unit", self.unit])
            .args(arguments)
            .env("MINT_URL", self.mint.url())
            .env("CASHU_DIR", self.folder.path())
            .env("TOR", "FALSE")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said} {errors}");
        said
    }
}

impl Drop for Nutshell {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
        drop(self.child.wait());
    }
}
