//! The independent programs that tests run against Farebox: npm and PyPI packages pinned under
//! `conformance/`, and servers from Debian. Installed once, and again when a pin changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use crate::process::{cache, command, is_ci, root, run, works};

type Install = fn() -> Result<()>;

/// What there is to install, and how the closing summary calls it.
const PARTS: [(&str, Install); 8] = [
    ("Node packages", node),
    ("Python packages", python),
    ("SDKs", sdks),
    ("LNbits", lnbits),
    ("LiteLLM", litellm),
    ("nginx", nginx),
    ("nghttp", nghttp),
    ("chromium", chromium),
];

/// Which parts are there.
pub(crate) struct Parts {
    pub(crate) present: Vec<&'static str>,
    /// With the reason.
    pub(crate) missing: Vec<(&'static str, String)>,
}

/// The parts on their way in, while something else is built.
pub(crate) struct Installing(JoinHandle<Result<Parts>>);

impl Installing {
    pub(crate) fn start() -> Self {
        Self(std::thread::spawn(install))
    }

    pub(crate) fn finish(self) -> Result<Parts> {
        let installed = self.0.join();
        installed.unwrap_or_else(|_| bail!("the thread that installs parts panicked"))
    }
}

/// Where the tests find the parts.
pub(crate) fn folder() -> PathBuf {
    cache().join("parts")
}

/// Installs what is missing. A part that cannot be had is an error under CI only.
fn install() -> Result<Parts> {
    let mut parts = Parts {
        present: Vec::new(),
        missing: Vec::new(),
    };
    fs::create_dir_all(folder())?;
    for (name, install) in PARTS {
        match install() {
            Ok(()) => parts.present.push(name),
            Err(error) if is_ci() => return Err(error.context(format!("{name} are needed in CI"))),
            Err(error) => {
                println!("without {name}: {error:#}");
                parts.missing.push((name, format!("{error:#}")));
            }
        }
    }
    Ok(parts)
}

fn node() -> Result<()> {
    if !works("npm", &["--version"]) {
        bail!("npm is not installed (Node 20 or later brings it)");
    }
    let place = folder().join("node");
    once(&place, &["package.json", "package-lock.json"], |place| {
        let options = [
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ];
        run(command("npm").args(options).current_dir(place))
    })
}

fn python() -> Result<()> {
    environment("python", "requirements.txt")
}

/// The SDKs of model providers, and a server that speaks their APIs.
fn sdks() -> Result<()> {
    environment("sdks", "sdk-requirements.txt")
}

/// A wallet server, for the tests with real Lightning nodes. Apart from the other packages, with
/// whose pins its own do not agree.
fn lnbits() -> Result<()> {
    environment("lnbits", "lnbits-requirements.txt")
}

/// A gateway to models. Apart too, for the same reason.
fn litellm() -> Result<()> {
    environment("litellm", "litellm-requirements.txt")
}

/// A virtual environment with exactly these pins.
fn environment(name: &str, pins: &str) -> Result<()> {
    if !works("python3", &["--version"]) {
        bail!("python3 is not installed");
    }
    once(&folder().join(name), &[pins], |place| {
        let venv = place.join("venv");
        if !works("python3", &["-c", "import ensurepip"]) {
            debian("python3-venv")?;
        }
        run(command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv))?;
        let pip = [
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "-r",
        ];
        run(command(venv.join("bin/pip"))
            .args(pip)
            .arg(place.join(pins)))
    })
}

fn nginx() -> Result<()> {
    let is_there = || works("nginx", &["-v"]) || works("/usr/sbin/nginx", &["-v"]);
    if !is_there() {
        debian("nginx-light")?;
    }
    if is_there() {
        Ok(())
    } else {
        bail!("nginx does not start")
    }
}

fn nghttp() -> Result<()> {
    let is_there = || works("nghttp", &["--version"]);
    if !is_there() {
        debian("nghttp2-client")?;
    }
    if is_there() {
        Ok(())
    } else {
        bail!("nghttp does not start")
    }
}

fn chromium() -> Result<()> {
    let is_there = || works("chromium", &["--version"]);
    if !is_there() {
        debian("chromium")?;
    }
    if is_there() {
        Ok(())
    } else {
        bail!("chromium does not start")
    }
}

/// Copies `pins` from `conformance/` and installs, unless these very pins are installed already.
fn once(place: &Path, pins: &[&str], install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let done = place.join("installed");
    let mut wanted = String::new();
    for pin in pins {
        let file = root().join("conformance").join(pin);
        wanted += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    fs::create_dir_all(place)?;
    for pin in pins {
        fs::copy(root().join("conformance").join(pin), place.join(pin))?;
    }
    install(place)?;
    fs::write(&done, wanted).context("cannot note what is installed")
}

/// Installs a Debian package, where this user may.
pub(crate) fn debian(package: &str) -> Result<()> {
    let is_root = command("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if !is_root || !works("apt-get", &["--version"]) {
        bail!("the Debian package {package} is not installed, and only root could install it");
    }
    let mut install = command("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut install).is_ok() {
        return Ok(());
    }
    run(command("apt-get").args(["update", "-qq"]))?;
    run(&mut install)
}
