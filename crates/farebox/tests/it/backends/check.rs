//! `farebox config check` and `show` about backends: what they can do, in words, and never a
//! secret.

use std::path::Path;
use std::process::Output;

use super::node::Node;
use crate::harness::farebox;

fn run(folder: &Path, lightning: &str, price: u64, command: &[&str]) -> Output {
    let file = folder.join("farebox.toml");
    let toml = format!(
        "[lightning]\n{lightning}\n[[route]]\nname = \"a\"\npath = \"/\"\n\
         upstream = \"http://127.0.0.1:9\"\nprice = {{ msat = {price} }}\n"
    );
    std::fs::write(&file, toml).unwrap();
    let mut line = farebox(["config"]);
    let line = line.arg(command[0]).arg("-c").arg(file);
    line.args(&command[1..]).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_check_says_what_the_node_can_do_and_what_a_cheap_route_sells() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    let said = said(&run(folder.path(), &node.toml(), 200, &["check"]));
    for part in [
        "no mistakes, routes: 1",
        "\"lnd\" (lnd) can make invoices, look them up, tell of settlements; it cannot pay, hold",
        "refunds: impossible over Lightning: no backend can pay",
        "a balance of 1000 msat, good for 5 calls at 200 msat",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}

#[test]
fn a_check_in_json_says_the_same() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    let text = said(&run(
        folder.path(),
        &node.toml(),
        2_000,
        &["check", "--json"],
    ));
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let means = answer["means"].as_array().unwrap();
    assert!(
        means
            .iter()
            .any(|line| line.as_str().unwrap().starts_with("lightning: "))
    );
}

#[test]
fn a_credential_is_shown_as_its_place_or_its_fingerprint() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    let written = said(&run(folder.path(), &node.toml(), 2_000, &["show"]));
    assert!(written.contains("test.macaroon"), "{written}");
    let resolved = said(&run(
        folder.path(),
        &node.toml(),
        2_000,
        &["show", "--resolved"],
    ));
    assert!(
        resolved.contains("macaroon = \"(secret, sha256 "),
        "{resolved}"
    );
}
