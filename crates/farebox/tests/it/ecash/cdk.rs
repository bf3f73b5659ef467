//! What CDK does in its own way: to the last coin at an odd fee, over a change of its keysets, and while it says
//! nothing.

use std::sync::Arc;

use super::faults::{pick_up, send};
use super::real_mint::{Mint, Wallet};
use super::{opened, with_token};
use crate::harness::{Call, TestGateway};
use farebox_ecash::{Token, fee};

const PRICE_MSAT: u64 = 1_500;
/// Three coins cost one, and four cost two.
const ODD_FEE_PPK: u64 = 333;

/// A mint of the test's own at an odd fee.
fn odd_mint() -> Option<Arc<Mint>> {
    Mint::new_cdk(ODD_FEE_PPK).map(Arc::new)
}

/// What a token is worth, and what spending it costs at this fee.
fn worth(token: &str, fee_ppk: u64) -> (u64, u64) {
    let token = Token::parse(token).unwrap();
    let coins = token.proofs.iter().map(|_| fee_ppk);
    (token.face().unwrap(), fee(coins))
}

/// What all change of a token is worth, after it went into the wallet, which pays this fee for it.
#[track_caller]
fn redeemed(gateway: &TestGateway, token: &str, wallet: &Wallet, fee_ppk: u64) -> u64 {
    let told = pick_up(gateway, token).expect(200).json();
    let parts: Vec<String> = serde_json::from_value(told["change"].clone()).unwrap();
    let mut sum = 0;
    for part in parts {
        let (back, redeem) = worth(&part, fee_ppk);
        let before = wallet.balance();
        wallet.receive(&part);
        assert_eq!(wallet.balance(), before + back - redeem);
        sum += back;
    }
    sum
}

#[test]
#[ignore = "long"]
fn price_fees_and_change_are_what_was_sent_to_the_last_coin() {
    let Some(mint) = odd_mint() else {
        return;
    };
    let (_upstream, gateway) = opened(&mint);
    for (unit, path, price) in [
        ("msat", "/paid/a", PRICE_MSAT),
        ("msat", "/paid/status/500", 0),
        ("sat", "/paid/a", 2),
        ("sat", "/paid/status/500", 0),
    ] {
        let wallet = mint.wallet(unit, 100_000);
        for sent in [2_047, 4_096, 50_001] {
            let token = wallet.send(sent);
            let (face, swap) = worth(&token, ODD_FEE_PPK);
            assert_eq!(face, sent);
            gateway.send(&with_token(&Call::get(path), &token));
            let back = face - swap - price;
            assert_eq!(
                redeemed(&gateway, &token, &wallet, ODD_FEE_PPK),
                back,
                "{sent} {unit} for {path}"
            );
        }
    }
}

#[test]
#[ignore = "long"]
fn a_token_of_a_keyset_that_the_mint_has_retired_pays_and_its_change_is_of_the_new_one() {
    let Some(mint) = odd_mint() else {
        return;
    };
    let (upstream, gateway) = opened(&mint);
    let wallet = mint.wallet("msat", 20_000);
    let (first, second) = (wallet.send(4_000), wallet.send(4_000));
    // The gateway knows the mint's keysets from now on.
    gateway
        .send(&with_token(&Call::get("/paid/a"), &first))
        .expect(200);
    mint.restart(1_000);
    gateway
        .send(&with_token(&Call::get("/paid/b"), &second))
        .expect(200);
    let (face, swap) = worth(&second, ODD_FEE_PPK);
    let back = face - swap - PRICE_MSAT;
    assert_eq!(redeemed(&gateway, &second, &wallet, 1_000), back);
    assert_eq!(upstream.total(), 2);
}

#[test]
#[ignore = "long"]
fn a_token_that_came_while_the_mint_said_nothing_pays_once_whether_the_mint_goes_on_or_dies() {
    let Some(mint) = odd_mint() else {
        return;
    };
    let (upstream, gateway) = opened(&mint);
    let wallet = mint.wallet("msat", 20_000);
    // From now on the gateway knows the mint's keysets.
    let first = with_token(&Call::get("/paid/first"), &wallet.send(4_000));
    gateway.send(&first).expect(200);
    for (path, resume) in [
        ("/paid/on", Mint::go_on as fn(&Mint)),
        ("/paid/anew", |mint| mint.restart(ODD_FEE_PPK)),
    ] {
        let token = wallet.send(4_000);
        let call = with_token(&Call::get(path), &token);
        mint.pause();
        gateway.send(&call).expect(503);
        resume(&mint);
        if gateway.send(&call).status == 503 {
            // CDK drops a swap whose client has gone where it stands, and its coins are pending from then on. It
            // takes it back when it starts anew.
            mint.restart(ODD_FEE_PPK);
        }
        let reply = send(&gateway, &call);
        assert!(matches!(reply.status, 200 | 410), "{reply:?}");
        let (face, swap) = worth(&token, ODD_FEE_PPK);
        let back = face - swap - PRICE_MSAT;
        assert_eq!(redeemed(&gateway, &token, &wallet, ODD_FEE_PPK), back);
    }
    assert_eq!(upstream.total(), 3);
}
