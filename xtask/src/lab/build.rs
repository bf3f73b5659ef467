//! btcd and LND, built from the versions that `conformance/lab/` pins, into the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use farebox_testkit::parts::{self, conformance};

use crate::cache::provide;
use crate::process::works;

const BTCD: &str = "github.com/btcsuite/btcd";
const LND: &str = "github.com/lightningnetwork/lnd/cmd/lnd";
/// LND's services beyond the basic ones, as its own releases have them.
const LND_TAGS: &str = "routerrpc invoicesrpc walletrpc chainrpc signrpc peersrpc";
/// How often a person is told that it is still going on.
const TELL_EVERY: Duration = Duration::from_secs(20);

pub(super) struct Programs {
    pub(super) btcd: PathBuf,
    pub(super) lnd: PathBuf,
}

/// The programs, built if they are not there.
pub(super) fn programs() -> Result<Programs> {
    let place = parts::folder("lightning-nodes", &parts::version(&pins()?))?;
    provide(&place, |_| true, build_both)?;
    Ok(Programs {
        btcd: place.join("btcd"),
        lnd: place.join("lnd"),
    })
}

fn build_both(folder: &Path) -> Result<()> {
    if !works("go", &["version"]) {
        bail!("Go is not installed (1.24 or newer, https://go.dev/dl): it builds btcd and LND");
    }
    println!("building btcd and LND, once; this takes some minutes");
    build(folder, BTCD, "")?;
    build(folder, LND, LND_TAGS)
}

/// What decides how the programs come out.
fn pins() -> Result<String> {
    let mut pins = format!("{LND_TAGS}\n");
    for name in ["go.mod", "go.sum"] {
        let file = conformance("lab").join(name);
        pins += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    Ok(pins)
}

fn build(place: &Path, package: &str, tags: &str) -> Result<()> {
    let log = place.join("build.log");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-mod=readonly", "-tags", tags, "-o"])
        .arg(format!("{}/", place.display()))
        .arg(package)
        .current_dir(conformance("lab"))
        .stderr(File::create(&log)?);
    let started_at = Instant::now();
    let mut told_at = started_at;
    let mut child = go.spawn().context("cannot run go")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if told_at.elapsed() > TELL_EVERY {
            told_at = Instant::now();
            let seconds = started_at.elapsed().as_secs();
            println!("still building {package}, {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("go build {package}: {status}\n{said}");
    }
    println!("built {package} in {} s", started_at.elapsed().as_secs());
    Ok(())
}
