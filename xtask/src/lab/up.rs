//! From nothing to a channel that pays both ways, and from whatever is left of a lab to a whole one.

use std::fs;

use anyhow::{Context, Result};
use farebox_testkit::lab::{Daemon, Lab, LabError, wait_for};

use super::{build, guard, layout, run_folder, standing, stop_all};

/// SegWit is active after three windows of 144 blocks; a channel opened before is never confirmed.
const BLOCKS_AT_FIRST: u32 = 450;
const BLOCKS_TO_CONFIRM: u32 = 6;
/// Of what both sides have half: just below the most that a channel without special options holds.
const CHANNEL_SAT: u64 = 16_000_000;
pub(super) const INVOICE_SECONDS: u64 = 3600;

/// Starts what does not run: a lab whose chain is up is repaired, anything else begins anew.
pub(super) fn up() -> Result<Lab> {
    let programs = build::programs()?;
    let _one_at_a_time = guard::lock_changes()?;
    if let Some(lab) = standing()? {
        repair(&lab).context("what is left of the lab does not start: cargo xtask lab down")?;
        return Ok(lab);
    }
    stop_all()?;
    fs::remove_dir_all(run_folder())
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
        .context("cannot clear the lab's folder")?;
    let lab = layout::plan(&run_folder(), &programs)?;
    let started = begin(lab);
    if started.is_err() {
        tell_last_words();
        stop_all()?;
    }
    started
}

fn repair(lab: &Lab) -> Result<()> {
    for node in &lab.nodes {
        node.daemon.start()?;
    }
    // A chain whose last block is old counts as not synchronised.
    lab.mine(1)?;
    lab.wait_until_connected()?;
    Ok(())
}

fn begin(mut lab: Lab) -> Result<Lab> {
    println!("starting a chain and two nodes");
    start(&lab.btcd.daemon)?;
    wait_for("btcd answering", || lab.btcd.height().map(Some))?;
    for node in &lab.nodes {
        start(&node.daemon)?;
    }
    for node in &mut lab.nodes {
        node.pubkey = node.wait_for_pubkey()?;
    }
    mine_for_alice(&mut lab)?;
    open_channel(&lab)?;
    // The last step: a lab is there when its description is.
    let text = serde_json::to_vec_pretty(&lab)?;
    fs::write(Lab::default_file(), text).context("cannot write lab.json")?;
    Ok(lab)
}

/// btcd pays its miner at an address that it is told when it starts, and alice has none before
/// there is a chain.
fn mine_for_alice(lab: &mut Lab) -> Result<()> {
    let what = "alice making an address";
    let address = wait_for(what, || lab.alice().new_address().map(Some))?;
    lab.btcd.daemon.stop()?;
    let option = format!("--miningaddr={address}");
    lab.btcd.daemon.arguments.push(option);
    start(&lab.btcd.daemon)?;
    wait_for("btcd answering", || lab.btcd.height().map(Some))?;
    lab.mine(BLOCKS_AT_FIRST)?;
    Ok(())
}

fn open_channel(lab: &Lab) -> Result<()> {
    let (alice, bob) = (lab.alice(), lab.bob());
    println!("opening a channel");
    wait_for("alice with a channel to bob", || {
        drop(alice.connect(bob));
        alice
            .open_channel(bob, CHANNEL_SAT, CHANNEL_SAT / 2)
            .map(Some)
    })?;
    wait_for("the channel known to both", || {
        let pending = bob.get("/v1/channels/pending")?;
        let opening = pending["pending_open_channels"].as_array();
        Ok(opening.is_some_and(|all| !all.is_empty()).then_some(()))
    })?;
    lab.mine(BLOCKS_TO_CONFIRM)?;
    lab.wait_until_connected()?;
    alice.wait_until_it_can_pay(bob)?;
    bob.wait_until_it_can_pay(alice)?;
    Ok(())
}

fn start(daemon: &Daemon) -> Result<(), anyhow::Error> {
    layout::note(daemon)?;
    daemon.start().map_err(LabError::into)
}

fn tell_last_words() {
    for daemon in layout::daemons(&run_folder()) {
        let name = daemon.folder.file_name().unwrap_or_default();
        println!("--- {} ---\n{}", name.display(), daemon.last_words());
    }
}
