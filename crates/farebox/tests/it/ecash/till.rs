//! What the seller earned in coins, and how it is taken out.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{ALWAYS, Endpoint, Fault, MintOptions, Reply as MintReply, TestMint};
use serde_json::Value;

use super::faults::{paid, shop};
use super::{change, with_token};
use crate::harness::{Call, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;

/// Sells so many calls, each for a token of 4,000 msat; gives what their change is worth.
fn sell(gateway: &TestGateway, mint: &TestMint, calls: u64) -> u64 {
    let sold = (0..calls).map(|_| {
        let call = with_token(&Call::get("/paid/a"), &mint.token("msat", 4_000));
        let reply = gateway.send(&call).expect(200);
        mint.redeem(&change(&reply)).unwrap()
    });
    sold.sum()
}

/// What there is of the msat of the only mint, as soon as so much is free.
#[track_caller]
pub(super) fn stock(gateway: &TestGateway, free: u64) -> Value {
    let read = || {
        let all = gateway
            .admin(Call::get("/admin/v1/ecash"))
            .expect(200)
            .json();
        all["stock"][0].clone()
    };
    let stock = eventually(read, |stock| stock["free_msat"] == free);
    assert_eq!(stock["free_msat"], free, "{stock}");
    stock
}

/// What the command prints, and whether it went well.
fn withdraw(gateway: &TestGateway, mint: &TestMint, more: &[&str]) -> Result<String, String> {
    let url = mint.url();
    let command = [
        "admin", "ecash", "withdraw", "--mint", &url, "--unit", "msat",
    ];
    let output = gateway.command(&[&command, more].concat());
    let (told, noted) = (output.stdout, output.stderr);
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() {
        Ok(text(told))
    } else {
        Err(text(noted))
    }
}

/// The id in what a withdrawal that failed says.
fn id_in(noted: &str) -> String {
    let mut words = noted.split_whitespace();
    words.find(|word| *word == "withdrawal");
    words.next().unwrap().to_owned()
}

/// A gateway that sold three calls.
fn sold(options: MintOptions) -> (TestMint, ScriptedUpstream, TestGateway, u64) {
    let (mint, upstream) = (
        TestMint::start(options).unwrap(),
        ScriptedUpstream::start().unwrap(),
    );
    let gateway = shop(&[&mint], paid(&upstream));
    let back = sell(&gateway, &mint, 3);
    stock(&gateway, 3 * PRICE);
    (mint, upstream, gateway, back)
}

#[test]
fn income_is_taken_out_as_tokens_and_the_books_and_the_mint_agree() {
    let (mint, _upstream, gateway, back) = sold(MintOptions::with_fee(100));
    let first = withdraw(&gateway, &mint, &["--amount", "3000"]).unwrap();
    assert_eq!(mint.value_of(&first).unwrap(), 3_000);
    let left = stock(&gateway, 3 * PRICE - 3_000 - 1);
    assert_eq!(
        (&left["withdrawn_msat"], &left["leaving_msat"]),
        (&3_001.into(), &0.into())
    );
    let labels = ["unit=\"msat\"", "state=\"free\""];
    gateway.wait_for_metric("farebox_ecash_msat", &labels, 1_499);
    gateway.wait_for_metric("farebox_payments_total", &["method=\"cashu\""], 3);
    gateway.wait_for_metric("farebox_payments_total", &["method=\"l402\""], 0);
    let refused = withdraw(&gateway, &mint, &["--amount", "1500"]).unwrap_err();
    assert!(refused.contains("at most"), "{refused}");
    let second = withdraw(&gateway, &mint, &[]).unwrap();
    let none = withdraw(&gateway, &mint, &[]).unwrap_err();
    assert!(none.contains("at most 0"), "{none}");
    let left = stock(&gateway, 0);
    assert_eq!(
        (&left["reserved_msat"], &left["most_msat"].is_u64()),
        (&0.into(), &true)
    );
    let out = mint.redeem(&first).unwrap() + mint.redeem(&second).unwrap();
    assert_eq!(back + out + mint.fees("msat"), 3 * 4_000);
    assert_eq!(mint.outstanding("msat"), 0);
    mint.assert_sound();
    let trial = gateway.trial_balance();
    assert_eq!(trial["sum_msat"], 0, "{trial}");
    let listed = gateway.command(&["admin", "ecash", "withdrawals"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.contains(" done "))
            .count(),
        2,
        "{listed}"
    );
    assert!(!listed.contains("cashu"), "a list is no place for money");
}

#[test]
fn a_token_whose_answer_was_lost_is_told_by_its_id() {
    let (mut mint, _upstream, gateway, _) = sold(MintOptions::default());
    mint.fault(Endpoint::Swap, Fault::After(MintReply::Cut), ALWAYS);
    mint.fault(
        Endpoint::CheckState,
        Fault::Instead(MintReply::Html(502)),
        ALWAYS,
    );
    let lost = withdraw(&gateway, &mint, &[]).unwrap_err();
    assert!(lost.contains("farebox admin ecash show"), "{lost}");
    let id = id_in(&lost);
    assert_eq!(stock(&gateway, 0)["leaving_msat"], 3 * PRICE);
    mint.clear_faults();
    // It is found out without anybody asking.
    let read = || {
        let path = format!("/admin/v1/ecash/withdrawals/{id}");
        gateway.admin(Call::get(&path)).expect(200).json()
    };
    let done = eventually(read, |it| it["state"] == "done");
    let again = withdraw(&gateway, &mint, &["--id", &id]).unwrap();
    assert_eq!(done["token"], again);
    mint.stop();
    assert_eq!(withdraw(&gateway, &mint, &["--id", &id]).unwrap(), again);
    mint.start_again().unwrap();
    assert_eq!(mint.redeem(&again).unwrap(), 3 * PRICE);
    mint.assert_sound();
}

#[test]
fn what_the_mint_refuses_stays_and_leaves_the_next_time() {
    let (mint, _upstream, gateway, _) = sold(MintOptions::default());
    let rotate = Fault::Rotate {
        fee_ppk: 0,
        hide_old: false,
    };
    mint.fault(Endpoint::Swap, rotate, 1);
    let refused = withdraw(&gateway, &mint, &[]).unwrap_err();
    assert!(refused.contains("refuses the swap"), "{refused}");
    stock(&gateway, 3 * PRICE);
    let token = withdraw(&gateway, &mint, &[]).unwrap();
    assert_eq!(mint.redeem(&token).unwrap(), 3 * PRICE);
}

#[test]
fn a_mint_that_is_away_costs_nothing() {
    let (mut mint, _upstream, gateway, _) = sold(MintOptions::default());
    mint.stop();
    withdraw(&gateway, &mint, &[]).unwrap_err();
    stock(&gateway, 3 * PRICE);
    let other = gateway.command(&[
        "admin",
        "ecash",
        "withdraw",
        "--mint",
        "https://other.example.com",
        "--unit",
        "sat",
    ]);
    assert!(!other.status.success());
}

#[cfg(feature = "crash-points")]
#[test]
fn nothing_is_lost_or_doubled_wherever_the_process_dies_while_coins_leave() {
    use std::os::unix::process::ExitStatusExt;

    let points = farebox_ledger::WITHDRAWAL_CRASH_POINTS.into_iter();
    for point in points.chain([farebox_paywall::ecash::WITHDRAWN]) {
        let (mint, _upstream, mut gateway, _) = sold(MintOptions::default());
        gateway.stop();
        gateway.start_again(&[("FAREBOX_CRASH_AT", point)]);
        let lost = withdraw(&gateway, &mint, &["--amount", "4000"]).unwrap_err();
        let id = id_in(&lost);
        let status = gateway.wait_for_exit();
        assert_eq!(status.signal(), Some(9), "at {point}: {status}");
        gateway.start_again(&[]);
        let send = || withdraw(&gateway, &mint, &["--amount", "4000", "--id", &id]);
        let token = eventually(send, Result::is_ok).unwrap();
        assert_eq!(mint.redeem(&token).unwrap(), 4_000, "at {point}");
        let rest = withdraw(&gateway, &mint, &[]).unwrap();
        assert_eq!(mint.redeem(&rest).unwrap(), 3 * PRICE - 4_000, "at {point}");
        assert_eq!(mint.outstanding("msat"), 0, "at {point}");
        assert_eq!(gateway.trial_balance()["sum_msat"], 0);
    }
}
