//! The gateway under test, and the buyer's side of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http::{Reply, call, request};
use super::nginx::WORKERS;
use super::proc::Running;
use super::report::Report;
use super::traffic::{chat, stranger};

pub(crate) const PLAIN: &str = "/plain";
pub(crate) const PASS: &str = "/pass";
pub(crate) const DEBIT: &str = "/debit";
/// A single call, bound to the request: what a route is when nothing else is said.
pub(crate) const SINGLE: &str = "/single";

/// Where prepaid keys are sold.
const KEYS: &str = "/.farebox/keys";
/// How soon a payment has to be on its key.
const CREDITED_WITHIN: Duration = Duration::from_secs(20);
/// Clients that ask more often than they may are refused.
const ASK_EVERY: Duration = Duration::from_millis(200);

const READY: &str = "farebox: ready ";
const TEST_MONEY: &str = "backend = \"mock\"";
/// Buyers come from prefixes that no generator uses.
const FIRST_BUYER: u32 = 0x00E0_0000;

/// What every gateway of a run has in common.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) upstream: SocketAddr,
}

/// In what a gateway differs from the others.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The lines of `[lightning]`.
    pub(crate) lightning: String,
    /// How many challenges all clients together get.
    pub(crate) challenges: String,
    /// The core that it has to stay on, as `taskset` reads it; it has one thread then.
    pub(crate) core: Option<String>,
    /// Further sections of its configuration.
    pub(crate) sections: String,
}

impl Default for Shape {
    /// Test money, as many challenges as it can make, anywhere.
    fn default() -> Self {
        Self {
            lightning: TEST_MONEY.to_owned(),
            challenges: "1000000/1s".to_owned(),
            core: None,
            sections: String::new(),
        }
    }
}

/// A running `farebox serve`.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    console: SocketAddr,
    binary: PathBuf,
    /// Where its store is.
    pub(crate) folder: PathBuf,
    buyers: AtomicU32,
    /// Held open, or a later line to standard output would fail the process.
    _stdout: BufReader<ChildStdout>,
}

impl Stage<'_> {
    /// Starts a gateway in a folder of its own and waits until it is ready.
    pub(crate) fn start(&self, name: &str) -> Result<Gateway> {
        self.start_as(name, &Shape::default())
    }

    /// Starts one of another shape.
    pub(crate) fn start_as(&self, name: &str, shape: &Shape) -> Result<Gateway> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("farebox.toml"), self.config(&folder, shape))?;
        let mut command = self.command(shape);
        command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.stderr(File::create(folder.join("stderr.log"))?);
        let mut child = command.spawn().context("cannot run farebox")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let running = Running::new(child, "TERM");
        let mut stdout = BufReader::new(stdout);
        let Some(line) = ready_line(&mut stdout)? else {
            let log = fs::read_to_string(folder.join("stderr.log")).unwrap_or_default();
            bail!("farebox does not start: {log}");
        };
        Ok(Gateway {
            running,
            address: announced(&line, "gateway=")?,
            console: announced(&line, "console=")?,
            binary: self.binary.to_owned(),
            folder,
            buyers: AtomicU32::new(0),
            _stdout: stdout,
        })
    }

    /// `taskset` becomes the program that it runs: the process is the gateway's either way.
    fn command(&self, shape: &Shape) -> Command {
        let mut command = match &shape.core {
            None => Command::new(self.binary),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", core]).arg(self.binary);
                command
            }
        };
        command.args(["serve", "-c", "farebox.toml"]);
        if shape.lightning == TEST_MONEY {
            command.arg("--insecure-test-money");
        }
        command
    }

    /// Defaults but for the limit on all challenges together, and the log in a file. One client
    /// still gets no more challenges than by default.
    fn config(&self, folder: &Path, shape: &Shape) -> String {
        let (store, log) = (folder.join("farebox.db"), folder.join("access.log"));
        let mut config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nthreads = {}\n\
             trusted_proxies = [\"127.0.0.1/32\"]\n\
             [server.challenges]\ntotal = \"{}\"\n\
             [console]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nurl = \"sqlite://{}\"\n\
             [lightning]\n{}\n\
             [log]\nfile = \"{}\"\n",
            shape.core.as_ref().map_or(WORKERS, |_| 1),
            shape.challenges,
            store.display(),
            shape.lightning,
            log.display()
        );
        for (path, terms) in [
            (PLAIN, "price = \"free\""),
            (PASS, "price = { msat = 1000 }\npass = \"24h\""),
            (
                DEBIT,
                "price = { msat = 1 }\nbalance = { msat = 1000000000 }",
            ),
            (SINGLE, "price = { msat = 2000 }"),
        ] {
            let (name, upstream) = (&path[1..], self.upstream);
            config += &format!(
                "[[route]]\nname = \"{name}\"\npath = \"{path}\"\n\
                 upstream = \"http://{upstream}\"\n{terms}\n"
            );
        }
        config + &shape.sections
    }
}

impl Gateway {
    /// Buys a token for posting to `path`; gives the value of its `Authorization` field.
    pub(crate) fn buy(&self, path: &str) -> Result<String> {
        self.buy_with(path, |invoice| self.pay(invoice))
    }

    /// Buys a token for each of so many connections.
    pub(crate) fn buy_many(&self, path: &str, count: usize) -> Result<Vec<String>> {
        let tokens = (0..count).map(|_| self.buy(path)).collect::<Result<_>>();
        tokens.with_context(|| format!("buying tokens for {path}"))
    }

    /// Pays an invoice with test money; gives the preimage in hex.
    fn pay(&self, invoice: &str) -> Result<String> {
        let body = json!({ "invoice": invoice }).to_string();
        let paid = self.console("POST", "/test/pay", &[], &body)?.expect(200)?;
        let paid: Value = serde_json::from_str(&paid.body)?;
        let preimage = paid["preimage"].as_str().map(str::to_owned);
        preimage.context("no preimage for the payment")
    }

    /// A buyer who shares a prefix with no other.
    fn next_buyer(&self) -> String {
        stranger(FIRST_BUYER + self.buyers.fetch_add(1, Ordering::Relaxed)).to_string()
    }

    /// Buys a prepaid key with so much on it; gives the value of its `Authorization` field.
    pub(crate) fn buy_key(&self, msat: u64) -> Result<String> {
        let client = self.next_buyer();
        let body = json!({ "amount_msat": msat }).to_string();
        let order = request("POST", KEYS, &[("X-Forwarded-For", &client)], &body);
        let made: Value = serde_json::from_str(&call(self.address, &order)?.expect(201)?.body)?;
        let text = |name: &str| made[name].as_str().with_context(|| format!("no {name}"));
        self.pay(text("invoice")?)?;
        let bearer = format!("Bearer {}", text("key")?);
        let give_up_at = Instant::now() + CREDITED_WITHIN;
        while self.standing(&bearer, &client)?["balance_msat"] != msat {
            if Instant::now() > give_up_at {
                bail!("a key that was paid for is not credited");
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(bearer)
    }

    fn standing(&self, bearer: &str, client: &str) -> Result<Value> {
        let fields = [("Authorization", bearer), ("X-Forwarded-For", client)];
        let ask = request("GET", &format!("{KEYS}/self"), &fields, "");
        Ok(serde_json::from_str(
            &call(self.address, &ask)?.expect(200)?.body,
        )?)
    }

    /// Buys one whose invoice `pay` pays; it gives the preimage in hex.
    pub(crate) fn buy_with(
        &self,
        path: &str,
        pay: impl FnOnce(&str) -> Result<String>,
    ) -> Result<String> {
        let client = self.next_buyer();
        let reply =
            call(self.address, &chat(path, &[("X-Forwarded-For", &client)]))?.expect(402)?;
        let (macaroon, invoice) = (
            parameter(&reply, "macaroon")?,
            parameter(&reply, "invoice")?,
        );
        let preimage = pay(&invoice)?;
        Ok(format!("L402 {macaroon}:{preimage}"))
    }

    /// Asks the console as the seller.
    pub(crate) fn admin(&self, path: &str) -> Result<Value> {
        let token = fs::read_to_string(self.folder.join("farebox.admin-token"))?;
        let bearer = format!("Bearer {}", token.trim());
        let reply = self
            .console("GET", path, &[("Authorization", &bearer)], "")?
            .expect(200)?;
        Ok(serde_json::from_str(&reply.body)?)
    }

    /// The console answers only to its own name.
    fn console(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply> {
        let host = self.console.to_string();
        let fields = [&[("Host", host.as_str())], fields].concat();
        call(self.console, &request(method, path, &fields, body))
    }

    /// Stops it gracefully and has its own `db verify` go through the store.
    pub(crate) fn stop_and_verify(mut self, report: &mut Report) -> Result<()> {
        self.running.stop()?;
        let mut verify = Command::new(&self.binary);
        verify
            .args(["db", "verify", "--json", "-c", "farebox.toml"])
            .current_dir(&self.folder);
        let output = verify.output().context("cannot run farebox db verify")?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let measured = if output.status.success() {
            "in order"
        } else {
            said.as_str()
        };
        report.demand(
            "farebox db verify",
            measured,
            "in order",
            output.status.success(),
        );
        Ok(())
    }
}

fn ready_line(stdout: &mut BufReader<ChildStdout>) -> Result<Option<String>> {
    let mut line = String::new();
    while !line.starts_with(READY) {
        line.clear();
        if stdout.read_line(&mut line)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(line))
}

fn announced(line: &str, key: &str) -> Result<SocketAddr> {
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key));
    let address = word.and_then(|url| url.strip_prefix("http://")?.parse().ok());
    address.with_context(|| format!("no {key} in {line:?}"))
}

/// A parameter of the challenge.
fn parameter(reply: &Reply, name: &str) -> Result<String> {
    let start = format!("{name}=\"");
    let rest = reply.head.split_once(&start).map(|(_, rest)| rest);
    let value = rest
        .and_then(|rest| rest.split_once('"'))
        .map(|(value, _)| value.to_owned());
    value.with_context(|| format!("no {name} in the challenge"))
}
