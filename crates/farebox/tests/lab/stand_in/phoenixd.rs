//! The words of phoenixd.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Answer, Asked, Backstage, SECRET, hex_of, number};
use crate::harness::Call;

/// `webhook-secret` of its `phoenix.conf`.
pub(crate) const WEBHOOK_SECRET: &str = "ef72d3b96324106dfbf83f2a4efeff7d";

/// The call by which it tells of a payment.
pub(crate) fn webhook(hash: &str) -> Call {
    let event = json!({ "type": "payment_received", "amountSat": 1, "paymentHash": hash });
    let event = event.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).unwrap();
    mac.update(event.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let call = Call::post("/.farebox/webhooks/phoenixd", event);
    call.header("X-Phoenix-Signature", &signature)
}

pub(super) fn answer(backstage: &Backstage, asked: &Asked) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!(":{SECRET}")));
    if asked.headers.get("authorization") != Some(&basic) {
        return (401, "Invalid authentication".to_owned());
    }
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let (folder, last) = path.rsplit_once('/').unwrap();
    match (asked.method.as_str(), folder, last) {
        ("GET", "", "getinfo") => success(&json!({
            "nodeId": "02aa", "chain": "regtest", "version": "0.8.0",
            "channels": [{ "inboundLiquiditySat": 1_000_000 }],
        })),
        ("POST", "", "createinvoice") => create(backstage, &fields(&asked.body)),
        ("GET", "/payments", "incoming") => list(backstage, &fields(query)),
        ("GET", "/payments/incoming", hash) => match backstage.node.find_invoice(hash) {
            Ok(invoice) => success(&incoming(&invoice)),
            Err(_) => not_found(),
        },
        ("POST", "", "payinvoice") => pay(backstage, &fields(&asked.body)),
        ("GET", "/payments/outgoingbyhash", hash) => find_payment(backstage, hash),
        _ => (404, "Unknown endpoint (check api doc)".to_owned()),
    }
}

fn success(answer: &Value) -> Answer {
    (200, answer.to_string())
}

fn not_found() -> Answer {
    (404, "Not found".to_owned())
}

/// None of the values in these tests needs decoding.
fn fields(form: &str) -> HashMap<&str, &str> {
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect()
}

fn create(backstage: &Backstage, fields: &HashMap<&str, &str>) -> Answer {
    let sats: u64 = fields["amountSat"].parse().unwrap();
    let seconds = fields["expirySeconds"].parse().unwrap();
    let (bolt11, hash) = backstage.make(sats * 1000, fields["description"], seconds);
    success(&json!({ "amountSat": sats, "paymentHash": hash, "serialized": bolt11 }))
}

fn incoming(invoice: &Value) -> Value {
    let made_at = number(invoice, "creation_date");
    let mut incoming = json!({
        "type": "incoming_payment", "subType": "lightning",
        "paymentHash": hex_of(&invoice["r_hash"]),
        "preimage": hex_of(&invoice["r_preimage"]),
        "isPaid": invoice["state"] == "SETTLED", "isExpired": false,
        "requestedSat": number(invoice, "value"), "receivedSat": number(invoice, "amt_paid_sat"),
        "fees": 0,
        "expiresAt": (made_at + number(invoice, "expiry")) * 1000, "createdAt": made_at * 1000,
    });
    if incoming["isPaid"] == true {
        incoming["completedAt"] = (number(invoice, "settle_date") * 1000).into();
    }
    incoming
}

/// The newest first.
fn list(backstage: &Backstage, query: &HashMap<&str, &str>) -> Answer {
    let number = |key: &str| query[key].parse::<u64>().unwrap();
    let settled = backstage.settled().into_iter().rev();
    let found = settled
        .map(|invoice| incoming(&invoice))
        .filter(|incoming| incoming["completedAt"].as_u64().unwrap() >= number("from"))
        .skip(usize::try_from(number("offset")).unwrap())
        .take(usize::try_from(number("limit")).unwrap());
    success(&Value::from_iter(found))
}

fn pay(backstage: &Backstage, fields: &HashMap<&str, &str>) -> Answer {
    let Some(invoice) = fields.get("invoice") else {
        return (400, "Missing parameter: invoice".to_owned());
    };
    match backstage.pay(invoice) {
        Ok((hash, paid)) => success(&json!({
            "recipientAmountSat": paid.msat / 1000, "routingFeeSat": paid.fee_msat / 1000,
            "paymentId": "x", "paymentHash": hash, "paymentPreimage": paid.preimage,
        })),
        Err(reason) => success(&json!({ "paymentHash": null, "reason": reason })),
    }
}

fn find_payment(backstage: &Backstage, hash: &str) -> Answer {
    let Some(paid) = backstage.find_paid(hash) else {
        return not_found();
    };
    success(&json!({
        "type": "outgoing_payment", "subType": "lightning", "paymentId": "x", "paymentHash": hash,
        "preimage": paid.preimage, "isPaid": true, "sent": paid.msat / 1000,
        "fees": paid.fee_msat, "completedAt": 2, "createdAt": 1,
    }))
}
