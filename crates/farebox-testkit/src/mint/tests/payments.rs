use cashu::nuts::{MintRequest, PreMintSecrets, SecretKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::*;
use super::client::{get, outputs, post, proofs, states, swap, worth};

fn options() -> MintOptions {
    MintOptions {
        fee_reserve: 20,
        ..MintOptions::with_fee(100)
    }
}

fn text(json: &Value, field: &str) -> String {
    json[field].as_str().unwrap().to_owned()
}

/// An invoice over so many msat, of another mint.
fn invoice(msat: u64) -> String {
    let other = super::client::mint(0);
    let asked = json!({"amount": msat, "unit": "msat"});
    text(
        &post(&other, "/v1/mint/quote/bolt11", &asked).unwrap(),
        "request",
    )
}

struct Melt {
    mint: TestMint,
    coins: Vec<Proof>,
    blanks: PreMintSecrets,
    quote: String,
}

/// A melt of 100 msat with coins worth 128 and as many blanks.
fn melt(blanks: u64) -> Melt {
    let mint = TestMint::start(options()).unwrap();
    let asked = json!({"request": invoice(100), "unit": "msat"});
    let quote = post(&mint, "/v1/melt/quote/bolt11", &asked).unwrap();
    assert_eq!(
        (&quote["amount"], &quote["fee_reserve"]),
        (&json!(100), &json!(20))
    );
    assert_eq!(quote["state"], "UNPAID");
    let coins = mint.make(&Coins::worth("msat", 128));
    let blanks = PreMintSecrets::blank(coins[0].keyset_id, (1 << blanks).into()).unwrap();
    let quote = text(&quote, "quote");
    Melt {
        mint,
        coins,
        blanks,
        quote,
    }
}

impl Melt {
    fn send(&self) -> Result<Value, u64> {
        let body = json!({
            "quote": self.quote,
            "inputs": self.coins.iter().cloned().map(|mut it| { it.dleq = None; it }).collect::<Vec<_>>(),
            "outputs": self.blanks.blinded_messages(),
        });
        post(&self.mint, "/v1/melt/bolt11", &body)
    }

    fn look(&self) -> Value {
        get(&self.mint, &format!("/v1/melt/quote/bolt11/{}", self.quote)).unwrap()
    }

    fn change(&self, told: &Value) -> u64 {
        let id = self.coins[0].keyset_id;
        let got = proofs(&self.mint, id, &self.blanks, &told["change"]);
        self.mint.redeem(&self.mint.wrap(got)).unwrap()
    }
}

#[test]
fn a_melt_returns_what_is_left_on_blanks() {
    let melt = melt(5);
    melt.mint.set_payments(Payment::Paid {
        fee: 6,
        preimage: Some([7; 32]),
    });
    let told = melt.send().unwrap();
    assert_eq!(told["state"], "PAID");
    assert_eq!(text(&told, "payment_preimage"), "07".repeat(32));
    assert_eq!(melt.look(), told, "whoever asks later hears the same");
    // Of 128, less 100, the fee of 6 and 1 for the coin.
    assert_eq!(melt.change(&told), 21);
    assert_eq!((melt.mint.fees("msat"), melt.mint.kept("msat")), (1, 0));
    assert_eq!(melt.send(), Err(20_006));
    assert_eq!(melt.mint.outstanding("msat"), 0);
    melt.mint.assert_sound();
}

#[test]
fn change_for_which_there_is_no_blank_stays_with_the_mint() {
    let melt = melt(2);
    melt.mint.set_payments(Payment::PAID);
    let told = melt.send().unwrap();
    // 27 is 16, 8, 2 and 1.
    assert_eq!(melt.change(&told), 24);
    assert_eq!(melt.mint.kept("msat"), 3);
    melt.mint.assert_sound();
}

#[test]
fn coins_of_a_payment_under_way_are_pending_and_spent_at_its_end() {
    let melt = melt(5);
    let id = melt.coins[0].keyset_id;
    melt.mint.set_payments(Payment::Pending);
    assert_eq!(melt.send().unwrap()["state"], "PENDING");
    assert_eq!(states(&melt.mint, &melt.coins), ["PENDING"]);
    assert_eq!(swap(&melt.mint, &melt.coins, (id, 127)), Err(11_002));
    assert_eq!(melt.send(), Err(20_005));
    assert_eq!(melt.mint.finish_payments(Payment::PAID), 1);
    assert_eq!(states(&melt.mint, &melt.coins), ["SPENT"]);
    assert_eq!(melt.change(&melt.look()), 27);
}

#[test]
fn a_payment_may_take_its_time_while_others_are_attended_to() {
    let melt = melt(5);
    let (begun, is_begun) = std::sync::mpsc::channel();
    let (end, is_over) = std::sync::mpsc::channel();
    let is_over = std::sync::Mutex::new(is_over);
    melt.mint.pay_by(move |invoice| {
        begun.send(invoice.to_owned()).unwrap();
        is_over.lock().unwrap().recv().unwrap()
    });
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| melt.send());
        assert_eq!(is_begun.recv().unwrap(), text(&melt.look(), "request"));
        assert_eq!(melt.look()["state"], "PENDING");
        end.send(Payment::PAID).unwrap();
        assert_eq!(sent.join().unwrap().unwrap()["state"], "PAID");
    });
}

#[test]
fn coins_of_a_payment_that_failed_may_be_spent_again() {
    let melt = melt(5);
    melt.mint.set_payments(Payment::Fails);
    assert_eq!(melt.send().unwrap()["state"], "UNPAID");
    assert_eq!(states(&melt.mint, &melt.coins), ["UNSPENT"]);
    assert_eq!(melt.mint.finish_payments(Payment::PAID), 0);
    melt.mint.set_payments(Payment::PAID);
    assert_eq!(melt.send().unwrap()["state"], "PAID");
}

#[test]
fn a_payment_that_was_said_to_have_failed_may_arrive() {
    let arrives = melt(5);
    arrives.mint.set_payments(Payment::FailsAndArrives);
    assert_eq!(arrives.send().unwrap()["state"], "UNPAID");
    assert_eq!(states(&arrives.mint, &arrives.coins), ["UNSPENT"]);
    assert_eq!(arrives.mint.finish_payments(Payment::PAID), 1);
    assert_eq!(arrives.look()["state"], "PAID");
    assert_eq!(states(&arrives.mint, &arrives.coins), ["SPENT"]);
    arrives.mint.assert_sound();

    let swapped = melt(5);
    let id = swapped.coins[0].keyset_id;
    swapped.mint.set_payments(Payment::FailsAndArrives);
    swapped.send().unwrap();
    swap(&swapped.mint, &swapped.coins, (id, 127)).unwrap();
    assert_eq!(swapped.mint.finish_payments(Payment::PAID), 0);
    assert_eq!(swapped.look()["state"], "UNPAID");
    swapped.mint.assert_sound();
}

#[test]
fn a_quote_is_minted_once_it_is_paid_and_once() {
    let mint = TestMint::start(options()).unwrap();
    let key = SecretKey::generate();
    let asked = json!({"amount": 21, "unit": "sat", "pubkey": key.public_key()});
    let quote = post(&mint, "/v1/mint/quote/bolt11", &asked).unwrap();
    let invoice: cashu::Bolt11Invoice = text(&quote, "request").parse().unwrap();
    assert_eq!(invoice.amount_milli_satoshis(), Some(21_000));
    let id = mint.make(&Coins::worth("sat", 1))[0].keyset_id;
    let premint = outputs(id, 21);
    let mut request = MintRequest {
        quote: text(&quote, "quote"),
        outputs: premint.blinded_messages(),
        signature: None,
    };
    let send = |request: &MintRequest<String>| post(&mint, "/v1/mint/bolt11", &json!(request));
    assert_eq!(send(&request), Err(20_001));
    mint.pay_quote(&request.quote).unwrap();
    assert_eq!(send(&request), Err(20_008));
    request.sign(&key).unwrap();
    let signed = send(&request).unwrap();
    assert_eq!(
        worth(&proofs(&mint, id, &premint, &signed["signatures"])),
        21
    );
    assert_eq!(send(&request), Err(20_002));
    let told = get(&mint, &format!("/v1/mint/quote/bolt11/{}", request.quote)).unwrap();
    assert_eq!(told["state"], "ISSUED");
    assert_eq!((mint.received("sat"), mint.issued("sat")), (22, 22));
    mint.assert_sound();
}

#[test]
fn a_melt_of_an_invoice_of_the_mint_pays_its_quote_and_reveals_its_preimage() {
    let mint = TestMint::start(options()).unwrap();
    let asked = json!({"amount": 50, "unit": "sat"});
    let own = post(&mint, "/v1/mint/quote/bolt11", &asked).unwrap();
    let asked = json!({"request": own["request"], "unit": "msat"});
    let quote = post(&mint, "/v1/melt/quote/bolt11", &asked).unwrap();
    let coins = mint.make(&Coins::worth("msat", 50_021).without_dleq());
    let body = json!({"quote": quote["quote"], "inputs": coins});
    let told = post(&mint, "/v1/melt/bolt11", &body).unwrap();
    let invoice: cashu::Bolt11Invoice = text(&own, "request").parse().unwrap();
    let preimage = hex::decode(text(&told, "payment_preimage")).unwrap();
    let hash = hex::encode(Sha256::digest(preimage));
    assert_eq!(invoice.payment_hash().to_string(), hash);
    let path = format!("/v1/mint/quote/bolt11/{}", text(&own, "quote"));
    assert_eq!(get(&mint, &path).unwrap()["state"], "PAID");
}

#[test]
fn quotes_are_paid_at_once_where_that_is_so_and_in_whole_coins() {
    let mint = TestMint::start(MintOptions {
        pays_quotes_at_once: true,
        ..options()
    })
    .unwrap();
    let asked = json!({"amount": 5, "unit": "sat"});
    let quote = post(&mint, "/v1/mint/quote/bolt11", &asked).unwrap();
    assert_eq!(quote["state"], "PAID");
    let melt = json!({"request": invoice(1_500), "unit": "sat"});
    let melt = post(&mint, "/v1/melt/quote/bolt11", &melt).unwrap();
    assert_eq!(melt["amount"], 2);
    assert_eq!(get(&mint, "/v1/melt/quote/bolt11/x"), Err(11_000));
}
