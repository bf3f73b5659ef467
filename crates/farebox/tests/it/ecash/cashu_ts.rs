//! The library of web wallets pays by fetch, at real mints and at ours of tests, and redeems the change.

use std::sync::Arc;

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{MintOptions, TestMint};
use serde_json::json;

use super::faults::{paid, shop};
use super::opened;
use super::real_mint::Mint;
use crate::parts;

const PRICE: u64 = 1_500;
const FILLED: u64 = 20_000;
const PAYS: u64 = 4_000;
/// What the mint takes for each swap of up to ten coins, and of more.
const MOST_A_SWAP: u64 = 3;

at_each_mint! {
    cashu_ts_reads_what_is_asked_for_pays_and_redeems_the_change,
}

fn cashu_ts_reads_what_is_asked_for_pays_and_redeems_the_change(mint: &Arc<Mint>) {
    let Some(mut program) = parts::node("ecash.mjs") else {
        return;
    };
    let (upstream, gateway) = opened(mint);
    let told = parts::answer(
        &mut program,
        &json!({
            "mint": mint.url(), "unit": "msat", "amount": FILLED, "pays": PAYS, "calls": 2,
            "url": gateway.url("/paid/a"),
        }),
    );
    let asked = json!({
        "status": 402, "amount": PRICE, "unit": "msat", "mints": [mint.url()],
    });
    assert_eq!(told["asked"], asked);
    let answers = told["answers"].as_array().unwrap();
    assert_eq!((answers.len(), upstream.total()), (2, 2));
    for answer in answers {
        assert_eq!(
            (&answer["status"], &answer["paid"]),
            (&200.into(), &PAYS.into())
        );
        let back = answer["back"].as_u64().unwrap();
        // Our own swap, and the one that redeems the change.
        let least = PAYS - PRICE - 2 * MOST_A_SWAP;
        assert!((least..PAYS - PRICE).contains(&back), "{answer}");
    }
    let spent = told["before"].as_u64().unwrap() - told["after"].as_u64().unwrap();
    let most = 2 * (PRICE + 3 * MOST_A_SWAP);
    assert!((2 * PRICE..=most).contains(&spent), "{told}");
}

#[test]
fn cashu_ts_loses_the_price_and_the_fees_of_its_mint_and_no_msat_more() {
    // What a call costs in whole units, and what is put into the wallet and sent for each.
    for (unit, charge, (filled, pays)) in [
        ("msat", PRICE, (FILLED, PAYS)),
        ("sat", PRICE.div_ceil(1_000), (200, 40)),
    ] {
        for fee_ppk in [0, 100, 1_000] {
            let Some(mut program) = parts::node("ecash.mjs") else {
                return;
            };
            let mint = TestMint::start(MintOptions {
                pays_quotes_at_once: true,
                ..MintOptions::with_fee(fee_ppk)
            });
            let (mint, upstream) = (mint.unwrap(), ScriptedUpstream::start().unwrap());
            let gateway = shop(&[&mint], paid(&upstream));
            let wish = json!({
                "mint": mint.url(), "unit": unit, "amount": filled, "pays": pays, "calls": 2,
                "url": gateway.url("/paid/a"),
            });
            let told = parts::answer(&mut program, &wish);
            assert_eq!(upstream.total(), 2, "{told}");
            let spent = told["before"].as_u64().unwrap() - told["after"].as_u64().unwrap();
            assert_eq!(
                spent,
                2 * charge + mint.fees(unit),
                "{unit} {fee_ppk} {told}"
            );
            mint.assert_sound();
        }
    }
}
