//! A gateway without a file, in front of a node that flags name.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use farebox_testkit::ScriptedUpstream;

use super::node::Node;
use crate::harness::{Call, Challenge, farebox};

/// Killed when dropped.
struct Quick {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Quick {
    fn start(node: &Node, upstream: &ScriptedUpstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = farebox(["serve", "--upstream", &upstream.url()])
            .args(["--price-msat", "2000", "--lightning", "lnd"])
            .arg("--lnd-url")
            .arg(format!("http://{}", node.address))
            .arg("--lnd-macaroon")
            .arg(node.macaroon())
            .args(["--listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, rest) = line.split_once("farebox: ready gateway=http://")?;
            rest.split(' ').next()?.parse().ok()
        });
        Self {
            child,
            address: ready.expect("it gets ready"),
            _folder: folder,
        }
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn four_flags_about_a_node_are_enough_to_be_paid() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let quick = Quick::start(&node, &upstream);
    let call = Call::get("/anything");
    let challenge = Challenge::of(&call.send(quick.address).expect(402));
    let preimage = node.pay(&challenge.invoice, 0);
    let token = challenge.paid_with(preimage);
    call.with(&token).send(quick.address).expect(200);
}

#[test]
fn flags_that_say_too_little_or_too_much_exit_with_2_and_a_reason() {
    let node = Node::start();
    let macaroon = node.macaroon();
    let macaroon = macaroon.to_str().unwrap();
    let upstream = ["--upstream", "http://127.0.0.1:9", "--price-msat", "2000"];
    let lnd = ["--lightning", "lnd", "--lnd-url"];
    for (arguments, reason) in [
        (vec!["http://127.0.0.1:1"], "lightning.macaroon: is missing"),
        (
            vec!["http://10.0.0.5:8080", "--lnd-macaroon", macaroon],
            "lightning.url: plain http to 10.0.0.5",
        ),
        (
            vec!["http://127.0.0.1:1", "--lnd-macaroon", "/nowhere/m"],
            "lightning.macaroon: the file /nowhere/m cannot be read",
        ),
        (
            vec![
                "http://127.0.0.1:1",
                "--lightning-address",
                "me@example.com",
            ],
            "cannot be used with",
        ),
    ] {
        let output = farebox(["serve"])
            .args(upstream)
            .args(lnd)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{reason} in\n{said}");
    }
    let output = farebox(["serve"])
        .args(lnd)
        .arg("http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--lightning needs --upstream"), "{said}");
}
