//! `cargo xtask lab`: real Lightning on one machine, a regtest chain and two LND nodes with a funded
//! channel. The nodes stay up when the task ends, in a folder and on ports of their own, and only
//! what runs from that folder is ever stopped.

mod build;
mod demo;
mod guard;
mod layout;
mod up;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::{Lab, Node};
use serde_json::json;

use crate::process::state;

pub(crate) use guard::{Preparing, UpForTests};

const USAGE: &str = "\
cargo xtask lab up                    build and start btcd and the LND nodes alice and bob
cargo xtask lab down                  stop them
cargo xtask lab status [--json]       where they are and what they own
cargo xtask lab pay INVOICE [--from bob] [--amount MSAT]
cargo xtask lab invoice MSAT [--on bob]
cargo xtask lab restart NODE          stop a node and start it again
cargo xtask lab demo [--once]         farebox demo: alice sells, bob pays
cargo xtask lab demo --by-hand        the same, and you pay (cargo xtask lab pay INVOICE)";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => {
            let lab = up::up()?;
            status(&lab)
        }
        ["down"] => down(),
        ["status"] => status(&running()?),
        ["status", "--json"] => {
            println!(
                "{}",
                serde_json::to_string_pretty(&description(&running()?))?
            );
            Ok(())
        }
        ["pay", invoice, options @ ..] => pay(invoice, options),
        ["invoice", msat, options @ ..] => invoice(msat, options),
        ["restart", name] => restart(name),
        ["demo", options @ ..] => demo::run(&running()?, options),
        _ => bail!("lab what?\n{USAGE}"),
    }
}

/// The lab that runs from this clone, with all its data.
fn run_folder() -> PathBuf {
    state().join("lab")
}

/// The lab that was started; an error when there is none.
fn running() -> Result<Lab> {
    let lab = Lab::read(&Lab::default_file())?;
    lab.context("the lab is not up: cargo xtask lab up")
}

/// The lab that is up, if perhaps not all of it. Without its chain it cannot be repaired: a btcd
/// that was killed has forgotten its last blocks.
fn standing() -> Result<Option<Lab>> {
    let lab = Lab::read(&Lab::default_file())?;
    Ok(lab.filter(|lab| lab.btcd.daemon.process().is_some()))
}

fn down() -> Result<()> {
    let _one_at_a_time = guard::lock_changes()?;
    stop_all()?;
    println!("the lab is down");
    Ok(())
}

/// Stops whatever runs from the lab's folder, also what an interrupted start left behind.
fn stop_all() -> Result<()> {
    for daemon in layout::daemons(&run_folder()) {
        daemon.stop()?;
    }
    match fs::remove_file(Lab::default_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn status(lab: &Lab) -> Result<()> {
    println!("btcd    {}", is_up(lab.btcd.daemon.process()));
    for node in &lab.nodes {
        let state = is_up(node.daemon.process());
        println!("{:<7} {state}, {}", node.name, node.rest);
        println!("        certificate {}", node.cert.display());
        println!("        macaroon    {}", node.macaroons.invoice.display());
        if let Ok(msat) = node.balance() {
            println!("        owns {msat} msat in its channels");
        }
    }
    println!("FAREBOX_LAB={}", Lab::default_file().display());
    Ok(())
}

fn is_up(process: Option<i32>) -> String {
    process.map_or("is down".to_owned(), |id| format!("is up (process {id})"))
}

/// What `lab.json` says, and what of it runs.
fn description(lab: &Lab) -> serde_json::Value {
    let mut described = json!(lab);
    described["btcd"]["running"] = json!(lab.btcd.daemon.process().is_some());
    for (index, node) in lab.nodes.iter().enumerate() {
        described["nodes"][index]["running"] = json!(node.daemon.process().is_some());
        described["nodes"][index]["balance_msat"] = json!(node.balance().ok());
    }
    described
}

fn pay(invoice: &str, options: &[&str]) -> Result<()> {
    let lab = running()?;
    let payer = named(&lab, option(options, "--from")?.unwrap_or("bob"))?;
    let paid = match option(options, "--amount")? {
        None => payer.pay(invoice)?,
        Some(msat) => payer.pay_amount(invoice, msat.parse().context("--amount")?)?,
    };
    println!(
        "{} paid {} msat, fee {} msat",
        payer.name, paid.msat, paid.fee_msat
    );
    println!("preimage {}", paid.preimage);
    Ok(())
}

fn invoice(msat: &str, options: &[&str]) -> Result<()> {
    let lab = running()?;
    let payee = named(&lab, option(options, "--on")?.unwrap_or("bob"))?;
    let msat = msat.parse().context("how many msat?")?;
    println!("{}", payee.invoice(msat, up::INVOICE_SECONDS)?.bolt11);
    Ok(())
}

fn restart(name: &str) -> Result<()> {
    let lab = running()?;
    let node = named(&lab, name)?;
    node.daemon.stop()?;
    lab.start(node)?;
    println!("{name} {}", is_up(node.daemon.process()));
    Ok(())
}

fn named<'a>(lab: &'a Lab, name: &str) -> Result<&'a Node> {
    let node = lab.node(name);
    node.with_context(|| format!("no node {name:?}: they are alice and bob"))
}

/// The value after `name`; all options take one.
fn option<'a>(options: &[&'a str], name: &str) -> Result<Option<&'a str>> {
    let mut found = None;
    for pair in options.chunks(2) {
        match *pair {
            [option, value] if option == name => found = Some(value),
            ["--from" | "--on" | "--amount", _] => (),
            _ => bail!("what is {}?\n{USAGE}", pair.join(" ")),
        }
    }
    Ok(found)
}
