//! Programs that are not ours: pinned under `conformance/`, installed by `cargo xtask test`. A test
//! whose part is missing says so and is over; under CI it fails instead.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use farebox_testkit::parts::conformance;
use farebox_testkit::parts::{Part, is_left_out};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::ports;

/// How long a part may take to start. LiteLLM needs half a minute where others use the machine too.
const START_AT_MOST: Duration = Duration::from_secs(180);
/// How long it may take to end.
const END_AT_MOST: Duration = Duration::from_secs(60);

/// A JavaScript file of `conformance/`, able to require the pinned packages.
pub(crate) fn node(script: &str) -> Option<Command> {
    let mut command = node_program()?;
    command.arg(conformance(script));
    Some(command)
}

/// A file inside a pinned npm package.
pub(crate) fn npm(package_file: &str) -> Option<Command> {
    let mut command = node_program()?;
    command.arg(Part::Node.find("node_modules")?.join(package_file));
    Some(command)
}

/// A Python file of `conformance/`, able to import the pinned packages.
pub(crate) fn python(script: &str) -> Option<Command> {
    let mut command = Command::new(Part::Python.find("venv/bin/python")?);
    command.arg(conformance(script));
    Some(command)
}

/// A Python file of `conformance/`, able to import the SDKs of model providers.
pub(crate) fn sdk(script: &str) -> Option<Command> {
    let mut command = Command::new(Part::Sdks.find("venv/bin/python")?);
    command.arg(conformance(script));
    Some(command)
}

/// The half of mock-ai-api that speaks the API of `openai` or of `anthropic`. Not by its own starter,
/// which leaves both halves behind when it is told to end.
pub(crate) fn mock_ai_api(api: &str, port: u16) -> Option<Command> {
    let mut command = Command::new(Part::Sdks.find("venv/bin/python")?);
    let app = format!("app.{api}_app:app");
    command.args(["-m", "uvicorn", &app, "--port", &port.to_string()]);
    command.args(["--host", "127.0.0.1", "--log-level", "error"]);
    Some(command)
}

/// LiteLLM's proxy with the models of `litellm.yaml`, which asks nobody for anything.
pub(crate) fn litellm(port: u16) -> Option<Command> {
    let programs = Part::Litellm.find("venv/bin")?;
    let mut command = Command::new(programs.join("python"));
    command.arg(programs.join("litellm"));
    command.arg("--config").arg(conformance("litellm.yaml"));
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    // It tells of every step.
    command.stderr(Stdio::null());
    Some(command)
}

/// nginx, without a configuration yet.
pub(crate) fn nginx() -> Option<Command> {
    installed("nginx")
}

/// Chromium, driven by `browser.cjs` as its one argument says.
pub(crate) fn browser(wish: &Value) -> Option<Command> {
    let chromium = installed("chromium")?;
    let mut command = node("browser.cjs")?;
    command
        .env("CHROMIUM", chromium.get_program())
        .arg(wish.to_string());
    Some(command)
}

/// A line for a shell that has curl.
pub(crate) fn curl(line: &str) -> Option<Command> {
    installed("curl")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    Some(shell)
}

/// nghttp2's client.
pub(crate) fn nghttp() -> Option<Command> {
    installed("nghttp")
}

/// A port that is free now. Only for parts that cannot bind port 0 and tell.
pub(crate) fn free_port() -> u16 {
    ports::free()
}

/// Runs a client to its end and reads the one line of JSON that it prints last.
#[track_caller]
pub(crate) fn outcome(command: &mut Command) -> Value {
    outcome_of(command.stdin(Stdio::null()))
}

/// Like [`outcome`], with a question on standard input.
#[track_caller]
pub(crate) fn answer(command: &mut Command, question: &Value) -> Value {
    let mut file = tempfile::tempfile().unwrap();
    writeln!(file, "{question}").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    outcome_of(command.stdin(file))
}

#[track_caller]
fn outcome_of(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = printed
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    told.filter(|_| output.status.success()).unwrap_or_else(|| {
        panic!(
            "{command:?}: {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// A server that is not ours; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    output: Option<BufReader<std::process::ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server of `conformance/`, which prints `ready PORT`.
    pub(crate) fn announced(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let port = line
            .strip_prefix("ready ")
            .and_then(|port| port.trim().parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("{command:?} is not ready: {line:?}"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            child,
            output: Some(output),
            address,
        }
    }

    /// Starts a server that was told to listen on `port`, and waits until it does.
    pub(crate) fn on_port(command: &mut Command, port: u16) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let give_up_at = Instant::now() + START_AT_MOST;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < give_up_at, "{command:?} does not accept");
            assert!(child.try_wait().unwrap().is_none(), "{command:?} ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            child,
            output: None,
            address,
        }
    }

    /// The next line of an announced server's output.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output
            .as_mut()
            .expect("announced")
            .read_line(&mut line)
            .unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that nginx ends its workers too.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let give_up_at = Instant::now() + END_AT_MOST;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > give_up_at {
                drop(self.child.kill());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn node_program() -> Option<Command> {
    let modules = Part::Node.find("node_modules")?;
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules);
    Some(command)
}

/// A program of the system; none leaves the test out.
fn installed(name: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|file| file.exists());
    if is_left_out(name, found.is_some()) {
        return None;
    }
    found.map(Command::new)
}
