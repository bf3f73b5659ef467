//! `cargo xtask …`: the project's tasks, each doing all of its own set-up.
//!
//! What a task needs from outside goes into a cache that all clones share, what runs from this clone into the
//! git-ignored `.state/`. What cannot be had is skipped with a printed reason on a person's machine and fails
//! the task when `CI=true`.

#![expect(
    clippy::print_stdout,
    reason = "talking to the person at the terminal is the task"
)]
#![expect(clippy::print_stderr, reason = "the same, for failures")]

mod bench;
mod cache;
mod fuzz;
mod lab;
mod lint;
mod parts;
mod process;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::shape;

use crate::process::root;

const USAGE: &str = "\
cargo xtask test [FILTER…]            the gate: what every change has to pass
cargo xtask test --fast [FILTER…]     without what needs parts from outside
cargo xtask test --all [FILTER…]      the gate, tests that are too long for it, and a minute of each fuzz target
cargo xtask parts [--all]             only installs what tests need from outside, and says where
cargo xtask lint                      formatting, clippy, tidiness, dependencies
cargo xtask bench […]                 the benchmarks of docs/benchmarks.md
cargo xtask bless [FILTER…]           run the tests and accept what their snapshots now show
cargo xtask shape                     circles, wide functions and scattered types, crate by crate
cargo xtask fuzz [SECONDS]            every fuzz target for so long (default 10)
cargo xtask lab up|down|status|…      real Lightning nodes with a channel, for tests and by hand";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((task, rest)) = arguments.split_first() else {
        bail!("which task?\n{USAGE}")
    };
    match task.as_str() {
        "test" => suite::test(rest),
        "parts" => parts::install_only(rest.iter().any(|word| word == "--all")),
        "bless" => suite::bless(rest),
        "lint" => lint::run(),
        "shape" => {
            print!("{}", shape::table(&shape::of_workspace(root())?));
            Ok(())
        }
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "lab" => lab::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("no task {task:?}\n{USAGE}"),
    }
}
