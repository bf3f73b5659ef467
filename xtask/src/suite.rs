//! `cargo xtask test` and `cargo xtask bless`: the whole test suite, and what came of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::LAB;
use farebox_testkit::parts::{FAST, SKIPPED};

use crate::lab::{Preparing, UpForTests};
use crate::parts::{Installing, Parts};
use crate::process::{cargo, run, spelled, state};

/// All features, so that the binary under test has its crash points and contract tests run.
const SUITE: [&str; 4] = ["test", "--workspace", "--all-features", "--no-fail-fast"];

#[derive(Default)]
struct Tally {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let started_at = Instant::now();
    let fast = arguments.iter().any(|argument| argument == "--fast");
    let filters = arguments.iter().filter(|argument| *argument != "--fast");
    // Beside the build, which takes as long where nothing is there yet.
    let preparing = (!fast).then(Preparing::start);
    let installing = (!fast).then(Installing::start);
    run(cargo(SUITE).arg("--no-run"))?;
    let mut parts = installing.map(Installing::finish).transpose()?;
    let lab = preparing.map(Preparing::finish).transpose()?;
    let lab = with_lab(lab, parts.as_mut());

    let mut suite = cargo(SUITE);
    suite.arg("--").args(filters);
    suite.env(SKIPPED, skipped_file()?);
    if fast {
        suite.env(FAST, "1");
    }
    if let Some(lab) = &lab {
        suite.env(LAB, lab.file());
    }
    let (tally, passed) = watch(&mut suite)?;
    drop(lab);

    let seconds = started_at.elapsed().as_secs();
    println!(
        "\n== tests {} in {seconds} s",
        if passed { "passed" } else { "FAILED" }
    );
    summarize(&tally, parts.as_ref());
    if passed {
        Ok(())
    } else {
        bail!("{} tests failed (or did not build)", tally.failed)
    }
}

/// The lab where it is up; the closing summary says which.
fn with_lab(
    lab: Option<Result<UpForTests, String>>,
    parts: Option<&mut Parts>,
) -> Option<UpForTests> {
    const NAME: &str = "Lightning nodes";
    let parts = parts?;
    match lab? {
        Ok(lab) => {
            parts.present.push(NAME);
            Some(lab)
        }
        Err(reason) => {
            parts.missing.push((NAME, reason));
            None
        }
    }
}

pub(crate) fn bless(arguments: &[String]) -> Result<()> {
    let mut suite = cargo(SUITE);
    suite
        .arg("--")
        .args(arguments)
        .env("BLESS", "1")
        .env(FAST, "1");
    let (_, passed) = watch(&mut suite)?;
    println!("\n== look at `git diff` before you commit what the snapshots now show");
    if passed {
        Ok(())
    } else {
        bail!("some tests fail whatever their snapshots say")
    }
}

/// The file in which tests note what they left out.
fn skipped_file() -> Result<PathBuf> {
    fs::create_dir_all(state())?;
    let file = state().join("skipped.txt");
    fs::write(&file, "").context("cannot start the list of skipped tests")?;
    Ok(file)
}

/// Runs the suite, shows what it prints and counts the results.
fn watch(suite: &mut Command) -> Result<(Tally, bool)> {
    println!("$ {}", spelled(suite));
    let mut child = suite
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            tally.add(&line);
            println!("{line}");
        }
    }
    Ok((tally, child.wait()?.success()))
}

fn summarize(tally: &Tally, parts: Option<&Parts>) {
    let Tally {
        programs,
        passed,
        failed,
        ignored,
    } = tally;
    println!("   {passed} passed, {failed} failed, {ignored} ignored, in {programs} programs");
    match parts {
        None => println!("   --fast: nothing was run against independent parts"),
        Some(parts) => println!("   independent parts: {}", parts.present.join(", ")),
    }
    for (name, reason) in parts.iter().flat_map(|parts| &parts.missing) {
        println!("   without {name}: {reason}");
    }
    for line in fs::read_to_string(state().join("skipped.txt"))
        .unwrap_or_default()
        .lines()
    {
        println!("   skipped {line}");
    }
}

impl Tally {
    /// Takes in a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.programs += 1;
        let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for count in counts.split("; ") {
            match count
                .split_once(' ')
                .map(|(number, what)| (number.parse().unwrap_or(0), what))
            {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.add(line);
        }
        let sums = (tally.programs, tally.passed, tally.failed, tally.ignored);
        assert_eq!(sums, (2, 5, 4, 1));
    }
}
