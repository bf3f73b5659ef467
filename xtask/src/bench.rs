//! `cargo xtask bench`: what Farebox costs, in one run against nginx on the same machine.
//!
//! The method and its reasons are in `docs/benchmarks.md`. Everything runs on loopback out of one
//! throw-away folder; nothing is measured against a figure from another run or another machine.

mod books;
mod busy;
mod closed_loop;
mod crowd;
mod farebox;
mod flood;
mod http;
mod latency;
mod lightning;
mod machine;
mod memory;
mod metered;
mod nginx;
mod open_loop;
mod options;
mod percentile;
mod proc;
mod report;
mod rounds;
mod startup;
mod throughput;
mod traffic;
mod units;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::options::{Options, Part};
use self::report::Report;
use crate::parts::debian;
use crate::process::{cargo, command, root, run as show, state, works};

/// Connections of one memory scenario, with some to spare for the upstream side and files.
const DESCRIPTORS_TO_SPARE: usize = 1_000;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if cfg!(debug_assertions) {
        return run_optimised(arguments);
    }
    let binary = built(&options)?;
    if !works("nginx", &["-v"]) && !works(nginx::DEBIAN, &["-v"]) {
        debian("nginx-light")?;
    }
    let mut report = Report::new(machine::describe(&binary));
    report.print_head();
    let outcome = measure(&options, &binary, &mut report);
    report.print();
    outcome?;
    if let Some(file) = &options.json {
        fs::write(file, report.to_json()).with_context(|| file.display().to_string())?;
    }
    match report.failures() {
        0 => Ok(()),
        failures => bail!("{failures} figures are not what they have to be"),
    }
}

fn measure(options: &Options, binary: &Path, report: &mut Report) -> Result<()> {
    fs::create_dir_all(state())?;
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(state())?;
    let mock = nginx::Nginx::mock(&folder.path().join("mock"))?;
    let stage = farebox::Stage {
        binary,
        folder: folder.path(),
        upstream: mock.address,
    };
    if let Some(target) = &options.load {
        if metered::is_load(target) {
            return metered::load(target, &stage, options, report);
        }
        let cast = throughput::Cast::assemble(&stage, options)?;
        return throughput::load(target, &cast, options, report);
    }
    if options.runs(Part::Start) {
        startup::measure(&stage, options, report)?;
    }
    if options.runs(Part::Throughput) || options.runs(Part::Latency) {
        against_nginx(options, &stage, report)?;
    }
    if options.runs(Part::Metered) {
        metered::measure(&stage, options, report)?;
    }
    if options.runs(Part::Memory) {
        memory::measure(&stage, options, report)?;
    }
    if options.runs(Part::Flood) {
        flood::measure(&stage, options, report)?;
    }
    if options.runs(Part::Lightning) {
        lightning::measure(&stage, options, report)?;
    }
    report.check_plateau();
    Ok(())
}

/// Both of these parts compare, so they share one gateway, one nginx and one set of tokens.
fn against_nginx(options: &Options, stage: &farebox::Stage<'_>, report: &mut Report) -> Result<()> {
    let cast = throughput::Cast::assemble(stage, options)?;
    let mut books = books::Books::of(&[farebox::DEBIT]);
    if options.runs(Part::Throughput) {
        throughput::measure(&cast, options, &mut books, report)?;
        books.check("the closed loop", &cast.gateway, report)?;
    }
    if options.runs(Part::Latency) {
        latency::measure(&cast, stage.upstream, options, &mut books, report)?;
        books.check("the open loop", &cast.gateway, report)?;
    }
    cast.gateway.stop_and_verify(report)
}

/// A generator without optimisation would take the CPU that the gateway needs. So this task runs
/// itself again, built for release and allowed to open as many connections as the system lets it.
fn run_optimised(arguments: &[String]) -> Result<()> {
    let mut build = cargo(["build", "--release", "--quiet", "--package", "xtask"]);
    show(&mut build)?;
    let raise = format!(
        "hard=$(ulimit -H -n); [ \"$hard\" = unlimited ] && hard=65536; \
         ulimit -n \"$hard\" || exit 1; \
         [ \"$hard\" -ge {} ] || echo \"only $hard file descriptors\" >&2; exec \"$@\"",
        options::CROWD + DESCRIPTORS_TO_SPARE
    );
    let mut again = command("sh");
    again
        .args(["-c", &raise, "sh"])
        .arg(target().join("xtask"))
        .arg("bench")
        .args(arguments);
    let status = again.status().context("cannot run the optimised xtask")?;
    if status.success() {
        Ok(())
    } else {
        bail!("the benchmark failed")
    }
}

/// The release binary under test, with its default features.
fn built(options: &Options) -> Result<PathBuf> {
    if let Some(binary) = &options.binary {
        return Ok(binary.clone());
    }
    show(&mut cargo(["build", "--release", "--package", "farebox"]))?;
    Ok(target().join("farebox"))
}

fn target() -> PathBuf {
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(folder).join("release")
}
