//! Mints that many run, each with its own wallet: installed by `cargo xtask test`, started for the tests and
//! killed after them. Their Lightning nodes pay everything.

mod cdk;
mod nutshell;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use farebox_testkit::service::{Service, Shared};
use tempfile::TempDir;

use crate::harness::{Call, ports};

/// What the mints of all tests take for a thousand coins that are spent.
const FEE_PPK: u64 = 100;

/// A running mint for coins of satoshis and millisatoshis. Dropping it kills it.
pub(crate) struct Mint {
    service: Mutex<Option<Service>>,
    folder: TempDir,
    port: u16,
    software: Box<dyn Software>,
}

/// A wallet at that mint.
pub(crate) struct Wallet {
    mint: Arc<Mint>,
    folder: TempDir,
    unit: &'static str,
}

/// What differs between one mint and another.
trait Software: Send + Sync {
    /// The mint that listens at this port and has its files in this folder.
    fn mint(&self, folder: &Path, port: u16, fee_ppk: u64) -> Command;

    /// A wallet with its files in this folder. It knows `balance`, `send AMOUNT` and `receive TOKEN`.
    fn wallet(&self, folder: &Path, mint: &str, unit: &str) -> Command;

    /// Mints so much.
    fn fill(&self, wallet: &Wallet, amount: u64);
}

impl Mint {
    /// The nutshell of all tests; none where it is not installed.
    pub(crate) fn nutshell() -> Option<Arc<Self>> {
        static SHARED: Shared<Mint> = Shared::new();
        SHARED.get(|| Some(Self::start(Box::new(nutshell::Nutshell::find()?), FEE_PPK)))
    }

    /// The CDK of all tests; none where it is not installed.
    pub(crate) fn cdk() -> Option<Arc<Self>> {
        static SHARED: Shared<Mint> = Shared::new();
        SHARED.get(|| Self::new_cdk(FEE_PPK))
    }

    /// A CDK of the test's own, which takes so much for a thousand coins.
    pub(crate) fn new_cdk(fee_ppk: u64) -> Option<Self> {
        Some(Self::start(Box::new(cdk::Cdk::find()?), fee_ppk))
    }

    fn start(software: Box<dyn Software>, fee_ppk: u64) -> Self {
        let mint = Self {
            service: Mutex::default(),
            folder: tempfile::tempdir().unwrap(),
            port: ports::free(),
            software,
        };
        mint.restart(fee_ppk);
        mint
    }

    /// Kills it and starts it with its files, for this fee.
    pub(crate) fn restart(&self, fee_ppk: u64) {
        let folder = self.folder.path();
        let mut command = self.software.mint(folder, self.port, fee_ppk);
        let info = Call::get("/v1/info");
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        drop(service.take());
        *service = Some(Service::start(&mut command, folder, self.port, |address| {
            info.try_send(address).map_or(0, |it| it.status) == 200
        }));
    }

    /// From now on it takes connections and does nothing.
    pub(crate) fn pause(&self) {
        self.service(Service::pause);
    }

    /// It goes on where it was.
    pub(crate) fn go_on(&self) {
        self.service(Service::go_on);
    }

    fn service(&self, tell: impl FnOnce(&Service)) {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        tell(service.as_ref().unwrap());
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
        self.software.fill(&wallet, amount);
        assert_eq!(wallet.balance(), amount);
        wallet
    }
}

impl Wallet {
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
        let (software, folder) = (&self.mint.software, self.folder.path());
        let output = software
            .wallet(folder, &self.mint.url(), self.unit)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said} {errors}");
        said
    }
}
