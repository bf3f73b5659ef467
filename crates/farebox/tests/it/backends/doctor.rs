//! `farebox doctor` about a node: who it is, what its credential allows, whether it really makes an
//! invoice, and what to do when it does not.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::node::{INVOICES, Node};
use crate::harness::farebox;

fn examine(folder: &Path, lightning: &str, arguments: &[&str]) -> Output {
    let file = folder.join("farebox.toml");
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
         [store]\nurl = \"sqlite://{}\"\n[lightning]\n{lightning}\n\
         [[route]]\nname = \"a\"\npath = \"/\"\nupstream = \"http://127.0.0.1:9\"\n\
         price = {{ msat = 2000 }}\n",
        folder.join("farebox.db").display()
    );
    std::fs::write(&file, toml).unwrap();
    let mut command = farebox(["doctor", "-c"]);
    command.arg(file).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn line_with<'a>(said: &'a str, part: &str) -> &'a str {
    let line = said.lines().find(|line| line.contains(part));
    line.unwrap_or_else(|| panic!("{part} in\n{said}"))
}

#[test]
fn a_node_that_is_well_is_introduced_and_makes_an_invoice() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    let output = examine(folder.path(), &node.toml(), &[]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(line_with(&said, "alice").starts_with("ok "), "{said}");
    assert!(
        line_with(&said, "made an invoice").starts_with("ok "),
        "{said}"
    );
    assert!(
        line_with(&said, "refunds").contains("no backend can pay"),
        "{said}"
    );
}

#[test]
fn a_missing_permission_is_wrong_and_a_needless_one_a_warning() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    let all: &[(&str, &[&str])] = &[
        ("invoices", &["read", "write"]),
        ("onchain", &["read", "write"]),
        ("macaroon", &["generate"]),
    ];
    let output = examine(folder.path(), &node.toml_with(all), &[]);
    let text = said(&output);
    assert!(output.status.success(), "a warning is no failure: {text}");
    let warning = line_with(&text, "more permissions than needed");
    assert!(warning.starts_with("warn "), "{text}");
    assert!(
        warning.contains("onchain:write") && warning.contains("macaroon:generate"),
        "{text}"
    );

    let reading: &[(&str, &[&str])] = &[("invoices", &["read"])];
    let output = examine(folder.path(), &node.toml_with(reading), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let missing = findings.as_array().unwrap().iter().find(|finding| {
        let detail = finding["detail"].as_str().unwrap();
        detail.contains("missing permission: invoices:write")
    });
    let missing = missing.unwrap_or_else(|| panic!("{findings:#}"));
    assert_eq!(
        (&missing["mark"], &missing["ok"]),
        (&"wrong".into(), &false.into())
    );
}

#[test]
fn a_node_that_does_not_answer_is_wrong_and_says_what_to_look_at() {
    let (node, folder) = (Node::start(), tempfile::tempdir().unwrap());
    node.be_away(true);
    let output = examine(folder.path(), &node.toml(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(line_with(&said(&output), "lightning lnd").starts_with("WRONG"));

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = node
        .toml_with(INVOICES)
        .replace(&node.address.to_string(), &port.to_string());
    let output = examine(folder.path(), &nobody, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        line_with(&said, "lightning lnd").contains("is it running"),
        "{said}"
    );
}

#[test]
fn a_clock_that_goes_wrong_is_wrong() {
    let (node, folder) = (Node::with_clock_ahead(600), tempfile::tempdir().unwrap());
    let output = examine(folder.path(), &node.toml(), &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(line_with(&said, "differ by").starts_with("WRONG"), "{said}");
}
