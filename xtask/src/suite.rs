//! `cargo xtask test` and `cargo xtask bless`: the whole test suite, and what came of it.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::LAB;
use farebox_testkit::parts::{FAST, SKIPPED};

use crate::fuzz;
use crate::lab::{Preparing, UpForTests};
use crate::parts::{Installing, Parts};
use crate::process::{cargo, run, spelled, state};

/// All features, so that the binary under test has its crash points and contract tests run.
const SUITE: [&str; 4] = ["test", "--workspace", "--all-features", "--no-fail-fast"];

/// How long `--all` fuzzes every target.
const FUZZ_SECONDS: u32 = 60;

/// How much of the suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Without parts from outside.
    Fast,
    /// What a change has to pass.
    Gate,
    /// The gate, the tests that are too long for it (`#[ignore = "long"]`), and fuzzing.
    All,
}

#[derive(Default)]
struct Tally {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let started_at = Instant::now();
    let (extent, filters) = asked(arguments);
    // Beside the build, which takes as long where nothing is there yet.
    let preparing = (extent != Extent::Fast).then(Preparing::start);
    let installing = (extent != Extent::Fast).then(|| Installing::start(extent == Extent::All));
    run(cargo(SUITE).arg("--no-run"))?;
    let mut parts = installing.map(Installing::finish).transpose()?;
    let lab = preparing.map(Preparing::finish).transpose()?;
    let lab = with_lab(lab, parts.as_mut());

    let mut suite = suite(extent, &filters)?;
    if let Some(lab) = &lab {
        suite.env(LAB, lab.file());
    }
    let (tally, passed) = watch(&mut suite)?;
    drop(lab);
    let fuzzed = match extent {
        Extent::All if passed => fuzz::each_target(FUZZ_SECONDS)?,
        Extent::All | Extent::Gate | Extent::Fast => None,
    };

    let skipped = fs::read_to_string(skipped_file()).context("cannot read what was skipped")?;
    tell_missing(parts.as_ref(), &skipped);
    let summary = Summary {
        tally,
        skipped: skipped.lines().count(),
        parts: parts.map(|parts| parts.present).unwrap_or_default(),
        fuzzed,
        seconds: started_at.elapsed().as_secs(),
    };
    // In either case it is the last line.
    if passed {
        println!("tests passed: {summary}");
        Ok(())
    } else {
        bail!("tests FAILED: {summary}")
    }
}

/// What the arguments ask for, and what of them is the test programs' own.
fn asked(arguments: &[String]) -> (Extent, Vec<&str>) {
    let (mut extent, mut filters) = (Extent::Gate, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--fast" => extent = Extent::Fast,
            "--all" => extent = Extent::All,
            filter => filters.push(filter),
        }
    }
    (extent, filters)
}

/// The command that runs the tests.
fn suite(extent: Extent, filters: &[&str]) -> Result<Command> {
    let skipped = skipped_file();
    fs::create_dir_all(state())?;
    fs::write(&skipped, "").context("cannot start the list of skipped tests")?;
    let mut suite = cargo(SUITE);
    suite.arg("--");
    if extent == Extent::All {
        suite.arg("--include-ignored");
    }
    suite.args(filters).env(SKIPPED, skipped);
    if extent == Extent::Fast {
        suite.env(FAST, "1");
    }
    Ok(suite)
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

/// The file in which tests note that they were left out.
fn skipped_file() -> PathBuf {
    state().join("skipped.txt")
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

/// What the run did without, and which tests that cost.
fn tell_missing(parts: Option<&Parts>, skipped: &str) {
    println!();
    for (name, reason) in parts.iter().flat_map(|parts| &parts.missing) {
        println!("   without {name}: {reason}");
    }
    for line in skipped.lines() {
        println!("   skipped {line}");
    }
}

/// What came of a run, in one line that can be quoted.
struct Summary {
    tally: Tally,
    /// Tests that lacked a part.
    skipped: usize,
    parts: Vec<&'static str>,
    /// Fuzz targets that held.
    fuzzed: Option<usize>,
    seconds: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            programs,
            passed,
            failed,
            ignored,
        } = self.tally;
        let (skipped, seconds) = (self.skipped, self.seconds);
        write!(
            f,
            "{passed} passed, {failed} failed, {skipped} skipped, {ignored} left for --all, in {programs} programs; "
        )?;
        match self.parts.as_slice() {
            [] => write!(f, "no parts from outside; ")?,
            parts => write!(f, "with {}; ", parts.join(", "))?,
        }
        if let Some(targets) = self.fuzzed {
            write!(f, "{targets} fuzz targets held {FUZZ_SECONDS} s each; ")?;
        }
        write!(f, "{} min {} s", seconds / 60, seconds % 60)
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

    fn tally() -> Tally {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.add(line);
        }
        tally
    }

    #[test]
    fn the_summary_says_in_one_line_what_can_be_quoted() {
        let summary = Summary {
            tally: tally(),
            skipped: 7,
            parts: vec!["nginx", "LNbits"],
            fuzzed: Some(8),
            seconds: 125,
        };
        assert_eq!(
            summary.to_string(),
            "5 passed, 4 failed, 7 skipped, 1 left for --all, in 2 programs; with nginx, LNbits; \
             8 fuzz targets held 60 s each; 2 min 5 s"
        );
    }

    #[test]
    fn what_is_no_option_of_ours_goes_to_the_test_programs() {
        let arguments = ["--all", "refunds", "--nocapture"].map(str::to_owned);
        let expected = (Extent::All, vec!["refunds", "--nocapture"]);
        assert_eq!(asked(&arguments), expected);
        assert_eq!(asked(&[]), (Extent::Gate, Vec::new()));
    }
}
