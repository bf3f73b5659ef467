//! The independent programs that tests run against Farebox: npm and PyPI packages pinned under
//! `conformance/`, which go into the cache, and servers from Debian, which go into the system. What takes
//! minutes to build is for `--all` alone.

use std::fs;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use farebox_testkit::parts::{Part, conformance};

use crate::cache::provide;
use crate::process::{cargo, command, is_ci, run, works};

/// What goes into the cache.
const PINNED: [Part; 6] = [
    Part::Node,
    Part::Python,
    Part::Sdks,
    Part::Lnbits,
    Part::Litellm,
    Part::Nutshell,
];
/// What goes there for `--all`.
const LONG: [Part; 1] = [Part::Cdk];
/// What the system has: how the closing summary calls it, as which program it is found, and the Debian
/// package that brings it.
const SYSTEM: [(&str, &str, &str); 3] = [
    ("nginx", "nginx", "nginx-light"),
    ("nghttp", "nghttp", "nghttp2-client"),
    ("chromium", "chromium", "chromium"),
];

/// Which parts are there.
pub(crate) struct Parts {
    pub(crate) present: Vec<&'static str>,
    /// With the reason.
    pub(crate) missing: Vec<(&'static str, String)>,
}

/// The parts on their way in, while something else is built.
pub(crate) struct Installing(JoinHandle<Result<Parts>>);

/// `cargo xtask parts`: for tests that are run without `cargo xtask test`.
pub(crate) fn install_only(with_long: bool) -> Result<()> {
    let parts = install(with_long)?;
    for part in pinned(with_long) {
        println!("{}: {}", part.title(), part.folder()?.display());
    }
    match parts.missing.as_slice() {
        [] => Ok(()),
        missing => bail!("{} parts are missing", missing.len()),
    }
}

impl Installing {
    pub(crate) fn start(with_long: bool) -> Self {
        Self(std::thread::spawn(move || install(with_long)))
    }

    pub(crate) fn finish(self) -> Result<Parts> {
        let installed = self.0.join();
        installed.unwrap_or_else(|_| bail!("the thread that installs parts panicked"))
    }
}

/// Installs what is missing. A part that cannot be had is an error under CI only.
fn install(with_long: bool) -> Result<Parts> {
    let mut parts = Parts {
        present: Vec::new(),
        missing: Vec::new(),
    };
    for part in pinned(with_long) {
        parts.note(part.title(), put_into_cache(part))?;
    }
    for (name, program, package) in SYSTEM {
        parts.note(name, system(program, package))?;
    }
    Ok(parts)
}

fn pinned(with_long: bool) -> impl Iterator<Item = Part> {
    let long = with_long.then_some(LONG).into_iter().flatten();
    PINNED.into_iter().chain(long)
}

impl Parts {
    /// What came of an installation.
    fn note(&mut self, name: &'static str, installed: Result<()>) -> Result<()> {
        match installed {
            Ok(()) => self.present.push(name),
            Err(error) if is_ci() => return Err(error.context(format!("{name} are needed in CI"))),
            Err(error) => {
                println!("without {name}: {error:#}");
                self.missing.push((name, format!("{error:#}")));
            }
        }
        Ok(())
    }
}

fn put_into_cache(part: Part) -> Result<()> {
    let place = part.folder()?;
    match part {
        Part::Node => provide(&place, |_| true, |folder| npm(part, folder)),
        Part::Python | Part::Sdks | Part::Lnbits | Part::Litellm | Part::Nutshell => {
            provide(&place, has_python, |folder| environment(part, folder))
        }
        Part::Cdk => provide(&place, |_| true, |folder| build(part, folder)),
    }
}

fn npm(part: Part, folder: &Path) -> Result<()> {
    if !works("npm", &["--version"]) {
        bail!("npm is not installed (Node 20 or later brings it)");
    }
    for pins in part.pins() {
        fs::copy(conformance(pins), folder.join(pins))?;
    }
    let options = [
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    run(command("npm").args(options).current_dir(folder))
}

/// A virtual environment with exactly the pins of this part: those of different parts do not agree.
fn environment(part: Part, folder: &Path) -> Result<()> {
    if !works("python3", &["--version"]) {
        bail!("python3 is not installed");
    }
    if !works("python3", &["-c", "import ensurepip"]) {
        debian("python3-venv")?;
    }
    let venv = folder.join("venv");
    run(command("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ];
    let mut install = command(venv.join("bin/python"));
    install.args(pip);
    for pins in part.pins() {
        install.arg("-r").arg(conformance(pins));
    }
    run(&mut install)
}

/// The program of a Rust package with a lock of its own, whose build needs protoc.
fn build(part: Part, folder: &Path) -> Result<()> {
    system("protoc", "protobuf-compiler")?;
    let manifest = part.pins().first().context("no manifest")?;
    let target = folder.join("target");
    let mut build = cargo(["build", "--quiet", "--locked", "--manifest-path"]);
    build.arg(conformance(manifest));
    run(build.arg("--target-dir").arg(&target))?;
    fs::copy(target.join("debug/farebox-cdk"), folder.join("farebox-cdk"))?;
    Ok(fs::remove_dir_all(target)?)
}

/// Whether the system still has the Python with which an environment was made.
fn has_python(place: &Path) -> bool {
    works(place.join("venv/bin/python"), &["-c", "import pip"])
}

/// A program of the system, installed where this user may. Debian keeps servers where only root looks.
fn system(program: &str, package: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = || {
        let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        folders.any(|folder| folder.join(program).exists())
    };
    if !is_there() {
        debian(package)?;
    }
    if is_there() {
        Ok(())
    } else {
        bail!("{package} does not bring {program}")
    }
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
    // Another clone's run may be installing at the same time.
    install.args(["-o", "DPkg::Lock::Timeout=300"]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut install).is_ok() {
        return Ok(());
    }
    run(command("apt-get").args(["update", "-qq"]))?;
    run(&mut install)
}
