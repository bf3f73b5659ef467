//! `cargo xtask bench`.

use anyhow::{Result, bail};

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    bail!("there are no benchmarks yet")
}
