//! The operator pays back, with the admin API and with `farebox admin`.

use std::process::Output;

use serde_json::{Value, json};

use super::lnd::{OnSend, invoice_of, mock_node};
use super::shop::{CALL, PRICE, Shop};
use crate::harness::{Call, HOUR, Reply, TestClock, Token};

fn refund(shop: &Shop, hash: &str, wish: &Value) -> Reply {
    let call = Call::post(&format!("/admin/v1/tokens/{hash}/refund"), wish.to_string());
    shop.gateway
        .admin(call.header("Content-Type", "application/json"))
}

/// The file has port 0, so the console is named.
fn run(shop: &Shop, arguments: &[&str]) -> Output {
    let console = shop.gateway.console.to_string();
    let named: Vec<_> = arguments
        .iter()
        .copied()
        .chain(["--console", &console])
        .collect();
    shop.gateway.command(&named)
}

fn command(shop: &Shop, arguments: &[&str]) -> (i32, Value, String) {
    let output = run(shop, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), json, said)
}

#[test]
fn the_operator_pays_back_and_sees_what_was_paid() {
    let shop = Shop::open();
    let token = shop.used_balance();
    let hash = token.payment_hash();
    let shown = shop.gateway.find_account(&token).unwrap();
    assert_eq!(shown["refundable_msat"], PRICE - CALL);
    let paid = refund(&shop, &hash, &json!({ "to": shop.lnd.invoice(50_000) }));
    let paid = paid.expect(200).json();
    assert_eq!(
        (&paid["state"], &paid["asked_by"]),
        (&json!("paid"), &json!("operator"))
    );
    let id = paid["id"].as_str().unwrap();
    let show = Call::get(&format!("/admin/v1/payouts/{id}"));
    assert_eq!(shop.gateway.admin(show).expect(200).json(), paid);
    let listed = shop.gateway.admin(Call::get("/admin/v1/payouts")).json();
    assert_eq!(listed, json!({ "payouts": [paid], "next": null }));
    assert!(!listed.to_string().contains("lnbc"), "{listed}");
    shop.gateway
        .wait_for_metric("farebox_payouts_total", &["state=\"paid\""], 1);
    shop.gateway
        .wait_for_metric("farebox_paid_out_msat_total", &[], 50_000);
    shop.assert_books(PRICE);
}

#[test]
fn what_was_never_claimed_is_unknown_to_the_operator() {
    let shop = Shop::open();
    let token = shop.buy("/single/a");
    let wish = json!({ "to": shop.lnd.invoice(PRICE) });
    let reply = refund(&shop, &token.payment_hash(), &wish).expect(404);
    assert_eq!(reply.json()["error"], "not-found");
    shop.refund_to(&token, &shop.lnd.invoice(PRICE)).expect(200);
}

#[test]
fn the_command_line_pays_back_lists_and_shows() {
    let shop = Shop::open();
    let token = shop.used_balance();
    let (hash, invoice) = (token.payment_hash(), shop.lnd.invoice(50_000));
    let (code, paid, said) = command(
        &shop,
        &[
            "admin", "refund", &hash, "--to", &invoice, "--wait", "--json",
        ],
    );
    assert_eq!((code, &paid["state"]), (0, &json!("paid")), "{said}");
    let id = paid["id"].as_str().unwrap();
    let (code, shown, _) = command(&shop, &["admin", "payouts", "show", id, "--json"]);
    assert_eq!((code, &shown), (0, &paid));
    let (code, listed, _) = command(&shop, &["admin", "payouts", "list", "--json"]);
    assert_eq!((code, &listed["payouts"][0]), (0, &paid));
    let text = run(&shop, &["admin", "payouts", "list"]).stdout;
    assert!(String::from_utf8_lossy(&text).contains(id));
    let shown = run(&shop, &["admin", "tokens", "show", &hash]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("refundable_msat 48000"), "{shown}");
}

#[test]
fn the_command_line_says_why_nothing_was_begun_or_what_failed() {
    let shop = Shop::open();
    let token = shop.used_balance();
    let hash = token.payment_hash();
    let (code, _, said) = command(&shop, &["admin", "refund", &hash, "--to", "nowhere"]);
    assert_eq!(code, 1);
    assert!(said.contains("neither a BOLT 11 invoice"), "{said}");
    let (code, _, said) = command(&shop, &["admin", "refund", "zz", "--to", "a@b.example"]);
    assert_eq!(code, 1, "{said}");
    let stranger = invoice_of(&mock_node(), 50_000, 3600).bolt11;
    let arguments = ["admin", "refund", &hash, "--to", &stranger, "--json"];
    let (code, failed, _) = command(&shop, &arguments);
    assert_eq!((code, &failed["state"]), (1, &json!("failed")));
}

#[test]
fn the_command_line_waits_for_a_payment_under_way() {
    let shop = Shop::open();
    let token: Token = shop.used_balance();
    shop.lnd.on_send(OnSend::CutAfter);
    let (hash, invoice) = (token.payment_hash(), shop.lnd.invoice(50_000));
    let arguments = [
        "admin", "refund", &hash, "--to", &invoice, "--wait", "--json",
    ];
    let (code, paid, said) = command(&shop, &arguments);
    assert_eq!((code, &paid["state"]), (0, &json!("paid")), "{said}");
    assert!(said.contains("under way"), "{said}");
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
}

#[test]
fn a_refund_whose_node_never_tells_is_closed_by_the_operator_once_nothing_can_pay_it() {
    let clock = TestClock::new();
    let (name, value) = clock.environment();
    let shop = Shop::open_with("", &[(name, &value)]);
    let token = shop.used_balance();
    shop.lnd.on_send(OnSend::CutBefore);
    shop.lnd.be_deaf(true);
    let asking = shop.refund_in_background(&token, &shop.lnd.invoice(50_000));
    shop.lnd.wait_for_sent(1);
    shop.gateway.wait_for_metric("farebox_payouts_open", &[], 1);
    let listed = shop.gateway.admin(Call::get("/admin/v1/payouts")).json();
    let id = listed["payouts"][0]["id"].as_str().unwrap().to_owned();
    asking.join().unwrap();
    let close = ["admin", "payouts", "close", &id, "--as", "failed", "--json"];
    let (code, _, said) = command(&shop, &close);
    assert_eq!(code, 1);
    assert!(said.contains("may still be paid"), "{said}");
    clock.shift(16 * 24 * HOUR);
    let (code, closed, said) = command(&shop, &close);
    assert_eq!((code, &closed["state"]), (0, &json!("failed")), "{said}");
    assert_eq!(shop.refundable(&token), PRICE - CALL);
    assert_eq!(shop.lnd.paid_out().0, 0);
    shop.assert_books(PRICE);
}
