//! A gateway under test: the built binary, its folder, and what must be true when it is gone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::log::{Log, alarms};
use super::ports;
use super::{Call, Challenge, Reply, Setup, Token, metrics};

/// Start, drain and recovery are quick; this is for a machine that is not.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);
/// The line `serve` writes to standard output once both listeners accept.
const READY: &str = "farebox: ready ";

/// Names another binary to run than the one that was just built, such as an earlier version.
const OTHER_BINARY: &str = "FAREBOX_TEST_BINARY";

/// A command line of the binary under test.
pub(crate) fn farebox<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let other = std::env::var_os(OTHER_BINARY);
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_farebox").into()));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A running `farebox serve` with mock money.
#[derive(Debug)]
pub(crate) struct TestGateway {
    folder: TempDir,
    setup: Setup,
    environment: Vec<(String, String)>,
    arguments: Vec<&'static str>,
    running: Option<Running>,
    /// Where buyers go.
    pub(crate) address: SocketAddr,
    /// Where the seller goes.
    pub(crate) console: SocketAddr,
    /// The ports in the file, the same ones again after a restart.
    ports: (u16, u16),
    earlier_logs: String,
    expects_alarms: bool,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: Log,
}

impl TestGateway {
    /// Starts the binary on free ports and waits until it is ready.
    pub(crate) fn start(setup: Setup) -> Self {
        Self::start_with(setup, &[])
    }

    /// Like [`Self::start`], with environment variables (secrets, crash points).
    pub(crate) fn start_with(setup: Setup, environment: &[(&str, &str)]) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self {
            folder: tempfile::tempdir().unwrap(),
            setup,
            environment: Vec::new(),
            arguments: Vec::new(),
            running: None,
            address: nowhere,
            console: nowhere,
            ports: (ports::free(), ports::free()),
            earlier_logs: String::new(),
            expects_alarms: false,
        };
        gateway.start_again(environment);
        gateway
    }

    /// Starts the binary on the same folder and ports after [`Self::kill`] or [`Self::stop`], with
    /// these environment variables and no others from before.
    pub(crate) fn start_again(&mut self, environment: &[(&str, &str)]) {
        assert!(self.running.is_none(), "still running");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = environment.iter().map(owned).collect();
        self.write_config();
        let running = self.spawn();
        let Some((address, console)) = running.wait_until_ready() else {
            let (status, log) = running.finish();
            panic!("the gateway did not become ready ({status}):\n{log}");
        };
        (self.address, self.console) = (address, console);
        self.running = Some(running);
    }

    /// Starts the binary on the same folder with one more argument, which later starts lack.
    pub(crate) fn start_once_with(&mut self, argument: &'static str) {
        self.arguments = vec![argument];
        self.start_again(&[]);
        self.arguments.clear();
    }

    /// What a start says that fails.
    pub(crate) fn fail_to_start(&self) -> String {
        let (status, log) = self.spawn().finish();
        assert!(!status.success(), "it ran:\n{log}");
        log
    }

    /// Stops gracefully and starts again, with the same environment.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let environment = self.environment.clone();
        let borrowed = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.start_again(&borrowed.collect::<Vec<_>>());
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.running().child.kill().unwrap();
        self.wait_for_exit();
    }

    /// Asks the process to end, with SIGTERM, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_for_exit();
        assert!(
            status.success(),
            "after SIGTERM: {status}\n{}",
            self.earlier_logs
        );
    }

    /// Sends a signal, such as HUP after [`Self::reconfigure`].
    pub(crate) fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_child(&self.running().child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the process has ended by itself (a crash point, a signal).
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let (status, log) = self.running.take().expect("it runs").finish();
        self.earlier_logs.push_str(&log);
        status
    }

    /// Writes another configuration to the file; SIGHUP or a restart makes it count.
    pub(crate) fn reconfigure(&mut self, setup: Setup) {
        self.setup = setup;
        self.write_config();
    }

    /// This test provokes lines at level `error`.
    pub(crate) fn expect_alarms(&mut self) {
        self.expects_alarms = true;
    }

    /// Sends a request to the gateway and reads the whole answer.
    pub(crate) fn send(&self, call: &Call) -> Reply {
        call.send(self.address)
    }

    /// Sends `call` unpaid and reads the challenge.
    #[track_caller]
    pub(crate) fn challenge(&self, call: &Call) -> Challenge {
        Challenge::of(&self.send(call).expect(402))
    }

    /// Pays an invoice of the mock node from outside; the preimage in hex.
    #[track_caller]
    pub(crate) fn pay(&self, invoice: &str) -> String {
        let call = Call::post("/test/pay", json!({ "invoice": invoice }).to_string());
        let call = call.header("Content-Type", "application/json");
        let reply = self.send_to_console(&call).expect(200);
        reply.json()["preimage"].as_str().unwrap().to_owned()
    }

    /// Where wallet stubs post invoices to.
    pub(crate) fn pay_url(&self) -> String {
        format!("http://{}/test/pay", self.console)
    }

    /// Asks for the price of `call` and pays it.
    #[track_caller]
    pub(crate) fn buy(&self, call: &Call) -> Token {
        let challenge = self.challenge(call);
        let preimage = self.pay(&challenge.invoice);
        challenge.paid_with(preimage)
    }

    /// The URL of a path on the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request to the console as the owner of the admin token.
    pub(crate) fn admin(&self, call: Call) -> Reply {
        let token = fs::read_to_string(self.folder.path().join("farebox.admin-token")).unwrap();
        self.send_to_console(&call.header("Authorization", &format!("Bearer {}", token.trim())))
    }

    /// What the ledger says about a token; nothing before its first use.
    #[track_caller]
    pub(crate) fn find_account(&self, token: &Token) -> Option<Value> {
        let hash = token.payment_hash();
        let reply = self.admin(Call::get(&format!("/admin/v1/tokens/{hash}")));
        (reply.status != 404).then(|| reply.expect(200).json())
    }

    /// How much of a token's money is gone, in msat, once none of it is held any more: an answer
    /// may arrive before its settlement is written.
    #[track_caller]
    pub(crate) fn charged(&self, token: &Token) -> u64 {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while let Some(account) = self.find_account(token) {
            let figure = |name: &str| account[name].as_u64().unwrap();
            // The first answer of a pass holds a call, and no money.
            if figure("held_msat") == 0 && figure("calls_held") == 0 {
                return figure("amount_msat") - figure("balance_msat");
            }
            assert!(Instant::now() < give_up_at, "still held: {account}");
            std::thread::sleep(Duration::from_millis(2));
        }
        0
    }

    /// The sums of the whole ledger.
    #[track_caller]
    pub(crate) fn trial_balance(&self) -> Value {
        let call = Call::get("/admin/v1/ledger/trial-balance");
        self.admin(call).expect(200).json()
    }

    /// The sum of the samples of one metric; see [`metrics::sum`].
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<i64> {
        let reply = self.admin(Call::get("/metrics")).expect(200);
        metrics::sum(&reply.text(), name, labels)
    }

    /// Waits until a metric has a value: what an answer adds is counted when it has ended, which
    /// its client may see first.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[&str], value: i64) {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while self.metric(name, labels) != Some(value) {
            let found = self.metric(name, labels);
            assert!(Instant::now() < give_up_at, "{name} is {found:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the process has logged so far, over all its runs.
    pub(crate) fn log(&self) -> String {
        let now = self
            .running
            .as_ref()
            .map(|running| running.log.text())
            .unwrap_or_default();
        format!("{}{now}", self.earlier_logs)
    }

    /// Waits for a log line with `text` in it.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let running = self.running.as_ref().expect("the gateway runs");
        let line = running.log.wait_for(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", running.log.text()))
    }

    /// The process id of the running gateway.
    pub(crate) fn process_id(&self) -> u32 {
        self.running.as_ref().expect("the gateway runs").child.id()
    }

    /// The folder with the configuration, the store and the secrets.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("farebox.toml")
    }

    /// Runs another command of the binary on the same configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = farebox(arguments);
        command
            .arg("-c")
            .arg(self.config())
            .current_dir(self.folder());
        command.output().unwrap()
    }

    fn send_to_console(&self, call: &Call) -> Reply {
        // The console answers only to its own name.
        call.clone()
            .header("Host", &self.console.to_string())
            .send(self.console)
    }

    fn write_config(&self) {
        let toml = self.setup.to_toml(self.folder(), self.ports);
        fs::write(self.config(), toml).unwrap();
    }

    fn spawn(&self) -> Running {
        let mut command = farebox(["serve", "--insecure-test-money", "-c"]);
        command.arg(self.config()).current_dir(self.folder());
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default().follow(child.stdout.take().expect("piped"));
        let log = log.follow(child.stderr.take().expect("piped"));
        Running { child, log }
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("the gateway runs")
    }

    /// What must hold after every test.
    fn assert_all_is_well(&mut self) {
        if self.running.is_some() {
            let balance = self.metric("farebox_trial_balance_msat", &[]);
            assert_eq!(balance, Some(0), "trial balance");
            self.stop();
        }
        let alarms = alarms(&self.earlier_logs);
        assert!(self.expects_alarms || alarms.is_empty(), "{alarms:#?}");
        let verified = self.command(&["db", "verify"]);
        assert!(verified.status.success(), "db verify: {verified:?}");
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_all_is_well();
            return;
        }
        if let Some(mut running) = self.running.take() {
            drop(running.child.kill());
            self.earlier_logs.push_str(&running.finish().1);
        }
        // Captured with the failing test's own output.
        println!("--- log of the gateway ---\n{}", self.earlier_logs);
    }
}

impl Running {
    /// The two addresses of the ready line; nothing when the process ended without it.
    fn wait_until_ready(&self) -> Option<(SocketAddr, SocketAddr)> {
        let line = self.log.wait_for(|line| line.starts_with(READY))?;
        Some((announced(&line, "gateway="), announced(&line, "console=")))
    }

    fn finish(mut self) -> (ExitStatus, String) {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > give_up_at {
                drop(self.child.kill());
                drop(self.child.wait());
                panic!("the gateway did not end:\n{}", self.log.text());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        (status, self.log.finish())
    }
}

fn announced(line: &str, key: &str) -> SocketAddr {
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key));
    let address = word.and_then(|url| url.split_once("://")?.1.parse().ok());
    address.unwrap_or_else(|| panic!("no {key} in {line:?}"))
}
