//! What the operator is told of mints before anything is sold, and the client of what they take.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{MintOptions, TestMint};

use super::faults::{paid, shop};
use crate::harness::{Call, TestGateway};
use crate::rules::eventually;

fn said(gateway: &TestGateway, command: &[&str]) -> (bool, String) {
    let output = gateway.command(command);
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn the_operator_is_told_what_is_sold_for_ecash_and_what_each_mint_can() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut mint = TestMint::start(MintOptions::with_fee(100)).unwrap();
    let mut gateway = shop(&[&mint], paid(&upstream));
    gateway.stop();
    let (is_well, told) = said(&gateway, &["config", "check"]);
    assert!(
        is_well && told.contains("lightning: none; sold for ecash alone"),
        "{told}"
    );
    let line = format!("ecash: {} in msat and sat, at most ", mint.url());
    assert!(told.contains(&line), "{told}");
    let (is_well, told) = said(&gateway, &["doctor"]);
    assert!(is_well, "{told}");
    for unit in ["msat", "sat"] {
        let fee = format!("100 {unit} for spending a thousand coins");
        assert!(told.contains(&fee), "{told}");
    }
    mint.stop();
    let (is_well, told) = said(&gateway, &["doctor"]);
    assert!(
        !is_well && told.contains(&format!("mint {}", mint.url())),
        "{told}"
    );
    let poor = MintOptions {
        lacks: vec![9],
        ..MintOptions::default()
    };
    let poor = TestMint::start(poor).unwrap();
    let mut gateway = shop(&[&poor], paid(&upstream));
    gateway.stop();
    let (is_well, told) = said(&gateway, &["doctor"]);
    assert!(!is_well && told.contains("lacks NUT-09"), "{told}");
}

#[test]
fn what_a_mint_takes_is_told_beside_the_price() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mint = TestMint::start(MintOptions::with_fee(1000)).unwrap();
    let gateway = shop(&[&mint], paid(&upstream));
    let ask = || gateway.send(&Call::get("/paid/a")).json()["ecash"][0].clone();
    let asked = eventually(ask, |asked| asked["fee"].is_u64());
    let (amount, fee) = (
        asked["amount"].as_u64().unwrap(),
        asked["fee"].as_u64().unwrap(),
    );
    let token = mint.token("msat", amount + fee);
    let call = super::with_token(&Call::get("/paid/a"), &token);
    gateway.send(&call).expect(200);
}
