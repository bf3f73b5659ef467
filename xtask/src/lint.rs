//! `cargo xtask lint`: everything that can be said about the code without running it.

use anyhow::Result;

use crate::process::{cargo, run as show, works};

pub(crate) fn run() -> Result<()> {
    show(&mut cargo(["fmt", "--all", "--", "--check"]))?;
    let everything = ["clippy", "--workspace", "--all-targets", "--all-features"];
    show(cargo(everything).args(["--", "-D", "warnings"]))?;
    show(&mut cargo(["test", "--quiet", "--package", "xtask"]))?;
    check_dependencies()
}

/// Advisories are left out: they need a network.
fn check_dependencies() -> Result<()> {
    if works("cargo", &["deny", "--version"]) {
        return show(&mut cargo(["deny", "check", "bans", "licenses", "sources"]));
    }
    println!(
        "cargo-deny is not installed, so deny.toml was not checked (cargo install cargo-deny)"
    );
    Ok(())
}
