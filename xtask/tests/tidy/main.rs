//! Rules about the shape of the code that no compiler checks: who may import whom, how long a file
//! may be, that every crate takes the workspace's lints, and what [`shape`] says.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

mod shape;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The layers of ARCHITECTURE.md, lowest first: a crate may import crates of lower layers, and never its
/// neighbours.
const LAYERS: [&[&str]; 9] = [
    &["farebox-core"],
    &[
        "farebox-api",
        "farebox-http",
        "farebox-wire",
        "farebox-ledger",
        "farebox-meter",
    ],
    &["farebox-lightning", "farebox-ecash"],
    &["farebox-market"],
    &["farebox-paywall"],
    &["farebox-gateway"],
    &["farebox-console"],
    &["farebox-config"],
    &["farebox"],
];
/// Only the binary may use it outside tests, for `farebox demo`, and the tasks.
const TESTKIT: &str = "farebox-testkit";
/// Crates of no layer, and what each stands in front of or drives.
const HELPERS: [(&str, [&str; 2]); 2] = [
    (TESTKIT, ["farebox-core", "farebox-lightning"]),
    (
        "farebox-ledger-contract",
        ["farebox-core", "farebox-ledger"],
    ),
];
/// Past this, a file tells more than one story.
const MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn packages() -> Vec<Value> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let output = metadata.current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn helper(name: &str) -> Option<&'static [&'static str]> {
    let mut helpers = HELPERS.iter();
    helpers
        .find(|(known, _)| *known == name)
        .map(|(_, imports)| imports.as_slice())
}

/// Normal and build dependencies of each package on others of ours.
fn edges() -> BTreeMap<String, Vec<String>> {
    let ours = |name: &str| name.starts_with("farebox");
    let mut edges = BTreeMap::new();
    for package in packages() {
        let dependencies = package["dependencies"].as_array().unwrap();
        let shipped = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev");
        let names = shipped.filter_map(|dependency| dependency["name"].as_str());
        let names = names.filter(|name| ours(name)).map(str::to_owned).collect();
        edges.insert(package["name"].as_str().unwrap().to_owned(), names);
    }
    edges
}

/// Every file that git tracks or would track, so that caches and build output stay out.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut list = Command::new("git");
    list.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        "crates",
        "xtask",
    ]);
    let output = list.current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    let paths = names.lines().map(|name| root().join(name));
    let wanted = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    paths.filter(|path| wanted(path) && path.exists()).collect()
}

fn is_test(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    in_tests || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn a_lower_crate_never_imports_a_higher_one() {
    for (name, imports) in edges() {
        for import in imports {
            let allowed = match (layer(&name), layer(&import)) {
                (Some(this), Some(that)) => that < this,
                (_, None) => ["farebox", "xtask"].contains(&name.as_str()) && import == TESTKIT,
                (None, Some(_)) => helper(&name).is_some_and(|all| all.contains(&import.as_str())),
            };
            assert!(allowed, "{name} must not depend on {import}");
        }
    }
}

#[test]
fn every_crate_of_ours_has_its_layer() {
    for name in edges().keys().filter(|name| name.starts_with("farebox")) {
        assert!(
            layer(name).is_some() || helper(name).is_some(),
            "{name} is in no layer"
        );
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let lints = manifest.split_once("[lints]\n").map(|(_, rest)| rest);
        let takes = lints.is_some_and(|rest| rest.starts_with("workspace = true"));
        assert!(takes, "{} needs [lints] workspace = true", package["name"]);
    }
}

#[test]
fn no_file_tells_more_than_one_story() {
    for path in files("rs").iter().filter(|path| !is_test(path)) {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn modules_are_named_after_their_story() {
    for path in files("rs") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let refused = ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs"];
        assert!(!refused.contains(&name), "{}", path.display());
    }
}

#[test]
fn nothing_is_left_to_do_in_a_comment() {
    let word = ["TO", "DO"].concat();
    for path in files("rs") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&word), "{}", path.display());
    }
}

/// The fuzz targets are a workspace of their own, which no build of this one compiles.
/// A test is named by its file under `crates/farebox/tests/it`, two colons and its function.
#[test]
fn every_test_that_the_threats_name_is_there() {
    let threats = fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let quoted = threats.split('`').skip(1).step_by(2);
    let named: Vec<_> = quoted.filter_map(|name| name.split_once("::")).collect();
    assert!(!named.is_empty());
    for (file, test) in named {
        let source = root().join("crates/farebox/tests/it").join(file);
        let source = fs::read_to_string(&source).unwrap_or_default();
        assert!(
            source.contains(&format!("#[test]\nfn {test}()")),
            "{file} has no test {test}"
        );
    }
}

#[test]
fn every_file_that_a_fuzz_target_takes_from_a_crate_is_there_and_whole() {
    let folder = root().join("fuzz/fuzz_targets");
    let mut taken = 0;
    for target in fs::read_dir(&folder).unwrap() {
        let path = target.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for file in text.split("#[path = \"").skip(1) {
            let file = folder.join(file.split('"').next().unwrap());
            assert!(
                file.is_file(),
                "{} takes {}",
                path.display(),
                file.display()
            );
            taken += 1;
        }
    }
    assert!(
        taken > 0,
        "no target takes a file, and this test nothing to look at"
    );
}
