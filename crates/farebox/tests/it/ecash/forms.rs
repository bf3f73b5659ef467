//! The same coins as people and wallets write them: one payment in every form, and what is no payment costs
//! its mint no call.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::cashu::nuts::nut10::SpendingConditions;
use farebox_testkit::mint::cashu::nuts::{Proof, SecretKey};
use farebox_testkit::mint::{Coins, Endpoint, IdVersion, KeysetOptions, MintOptions, TestMint};
use serde_json::{Value, json};

use super::faults::{mint, paid, pick_up, shop};
use super::refused::reason;
use super::{change, with_token};
use crate::harness::{Call, TestGateway};

const PRICE: u64 = 1_500;
const SENT: u64 = 4_000;

/// The token of the older form, with its JSON changed.
fn edited(token: &str, edit: impl Fn(&mut Value)) -> String {
    let text = token.strip_prefix("cashuA").unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap();
    let mut json = serde_json::from_slice(&bytes).unwrap();
    edit(&mut json);
    format!("cashuA{}", URL_SAFE_NO_PAD.encode(json.to_string()))
}

/// These coins in every form that means them.
fn forms(mint: &TestMint, proofs: &[Proof]) -> Vec<String> {
    let newer = mint.wrap(proofs.to_vec());
    let newer = newer.trim_end_matches('=');
    let older = mint.wrap_a(proofs.to_vec());
    let lines = newer.as_bytes().chunks(76);
    let lines: Vec<_> = lines.map(|it| str::from_utf8(it).unwrap()).collect();
    let mut turned = proofs.to_vec();
    turned.reverse();
    let url = mint.url().replace("http://", "HTTP://") + "//";
    vec![
        newer.to_owned(),
        format!("{newer}="),
        lines.join(" "),
        mint.wrap(turned),
        edited(&older, |json| {
            json["token"][0]["mint"] = url.as_str().into();
        }),
        older,
    ]
}

#[test]
fn coins_are_one_payment_in_whichever_form_they_come_first() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream).line("replay = false"));
    let count = forms(&mint, &mint.make(&Coins::worth("msat", SENT))).len();
    for first in 0..count {
        let mut forms = forms(&mint, &mint.make(&Coins::worth("msat", SENT)));
        forms.rotate_left(first);
        let buy = |token: &str| gateway.send(&with_token(&Call::get("/paid/a"), token));
        let told = change(&buy(&forms[0]).expect(200));
        for form in &forms {
            assert_eq!(change(&buy(form).expect(410)), told, "{form}");
            let fetched = pick_up(&gateway, form).expect(200).json();
            assert_eq!(fetched["change"], json!([told]), "{form}");
        }
        assert_eq!(upstream.total(), first + 1);
        assert_eq!(mint.redeem(&told).unwrap(), SENT - PRICE);
    }
    assert_eq!(mint.count(Endpoint::Swap), count);
    mint.assert_sound();
}

/// Refused for this reason, without a call to the mint; and still worth what it was.
#[track_caller]
fn is_refused_untouched(gateway: &TestGateway, mint: &TestMint, token: &str, why: &str) {
    let swaps = mint.count(Endpoint::Swap);
    let refused = gateway.send(&with_token(&Call::get("/paid/a"), token));
    assert_eq!((refused.status, &*reason(&refused)), (400, why), "{token}");
    assert_eq!(
        refused.find("x-cashu"),
        None,
        "it would be taken for change"
    );
    assert_eq!(mint.count(Endpoint::Swap), swaps, "{token}");
    assert_eq!(
        reason(&pick_up(gateway, token)),
        if why == "malformed" {
            why
        } else {
            "never_paid"
        }
    );
}

#[test]
fn a_coin_that_stands_twice_in_a_token_pays_not_even_once() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let clean = mint.wrap_a(mint.make(&Coins::of("msat", &[1_024])));
    let twice = |again: fn(&mut Value)| {
        edited(&clean, |json| {
            let proofs = json["token"][0]["proofs"].as_array_mut().unwrap();
            let mut second = proofs[0].clone();
            again(&mut second);
            proofs.push(second);
        })
    };
    for token in [
        twice(|_| {}),
        twice(|it| it["C"] = it["C"].as_str().unwrap().to_uppercase().into()),
        twice(|it| it["amount"] = 2_048.into()),
        twice(|it| it["witness"] = "{}".into()),
        edited(&clean, |json| {
            let entries = json["token"].as_array_mut().unwrap();
            entries.push(entries[0].clone());
        }),
    ] {
        is_refused_untouched(&gateway, &mint, &token, "malformed");
    }
    assert_eq!(mint.redeem(&clean).unwrap(), 1_024);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn what_a_wallet_leaves_of_a_proof_of_signature_is_none_and_never_told_to_the_mint() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let odd: [fn(&mut Value); 6] = [
        |dleq| drop(dleq.as_object_mut().unwrap().remove("r")),
        |dleq| dleq["r"] = "".into(),
        |dleq| dleq["r"] = "a".repeat(62).into(),
        |dleq| dleq["e"] = "no hex".into(),
        |dleq| *dleq = Value::Null,
        |_| {},
    ];
    for edit in odd {
        let token = edited(
            &mint.wrap_a(mint.make(&Coins::worth("msat", SENT))),
            |json| {
                let proofs = json["token"][0]["proofs"].as_array_mut().unwrap();
                proofs.iter_mut().for_each(|proof| edit(&mut proof["dleq"]));
            },
        );
        let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
        let told = change(&reply.expect(200));
        assert_eq!(mint.redeem(&told).unwrap(), SENT - PRICE);
    }
    let other = SecretKey::generate().to_secret_hex();
    let forged = edited(
        &mint.wrap_a(mint.make(&Coins::worth("msat", SENT))),
        |json| {
            json["token"][0]["proofs"][0]["dleq"]["e"] = other.as_str().into();
        },
    );
    is_refused_untouched(&gateway, &mint, &forged, "forged");
    assert_eq!(mint.dleqs_received(), 0);
    assert_eq!(upstream.total(), 6);
    mint.assert_sound();
}

#[test]
fn a_token_for_somebody_else_s_key_stays_his_and_an_empty_witness_locks_nothing() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = shop(&[&mint], paid(&upstream));
    let key = SecretKey::generate().public_key();
    for lock in [
        SpendingConditions::new_p2pk(key, None),
        SpendingConditions::new_htlc("ab".repeat(32), None).unwrap(),
    ] {
        let coins = Coins::worth("msat", SENT).locked(lock);
        let token = mint.wrap(mint.make(&coins));
        is_refused_untouched(&gateway, &mint, &token, "locked");
    }
    for witness in [json!(""), json!(null), json!("{}")] {
        let token = edited(
            &mint.wrap_a(mint.make(&Coins::worth("msat", SENT))),
            |json| {
                let proofs = json["token"][0]["proofs"].as_array_mut().unwrap();
                proofs
                    .iter_mut()
                    .for_each(|proof| proof["witness"] = witness.clone());
            },
        );
        let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
        assert_eq!(
            mint.redeem(&change(&reply.expect(200))).unwrap(),
            SENT - PRICE
        );
    }
    assert_eq!(upstream.total(), 3);
}

#[test]
fn coins_of_retired_keysets_pay_their_own_fee_and_one_that_nobody_needs_spoils_none() {
    let keyset = |version, fee_ppk, is_active| KeysetOptions {
        version,
        fee_ppk,
        is_active,
        ..KeysetOptions::new("msat")
    };
    let upstream = ScriptedUpstream::start().unwrap();
    let options = MintOptions {
        keysets: vec![
            keyset(IdVersion::First, 0, false),
            keyset(IdVersion::Second, 0, false),
            keyset(IdVersion::Wrong, 0, false),
            keyset(IdVersion::Second, 100, true),
        ],
        ..MintOptions::default()
    };
    let mint = TestMint::start(options).unwrap();
    let ids = mint.keysets();
    let of = |id: usize, amounts: &[u64]| mint.make(&Coins::of("msat", amounts).keyset(ids[id]));
    let dear = [1_024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1];
    let mixed = [of(0, &[4_096]), of(3, &dear)].concat();
    for (proofs, fee) in [
        (of(0, &[4_096]), 0),
        (of(1, &[4_096]), 0),
        (of(3, &[4_096]), 1),
        // One coin for nothing and eleven at a tenth.
        (mixed, 2),
    ] {
        // Nothing is known of the mint yet.
        let gateway = shop(&[&mint], paid(&upstream));
        let before = mint.fees("msat");
        let token = mint.wrap(proofs);
        let face = mint.value_of(&token).unwrap();
        let reply = gateway.send(&with_token(&Call::get("/paid/a"), &token));
        let back = mint.value_of(&change(&reply.expect(200))).unwrap();
        assert_eq!(
            (back, mint.fees("msat") - before),
            (face - fee - PRICE, fee)
        );
    }
    let gateway = shop(&[&mint], paid(&upstream));
    is_refused_untouched(&gateway, &mint, &mint.wrap(of(2, &[4_096])), "keyset");
    mint.assert_sound();
}
