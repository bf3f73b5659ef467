//! `cargo xtask fuzz [SECONDS]`: every fuzz target for a short while. Long runs are `cargo fuzz`'s
//! own business.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use farebox_testkit::parts;

use crate::cache::provide;
use crate::parts::debian;
use crate::process::{cargo, command, is_ci, root, run as show, works};

const CARGO_FUZZ_VERSION: &str = "0.13.1";
const DEFAULT_SECONDS: u32 = 10;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let seconds = match arguments.first() {
        Some(text) => text.parse().context("SECONDS is a whole number")?,
        None => DEFAULT_SECONDS,
    };
    if let Some(targets) = each_target(seconds)? {
        println!("\n== {targets} fuzz targets held for {seconds} s each");
    }
    Ok(())
}

/// Fuzzes every target for so long; answers how many there are, `None` where nothing can be fuzzed here.
pub(crate) fn each_target(seconds: u32) -> Result<Option<usize>> {
    match tools() {
        Ok(cargo_fuzz) => fuzz_all(&cargo_fuzz, seconds).map(Some),
        Err(error) if is_ci() => Err(error),
        Err(error) => {
            println!("nothing was fuzzed: {error:#}");
            Ok(None)
        }
    }
}

/// The path of cargo-fuzz, installed if need be.
fn tools() -> Result<PathBuf> {
    // libFuzzer is C++.
    if !works("c++", &["--version"]) {
        debian("g++")?;
    }
    let place = parts::folder("cargo-fuzz", CARGO_FUZZ_VERSION)?;
    let program = |place: &Path| place.join("bin/cargo-fuzz");
    let starts = |place: &Path| works(program(place), &["--version"]);
    provide(&place, starts, |folder| {
        let install = ["install", "--locked", "cargo-fuzz", "--version"];
        let mut install = cargo(install);
        show(install.args([CARGO_FUZZ_VERSION, "--root"]).arg(folder))
    })?;
    Ok(program(&place))
}

fn fuzz_all(cargo_fuzz: &Path, seconds: u32) -> Result<usize> {
    let targets = targets()?;
    for target in &targets {
        // libFuzzer's instrumentation needs unstable flags; this lets a stable compiler take them.
        let mut fuzz = command(cargo_fuzz);
        fuzz.args(["fuzz", "run", target])
            .args(corpora(target)?)
            .arg("--");
        fuzz.arg(format!("-max_total_time={seconds}"));
        fuzz.args(["-rss_limit_mb=2048", "-timeout=10", "-verbosity=0"]);
        show(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(targets.len())
}

/// What fuzzing finds is kept in the first folder; the second holds the seeds in the repository.
fn corpora(target: &str) -> Result<Vec<PathBuf>> {
    let found = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&found)?;
    let seeds = root().join("fuzz/seeds").join(target);
    Ok(if seeds.exists() {
        vec![found, seeds]
    } else {
        vec![found]
    })
}

fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("no fuzz targets in {}", folder.display())
    } else {
        Ok(names)
    }
}
