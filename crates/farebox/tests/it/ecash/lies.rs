//! A mint whose answers do not fit what it was asked: they are no money and buy no service, and what it
//! really signed is not lost.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{ALWAYS, Endpoint, Fault, Reply as MintReply, Twist};
use serde_json::json;

use super::faults::{mint, paid, parts, pick_up, send, shop};
use super::till::stock;
use super::{change, with_token};
use crate::harness::{Call, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;
const SENT: u64 = 4_000;

fn call(token: &str) -> Call {
    with_token(&Call::get("/paid/a"), token)
}

/// What does not fit, however it is told.
const MISFITS: [Twist; 8] = [
    Twist::WrongSignature,
    Twist::WrongSignatureNoDleq,
    Twist::WrongDleq,
    Twist::TooFew,
    Twist::TooMany,
    Twist::OtherAmount,
    Twist::OtherKeyset,
    Twist::Empty,
];

#[test]
fn an_answer_that_does_not_fit_is_asked_for_once_more_and_the_call_is_served() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let harmless = [Twist::Reordered, Twist::NoDleq, Twist::DecimalStrings];
    for twist in MISFITS.into_iter().chain(harmless) {
        let token = mint.token("msat", SENT);
        mint.fault(Endpoint::Swap, Fault::Twist(twist), 1);
        let reply = gateway.send(&call(&token));
        assert_eq!(reply.status, 200, "{twist:?}: {reply:?}");
        assert_eq!(
            mint.redeem(&change(&reply)).unwrap(),
            SENT - PRICE,
            "{twist:?}"
        );
    }
    mint.assert_sound();
}

#[test]
fn a_mint_that_goes_on_lying_sells_nothing_and_the_token_pays_when_it_says_the_truth() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let mut gateway = shop(&[&mint], paid(&upstream));
    gateway.expect_alarms();
    for twist in [
        Twist::WrongSignature,
        Twist::WrongSignatureNoDleq,
        Twist::WrongDleq,
        Twist::OtherAmount,
        Twist::OtherKeyset,
    ] {
        let token = mint.token("msat", SENT);
        let served = upstream.total();
        for endpoint in [Endpoint::Swap, Endpoint::Restore] {
            mint.fault(endpoint, Fault::Twist(twist), ALWAYS);
        }
        let lied_to = gateway.send(&call(&token));
        assert_eq!(lied_to.status, 503, "{twist:?}: {lied_to:?}");
        assert_eq!(lied_to.find("x-cashu"), None);
        assert_eq!(upstream.total(), served, "{twist:?}");
        mint.clear_faults();
        let told = change(&send(&gateway, &call(&token)).expect(200));
        assert_eq!(mint.redeem(&told).unwrap(), SENT - PRICE, "{twist:?}");
    }
    assert_eq!(gateway.trial_balance()["sum_msat"], 0);
    mint.assert_sound();
}

#[test]
fn what_a_mint_says_with_a_code_of_its_own_decides_nothing() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let coded = |code: u32| MintReply::Json(400, json!({ "code": code, "detail": "x" }));
    let replies = [10_002, 11_003, 11_007, 11_008].map(coded);
    let unread = json!({ "detail": [{ "loc": ["body", "amount"], "msg": "x", "type": "y" }] });
    let others = [
        MintReply::Json(422, unread),
        MintReply::Html(200),
        MintReply::Html(502),
        MintReply::Limited {
            retry_after: Some(0),
            is_html: true,
        },
    ];
    for reply in replies.into_iter().chain(others) {
        for fault in [Fault::Instead(reply.clone()), Fault::After(reply.clone())] {
            let token = mint.token("msat", SENT);
            mint.fault(Endpoint::Swap, fault.clone(), 1);
            let told = change(&send(&gateway, &call(&token)).expect(200));
            assert_eq!(mint.redeem(&told).unwrap(), SENT - PRICE, "{fault:?}");
        }
    }
    mint.assert_sound();
}

fn withdrawn(gateway: &TestGateway, url: &str) -> Option<String> {
    let command = [
        "admin", "ecash", "withdraw", "--mint", url, "--unit", "msat",
    ];
    let output = gateway.command(&command);
    let text = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    output.status.success().then_some(text)
}

#[test]
fn coins_of_a_keyset_that_is_listed_no_more_stay_and_are_told_and_taken_out_when_it_is_back() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let mut gateway = shop(&[&mint], paid(&upstream));
    let tokens = [mint.token("msat", SENT), mint.token("msat", SENT)];
    let told = change(&gateway.send(&call(&tokens[0])).expect(200));
    let failed = with_token(&Call::get("/paid/status/500"), &tokens[1]);
    gateway.send(&failed).expect(500);
    mint.rotate(0, true);
    gateway.restart();
    for (token, back) in [(&tokens[0], SENT - PRICE), (&tokens[1], SENT)] {
        parts(&gateway, token, back, &mint);
    }
    assert_eq!(pick_up(&gateway, &tokens[0]).json()["change"][0], told);
    // Others are sold to meanwhile.
    let fresh = mint.token("msat", SENT);
    gateway.send(&call(&fresh)).expect(200);
    assert_eq!(withdrawn(&gateway, &mint.url()), None);
    mint.unhide();
    gateway.restart();
    stock(&gateway, 2 * PRICE);
    let out = eventually(|| withdrawn(&gateway, &mint.url()), Option::is_some).unwrap();
    assert_eq!(mint.redeem(&out).unwrap(), 2 * PRICE);
    assert_eq!(gateway.trial_balance()["sum_msat"], 0);
    mint.assert_sound();
}
