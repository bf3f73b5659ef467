//! `farebox demo` on the nodes of the lab: alice sells, and bob pays unless a person wants to.

use std::path::Path;

use anyhow::Result;
use farebox_testkit::lab::{Lab, Node};

use crate::process;

/// Leaves the payment to whoever runs the demo.
const BY_HAND: &str = "--by-hand";

/// Prints the command line and runs it; further `options` are the demo's own.
pub(super) fn run(lab: &Lab, options: &[&str]) -> Result<()> {
    let by_hand = options.contains(&BY_HAND);
    let mut arguments = ["run", "--quiet", "-p", "farebox", "--", "demo"]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--network", "regtest", "--lightning", "lnd"].map(str::to_owned));
    arguments.extend(flags("--lnd", lab.alice(), &lab.alice().macaroons.invoice));
    if !by_hand {
        arguments.extend(flags("--buyer-lnd", lab.bob(), &lab.bob().macaroons.admin));
    }
    let own = options.iter().filter(|option| **option != BY_HAND);
    arguments.extend(own.map(|option| (*option).to_owned()));
    process::run(&mut process::cargo(arguments))
}

fn flags(prefix: &str, node: &Node, macaroon: &Path) -> [String; 6] {
    [
        format!("{prefix}-url"),
        node.rest.clone(),
        format!("{prefix}-macaroon"),
        macaroon.display().to_string(),
        format!("{prefix}-cert"),
        node.cert.display().to_string(),
    ]
}
