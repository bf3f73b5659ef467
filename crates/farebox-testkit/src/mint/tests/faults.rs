use serde_json::json;

use super::super::*;
use super::client::{
    Heard, call, get, hear, json_of, mint, outputs, post, send, signatures, states, states_body,
    swap, swap_body,
};

struct Shop {
    mint: TestMint,
    coins: Vec<Proof>,
    body: Value,
}

/// A swap of 7 that is ready to be sent.
fn shop() -> Shop {
    let mint = mint(0);
    let coins = mint.make(&Coins::of("msat", &[1, 2, 4]));
    let body = swap_body(&coins, outputs(coins[0].keyset_id, 7).blinded_messages());
    Shop { mint, coins, body }
}

impl Shop {
    fn spoil(&self, fault: Fault) -> Heard {
        self.mint.fault(Endpoint::Swap, fault, 1);
        call(&self.mint, "POST", "/v1/swap", &self.body)
    }

    fn state(&self) -> String {
        let states = states(&self.mint, &self.coins);
        assert!(states.iter().all(|state| *state == states[0]));
        states[0].clone()
    }

    fn restored(&self) -> usize {
        let asked = json!({"outputs": self.body["outputs"]});
        let restored = post(&self.mint, "/v1/restore", &asked).unwrap();
        restored["signatures"].as_array().unwrap().len()
    }
}

#[test]
fn what_is_answered_instead_is_not_done() {
    let replies = [
        (Reply::Cut, None),
        (Reply::Html(503), Some(503)),
        (Reply::Json(500, json!({"code": 50_000})), Some(500)),
        (Reply::Broken, Some(200)),
    ];
    let shop = shop();
    for (reply, status) in replies {
        let heard = shop.spoil(Fault::Instead(reply));
        assert_eq!(heard.map(|it| it.0), status);
        assert_eq!(shop.state(), "UNSPENT");
    }
    assert_eq!(shop.mint.count(Endpoint::Swap), 4);
    assert!(
        post(&shop.mint, "/v1/swap", &shop.body).is_ok(),
        "it is over"
    );
}

#[test]
fn what_is_answered_after_is_done() {
    let replies = [
        (Reply::Cut, None),
        (Reply::Html(502), Some(502)),
        (Reply::Html(200), Some(200)),
        (Reply::Json(500, json!({"code": 50_000})), Some(500)),
    ];
    for (reply, status) in replies {
        let shop = shop();
        let heard = shop.spoil(Fault::After(reply));
        assert_eq!(heard.map(|it| it.0), status);
        assert_eq!((shop.state().as_str(), shop.restored()), ("SPENT", 3));
        assert_eq!(post(&shop.mint, "/v1/swap", &shop.body), Err(11_001));
        shop.mint.assert_sound();
    }
}

#[test]
fn a_limit_is_told_in_all_forms() {
    let shop = shop();
    for (retry_after, is_html) in [
        (Some(3), false),
        (None, false),
        (Some(3), true),
        (None, true),
    ] {
        let limited = Reply::Limited {
            retry_after,
            is_html,
        };
        shop.mint.fault(Endpoint::Swap, Fault::Instead(limited), 1);
        let heard = hear(send(&shop.mint, "POST", "/v1/swap", &shop.body.to_string()));
        assert!(heard.starts_with("HTTP/1.1 429"), "{heard}");
        let lower = heard.to_ascii_lowercase();
        assert_eq!(lower.contains("retry-after: 3\r\n"), retry_after.is_some());
        assert_eq!(lower.contains("text/html"), is_html);
    }
    assert_eq!(shop.state(), "UNSPENT");
}

#[test]
fn what_hangs_is_done_when_it_is_released() {
    let shop = shop();
    shop.mint.fault(Endpoint::Swap, Fault::Hang, 1);
    let waiting = send(&shop.mint, "POST", "/v1/swap", &shop.body.to_string());
    shop.mint.wait_for(Endpoint::Swap, 1);
    assert_eq!(shop.state(), "UNSPENT");
    shop.mint.release();
    assert!(hear(waiting).starts_with("HTTP/1.1 200"));
    assert_eq!(shop.state(), "SPENT");
}

#[test]
fn what_hangs_is_not_done_when_the_client_has_gone() {
    let shop = shop();
    shop.mint.fault(Endpoint::Swap, Fault::Hang, 1);
    let waiting = send(&shop.mint, "POST", "/v1/swap", &shop.body.to_string());
    shop.mint.wait_for(Endpoint::Swap, 1);
    drop(waiting);
    // The mint hears of the end before it hears of this.
    assert_eq!(shop.state(), "UNSPENT");
    shop.mint.release();
    assert_eq!(shop.state(), "UNSPENT");
    assert_eq!(shop.restored(), 0);
}

#[test]
fn what_is_delayed_is_done_although_the_client_has_gone() {
    let shop = shop();
    shop.mint.fault(Endpoint::Swap, Fault::Delay, 1);
    let waiting = send(&shop.mint, "POST", "/v1/swap", &shop.body.to_string());
    shop.mint.wait_for(Endpoint::Swap, 1);
    drop(waiting);
    assert_eq!(shop.state(), "UNSPENT");
    shop.mint.release();
    // The same thread does it before it attends to the next request but one.
    while shop.state() != "SPENT" {}
    assert_eq!(shop.restored(), 3);
}

#[test]
fn what_was_held_by_a_mint_that_is_killed_is_never_done() {
    let mut shop = shop();
    shop.mint.fault(Endpoint::Swap, Fault::Delay, 1);
    let waiting = send(&shop.mint, "POST", "/v1/swap", &shop.body.to_string());
    shop.mint.wait_for(Endpoint::Swap, 1);
    shop.mint.stop();
    shop.mint.release();
    assert_eq!(hear(waiting), "");
    shop.mint.start_again().unwrap();
    assert_eq!(shop.state(), "UNSPENT");
}

#[test]
fn keysets_change_between_question_and_answer() {
    let shop = shop();
    let rotate = Fault::Rotate {
        fee_ppk: 500,
        hide_old: true,
    };
    assert_eq!(json_of(shop.spoil(rotate)), Err(12_002));
    assert_eq!(shop.state(), "UNSPENT");
    let told = get(&shop.mint, "/v1/keysets").unwrap();
    let told = told["keysets"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|it| it["input_fee_ppk"] == 500));
    shop.mint.unhide();
    let told = get(&shop.mint, "/v1/keysets").unwrap();
    assert_eq!(told["keysets"].as_array().unwrap().len(), 4);
    let new = shop.mint.make(&Coins::worth("msat", 1))[0].keyset_id;
    assert!(swap(&shop.mint, &shop.coins, (new, 7)).is_ok(), "old fees");
}

#[test]
fn signatures_are_wrong_in_each_way() {
    let twisted = |twist| {
        let shop = shop();
        let answer = json_of(shop.spoil(Fault::Twist(twist))).unwrap();
        let asked = json!({"outputs": shop.body["outputs"]});
        let right = post(&shop.mint, "/v1/restore", &asked).unwrap();
        (answer["signatures"].clone(), right["signatures"].clone())
    };
    let (told, right) = twisted(Twist::TooFew);
    assert_eq!(told.as_array().unwrap()[..], right.as_array().unwrap()[..2]);
    let (told, right) = twisted(Twist::TooMany);
    assert_eq!(told.as_array().unwrap()[..3], right.as_array().unwrap()[..]);
    let (told, right) = twisted(Twist::OtherAmount);
    assert_eq!(
        told[0]["amount"].as_u64(),
        right[0]["amount"].as_u64().map(|it| 2 * it)
    );
    let (told, right) = twisted(Twist::OtherKeyset);
    assert_ne!(told[0]["id"], right[0]["id"]);
    let (told, right) = twisted(Twist::Reordered);
    assert_eq!((&told[0], &told[2]), (&right[2], &right[0]));
    let (told, right) = twisted(Twist::WrongSignature);
    assert_ne!(told[0]["C_"], right[0]["C_"]);
    assert_eq!(told[0]["dleq"], right[0]["dleq"]);
    let (told, _) = twisted(Twist::WrongSignatureNoDleq);
    assert!(told[0].get("dleq").is_none() && told[1].get("dleq").is_some());
    let (told, right) = twisted(Twist::WrongDleq);
    assert_eq!(told[0]["C_"], right[0]["C_"]);
    assert_ne!(told[0]["dleq"], right[0]["dleq"]);
    signatures(&told);
    let (told, _) = twisted(Twist::NoDleq);
    assert!(
        told.as_array()
            .unwrap()
            .iter()
            .all(|it| it.get("dleq").is_none())
    );
    let (told, right) = twisted(Twist::DecimalStrings);
    assert_eq!(told[0]["amount"], right[0]["amount"].to_string());
}

#[test]
fn states_are_wrong_in_each_way() {
    let shop = shop();
    let twisted = |twist| {
        shop.mint
            .fault(Endpoint::CheckState, Fault::Twist(twist), 1);
        let told = post(&shop.mint, "/v1/checkstate", &states_body(&shop.coins)).unwrap();
        told["states"].as_array().unwrap().clone()
    };
    let right = {
        let told = post(&shop.mint, "/v1/checkstate", &states_body(&shop.coins)).unwrap();
        told["states"].as_array().unwrap().clone()
    };
    assert_eq!(twisted(Twist::TooFew), right[..2]);
    assert_eq!(twisted(Twist::Empty), [json!(null); 0]);
    let reordered: Vec<_> = right.iter().rev().cloned().collect();
    assert_eq!(twisted(Twist::Reordered), reordered);
    assert!(
        twisted(Twist::SaysPending)
            .iter()
            .all(|it| it["state"] == "PENDING")
    );
    let capitals = twisted(Twist::Capitals);
    let y = right[0]["Y"].as_str().unwrap().to_uppercase();
    assert_eq!(capitals[0]["Y"], y);
    post(&shop.mint, "/v1/swap", &shop.body).unwrap();
    assert!(
        twisted(Twist::SaysUnspent)
            .iter()
            .all(|it| it["state"] == "UNSPENT")
    );
    assert_eq!(shop.state(), "SPENT", "that was a lie");
}

#[test]
fn faults_come_in_order_as_often_as_was_said_until_they_are_cleared() {
    let mint = mint(0);
    let status = |code| Fault::Instead(Reply::Json(code, json!({})));
    mint.fault(Endpoint::Info, status(501), 2);
    mint.fault(Endpoint::Info, status(404), ALWAYS);
    let heard = || call(&mint, "GET", "/v1/info", &Value::Null).unwrap().0;
    assert_eq!([heard(), heard(), heard(), heard()], [501, 501, 404, 404]);
    assert!(get(&mint, "/v1/keysets").is_ok(), "only there");
    mint.clear_faults();
    assert_eq!(heard(), 200);
    for info in odd_infos() {
        let odd = Fault::Instead(Reply::Json(200, info.clone()));
        mint.fault(Endpoint::Info, odd, 1);
        assert_eq!(get(&mint, "/v1/info"), Ok(info));
    }
}
