//! The words of `clnrest`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Asked, Backstage, SECRET, hex_of, number};

pub(super) fn answer(backstage: &Backstage, asked: &Asked) -> Answer {
    assert_eq!(asked.method, "POST");
    if asked.headers.get("rune").map(String::as_str) != Some(SECRET) {
        return refuse(401, 1502, "Not permitted");
    }
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    // What `doctor` asks with, and no command knows.
    if body.get("farebox_asks_what_this_rune_allows").is_some() {
        return refuse(500, -32_602, "unknown parameter");
    }
    match asked.path.as_str() {
        "/v1/getinfo" => success(&json!({
            "id": "02aa", "alias": "STANDIN", "version": "v25.05", "network": "regtest",
            "num_active_channels": 1,
        })),
        "/v1/invoice" => invoice(backstage, &body),
        "/v1/listinvoices" => {
            let found = backstage
                .node
                .find_invoice(body["payment_hash"].as_str().unwrap());
            let found: Vec<_> = found.iter().map(row).collect();
            success(&json!({ "invoices": found }))
        }
        "/v1/waitanyinvoice" => wait(backstage, &body),
        "/v1/xpay" => pay(backstage, &body),
        "/v1/listpays" => list_payments(backstage, body["payment_hash"].as_str().unwrap()),
        _ => refuse(404, -32_601, "Unknown command"),
    }
}

fn success(result: &Value) -> Answer {
    (201, result.to_string())
}

fn refuse(status: u16, code: i32, message: &str) -> Answer {
    let error = json!({ "code": code, "message": message });
    (status, error.to_string())
}

fn invoice(backstage: &Backstage, body: &Value) -> Answer {
    assert!(body["label"].as_str().unwrap().starts_with("farebox-"));
    let memo = body["description"].as_str().unwrap();
    let msat = body["amount_msat"].as_u64().unwrap();
    let (bolt11, hash) = backstage.make(msat, memo, body["expiry"].as_u64().unwrap());
    success(&json!({ "bolt11": bolt11, "payment_hash": hash, "created_index": 1 }))
}

fn row(invoice: &Value) -> Value {
    let mut row = json!({
        "label": "x",
        "payment_hash": hex_of(&invoice["r_hash"]),
        "amount_msat": number(invoice, "value_msat"),
        "status": match invoice["state"].as_str() {
            Some("SETTLED") => "paid",
            Some("CANCELED") => "expired",
            _ => "unpaid",
        },
    });
    if row["status"] == "paid" {
        row["pay_index"] = number(invoice, "settle_index").into();
        row["amount_received_msat"] = number(invoice, "amt_paid_msat").into();
        row["payment_preimage"] = hex_of(&invoice["r_preimage"]).into();
    }
    row
}

fn wait(backstage: &Backstage, body: &Value) -> Answer {
    let last = body["lastpay_index"].as_u64().unwrap();
    let wait = Duration::from_secs(body["timeout"].as_u64().unwrap());
    let next = |backstage: &Backstage| {
        let mut settled = backstage.settled().into_iter();
        settled.find(|invoice| number(invoice, "settle_index") > last)
    };
    match backstage.wait_for(wait, next) {
        Some(invoice) => success(&row(&invoice)),
        None => refuse(500, 904, "Timed out"),
    }
}

fn pay(backstage: &Backstage, body: &Value) -> Answer {
    assert!(body["maxfee"].is_u64() && body["retry_for"].is_u64());
    match backstage.pay(body["invstring"].as_str().unwrap()) {
        Ok((_, paid)) => success(&json!({
            "payment_preimage": paid.preimage, "amount_msat": paid.msat,
            "amount_sent_msat": paid.msat + paid.fee_msat,
            "failed_parts": 0, "successful_parts": 1,
        })),
        Err(reason) => refuse(500, 205, &reason),
    }
}

fn list_payments(backstage: &Backstage, hash: &str) -> Answer {
    let paid = backstage.find_paid(hash).map(|paid| {
        json!({
            "payment_hash": hash, "status": "complete", "created_at": 1,
            "amount_msat": paid.msat, "amount_sent_msat": paid.msat + paid.fee_msat,
            "preimage": paid.preimage,
        })
    });
    success(&json!({ "pays": Vec::from_iter(paid) }))
}
