use cashu::nuts::nut10::{Conditions, SpendingConditions};
use cashu::nuts::{Id, SecretKey};
use serde_json::json;

use super::super::*;
use super::client::{
    call, get, hear, json_of, mint, outputs, post, proofs, send, signatures, states, swap,
    swap_body, worth,
};

fn active(mint: &TestMint, unit: &str) -> Id {
    mint.make(&Coins::worth(unit, 1))[0].keyset_id
}

#[test]
fn a_swap_of_coins_of_several_keysets_costs_the_sum_of_their_fees_rounded_up_once() {
    let mint = mint(100);
    let old = mint.make(&Coins::of("msat", &[64]));
    mint.rotate(1_000, false);
    let new = mint.make(&Coins::of("msat", &[8, 8]));
    let id = new[0].keyset_id;
    let all: Vec<_> = old.into_iter().chain(new).collect();
    for wrong in [80 - 2, 80 - 4, 80] {
        assert_eq!(swap(&mint, &all, (id, wrong)), Err(11_005));
    }
    // 100 and twice 1,000 for a thousand: 2.1, and so 3.
    let got = swap(&mint, &all, (id, 80 - 3)).unwrap();
    assert_eq!(worth(&got), 77);
    assert_eq!(mint.fees("msat"), 3);
    assert_eq!((mint.issued("msat"), mint.redeemed("msat")), (157, 80));
    assert_eq!(mint.outstanding("msat"), 77);
    assert_eq!(mint.redeem(&mint.wrap(got)), Ok(77));
    assert_eq!((mint.outstanding("msat"), mint.paid_out("msat")), (0, 77));
    assert_eq!(mint.issued("sat"), 0);
    mint.assert_sound();
}

#[test]
fn a_coin_is_spent_once_and_an_output_signed_once() {
    let mint = mint(0);
    let coins = mint.make(&Coins::of("msat", &[4, 4, 8]));
    let id = coins[0].keyset_id;
    let premint = outputs(id, 8);
    let body = swap_body(&coins[..2], premint.blinded_messages());
    post(&mint, "/v1/swap", &body).unwrap();
    assert_eq!(states(&mint, &coins), ["SPENT", "SPENT", "UNSPENT"]);
    assert_eq!(post(&mint, "/v1/swap", &body), Err(11_001));
    assert_eq!(swap(&mint, &coins[1..], (id, 12)), Err(11_001));
    let same = swap_body(&coins[2..], premint.blinded_messages());
    assert_eq!(post(&mint, "/v1/swap", &same), Err(11_003));
    let twice = [coins[2].clone(), coins[2].clone()];
    assert_eq!(swap(&mint, &twice, (id, 16)), Err(11_007));
    let output = outputs(id, 4).blinded_messages();
    let outputs_twice = swap_body(&coins[2..], [output.clone(), output].concat());
    assert_eq!(post(&mint, "/v1/swap", &outputs_twice), Err(11_008));
    assert_eq!(states(&mint, &coins[2..]), ["UNSPENT"]);
    mint.assert_sound();
}

#[test]
fn restore_gives_the_same_signatures_and_leaves_out_what_was_never_signed() {
    let mint = mint(0);
    let coins = mint.make(&Coins::worth("sat", 13));
    let id = coins[0].keyset_id;
    let premint = outputs(id, 13);
    let body = swap_body(&coins, premint.blinded_messages());
    let signed = post(&mint, "/v1/swap", &body).unwrap();
    let mut asked = outputs(id, 1).blinded_messages();
    asked.extend(premint.blinded_messages());
    for output in &mut asked {
        output.amount = 0.into();
    }
    let restored = post(&mint, "/v1/restore", &json!({ "outputs": asked })).unwrap();
    assert_eq!(restored["signatures"], signed["signatures"]);
    assert_eq!(restored["outputs"], json!(asked[1..]));
    let got = proofs(&mint, id, &premint, &restored["signatures"]);
    assert_eq!(mint.value_of(&mint.wrap(got)), Ok(13));
}

#[test]
fn keysets_of_all_kinds_are_told() {
    let mint = mint(0);
    let first = mint.add_keyset(&KeysetOptions {
        version: IdVersion::First,
        fee_ppk: 7,
        is_active: false,
        final_expiry: Some(4_000_000_000),
        ..KeysetOptions::new("sat")
    });
    let huge = mint.add_keyset(&KeysetOptions {
        top_bit: 63,
        ..KeysetOptions::new("usd")
    });
    let wrong = mint.add_keyset(&KeysetOptions {
        version: IdVersion::Wrong,
        ..KeysetOptions::new("sat")
    });
    let list = get(&mint, "/v1/keysets").unwrap();
    assert_eq!(list["keysets"].as_array().unwrap().len(), 5);
    let told = |id: Id| get(&mint, &format!("/v1/keys/{id}")).unwrap()["keysets"][0].clone();
    assert_eq!(
        told(first)["id"].as_str().unwrap().len(),
        16,
        "eight bytes in hex"
    );
    assert_eq!(told(first)["final_expiry"], 4_000_000_000_u64);
    assert_eq!(told(first)["input_fee_ppk"], 7);
    assert!(told(huge)["keys"]["9223372036854775808"].is_string());
    let lying: cashu::nuts::KeySet = serde_json::from_value(told(wrong)).unwrap();
    assert!(lying.verify_id().is_err());
    let active = get(&mint, "/v1/keys").unwrap();
    assert_eq!(active["keysets"].as_array().unwrap().len(), 4);
    let unknown = get(&mint, "/v1/keys/00ffffffffffffff");
    assert_eq!(unknown, Err(12_001));
}

#[test]
fn keysets_that_are_unknown_inactive_or_expired_are_refused_by_their_codes() {
    let mint = mint(0);
    let coins = mint.make(&Coins::of("msat", &[1, 2, 4]));
    let id = coins[0].keyset_id;
    let unknown = Id::from_str("00ffffffffffffff").unwrap();
    assert_eq!(swap(&mint, &coins, (unknown, 7)), Err(12_001));
    assert_eq!(swap(&mint, &coins, (active(&mint, "sat"), 7)), Err(11_010));
    mint.rotate(0, true);
    assert_eq!(swap(&mint, &coins, (id, 7)), Err(12_002));
    assert_eq!(get(&mint, &format!("/v1/keys/{id}")), Err(12_001), "hidden");
    assert!(swap(&mint, &coins, (active(&mint, "msat"), 7)).is_ok());
    let expired = mint.add_keyset(&KeysetOptions {
        final_expiry: Some(1_000_000_000),
        ..KeysetOptions::new("eur")
    });
    let coins = mint.make(&Coins::worth("eur", 1));
    assert_eq!(swap(&mint, &coins, (expired, 1)), Err(12_003));
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let mint = mint(0);
    let mut coins = mint.make(&Coins::worth("msat", 4));
    let id = coins[0].keyset_id;
    coins[0].amount = 8.into();
    assert_eq!(swap(&mint, &coins, (id, 8)), Err(10_001));
    let both = [
        mint.make(&Coins::worth("sat", 1)),
        mint.make(&Coins::worth("msat", 1)),
    ];
    assert_eq!(swap(&mint, &both.concat(), (id, 2)), Err(11_009));
    let many = mint.make(&Coins::of("msat", &[1; MAX_COINS + 1]));
    assert_eq!(swap(&mint, &many, (id, 1_001)), Err(11_014));
    let much = outputs(id, 1);
    let outputs = vec![much.blinded_messages()[0].clone(); MAX_COINS + 1];
    let body = swap_body(&many[..1], outputs);
    assert_eq!(post(&mint, "/v1/swap", &body), Err(11_015));
    assert_eq!(post(&mint, "/v1/swap", &json!({"inputs": 1})), Err(11_000));
}

#[test]
fn locked_coins_need_their_key() {
    let mint = mint(0);
    let key = SecretKey::generate();
    let lock = SpendingConditions::new_p2pk(key.public_key(), Some(Conditions::default()));
    let coins = mint.make(&Coins::of("msat", &[1, 2]).locked(lock));
    let id = coins[0].keyset_id;
    assert_eq!(swap(&mint, &coins, (id, 3)), Err(10_001));
    let sign = |key: &SecretKey| {
        let mut coins = coins.clone();
        for coin in &mut coins {
            coin.sign_p2pk(key.clone()).unwrap();
        }
        coins
    };
    assert!(swap(&mint, &sign(&key), (id, 3)).is_ok());
    let preimage = "11".repeat(32);
    let lock = SpendingConditions::new_htlc(preimage.clone(), None).unwrap();
    let mut coins = mint.make(&Coins::of("msat", &[4]).locked(lock));
    assert_eq!(swap(&mint, &coins, (id, 4)), Err(10_001));
    coins[0].add_preimage(preimage);
    assert!(swap(&mint, &coins, (id, 4)).is_ok());
    mint.assert_sound();
}

#[test]
fn tokens_have_the_form_that_is_asked_for() {
    let mint = mint(0);
    let token = mint.token("msat", 1_234);
    assert!(token.starts_with("cashuB"));
    assert_eq!(mint.value_of(&token), Ok(1_234));
    assert_eq!(mint.redeem(&token), Ok(1_234));
    assert_eq!(mint.redeem(&token).map_err(|it| it.code), Err(11_001));
    let coins = mint.make(&Coins::of("sat", &[2, 2]).without_dleq());
    assert!(coins.iter().all(|coin| coin.dleq.is_none()));
    let older = mint.wrap_a(coins);
    assert!(older.starts_with("cashuA"));
    assert_eq!(mint.redeem(&older), Ok(4));
    let old = mint.keysets()[0];
    mint.rotate(0, false);
    let coins = mint.make(&Coins::worth("msat", 3).keyset(old));
    assert!(coins.iter().all(|coin| coin.keyset_id == old));
    for coin in &coins {
        let key = super::client::keys(&mint, old).amount_key(coin.amount);
        coin.verify_dleq(key.unwrap()).unwrap();
    }
    assert_eq!(mint.received("msat"), 1_237);
    mint.assert_sound();
}

#[test]
fn a_mint_may_lack_the_way_to_restore() {
    let mint = TestMint::start(MintOptions {
        lacks: vec![9],
        ..MintOptions::default()
    })
    .unwrap();
    let info = get(&mint, "/v1/info").unwrap();
    assert!(info["nuts"].get("9").is_none() && info["nuts"].get("7").is_some());
    let asked = json!({"outputs": []});
    let heard = call(&mint, "POST", "/v1/restore", &asked);
    assert_eq!(heard.unwrap().0, 404);
}

#[test]
fn a_mint_that_is_started_again_has_its_port_and_its_books() {
    let mut mint = mint(0);
    let token = mint.token("msat", 8);
    let url = mint.url();
    mint.stop();
    assert!(std::net::TcpStream::connect(mint.address).is_err());
    mint.start_again().unwrap();
    assert_eq!(mint.url(), url);
    assert_eq!(mint.value_of(&token), Ok(8));
    assert!(get(&mint, "/v1/info").unwrap()["nuts"]["12"]["supported"] == true);
}

#[test]
fn requests_are_counted_and_kept_and_a_dleq_among_them_shows() {
    let mint = mint(0);
    let coins = mint.make(&Coins::worth("msat", 1));
    let id = coins[0].keyset_id;
    let mut body = swap_body(&coins, outputs(id, 1).blinded_messages());
    assert!(signatures(&post(&mint, "/v1/swap", &body).unwrap()["signatures"]).len() == 1);
    assert_eq!((mint.count(Endpoint::Swap), mint.dleqs_received()), (1, 0));
    assert_eq!(mint.bodies(Endpoint::Swap), [body.clone()]);
    body["inputs"][0]["dleq"] = json!({"e": "00"});
    assert_eq!(post(&mint, "/v1/swap", &body), Err(11_000));
    assert_eq!((mint.count(Endpoint::Swap), mint.dleqs_received()), (2, 1));
    let unknown = call(&mint, "GET", "/v1/nothing", &Value::Null);
    assert_eq!(json_of(unknown), Err(0));
    assert!(hear(send(&mint, "OPTIONS", "/v1/swap", "")).starts_with("HTTP/1.1 204"));
}
