//! A small wallet: one request at a time on a connection of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cashu::Amount;
use cashu::amount::{FeeAndAmounts, SplitTarget};
use cashu::nuts::{BlindSignature, BlindedMessage, Keys, PreMintSecrets, Proof};
use cashu::nuts::{KeysResponse, SwapRequest};
use serde_json::{Value, json};

use super::super::*;

/// A status and a body, or nothing where the connection was cut.
pub(super) type Heard = Option<(u16, String)>;

pub(super) fn mint(fee_ppk: u64) -> TestMint {
    TestMint::start(MintOptions::with_fee(fee_ppk)).unwrap()
}

/// Writes a request and does not wait for its answer.
pub(super) fn send(mint: &TestMint, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(mint.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: mint\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream
}

/// The raw answer.
pub(super) fn hear(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    // A cut shows as an end or as a reset.
    drop(stream.read_to_end(&mut heard));
    String::from_utf8(heard).unwrap()
}

pub(super) fn call(mint: &TestMint, method: &str, path: &str, body: &Value) -> Heard {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let heard = hear(send(mint, method, path, &body));
    let status = heard.get(9..12)?.parse().ok()?;
    let (_, body) = heard.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

/// The JSON of a successful answer, or the code of a refusal.
pub(super) fn json_of(heard: Heard) -> Result<Value, u64> {
    let (status, body) = heard.expect("an answer");
    let json: Value = serde_json::from_str(&body).unwrap();
    if status == 200 {
        Ok(json)
    } else {
        Err(json["code"].as_u64().unwrap_or_default())
    }
}

pub(super) fn post(mint: &TestMint, path: &str, body: &Value) -> Result<Value, u64> {
    json_of(call(mint, "POST", path, body))
}

pub(super) fn get(mint: &TestMint, path: &str) -> Result<Value, u64> {
    json_of(call(mint, "GET", path, &Value::Null))
}

pub(super) fn keys(mint: &TestMint, id: Id) -> Keys {
    let told = get(mint, &format!("/v1/keys/{id}")).unwrap();
    let told: KeysResponse = serde_json::from_value(told).unwrap();
    told.keysets[0].verify_id().unwrap();
    told.keysets[0].keys.clone()
}

/// New outputs worth so much, smallest first.
pub(super) fn outputs(id: Id, amount: u64) -> PreMintSecrets {
    let powers: Vec<_> = (0..32).map(|bit| 1_u64 << bit).collect();
    let amounts = FeeAndAmounts::from((0, powers));
    PreMintSecrets::random(id, Amount::from(amount), &SplitTarget::None, &amounts).unwrap()
}

pub(super) fn swap_body(inputs: &[Proof], outputs: Vec<BlindedMessage>) -> Value {
    json!(SwapRequest::new(inputs.to_vec(), outputs))
}

/// Swaps coins for others of this keyset, worth so much.
pub(super) fn swap(
    mint: &TestMint,
    inputs: &[Proof],
    (id, amount): (Id, u64),
) -> Result<Vec<Proof>, u64> {
    let premint = outputs(id, amount);
    let body = swap_body(inputs, premint.blinded_messages());
    let answer = post(mint, "/v1/swap", &body)?;
    Ok(proofs(mint, id, &premint, &answer["signatures"]))
}

pub(super) fn signatures(json: &Value) -> Vec<BlindSignature> {
    serde_json::from_value(json.clone()).unwrap()
}

/// Unblinds what was signed, after looking at its DLEQ.
pub(super) fn proofs(
    mint: &TestMint,
    id: Id,
    premint: &PreMintSecrets,
    signed: &Value,
) -> Vec<Proof> {
    let keys = keys(mint, id);
    let signed = signatures(signed);
    for (signature, output) in signed.iter().zip(premint.blinded_messages()) {
        let key = keys.amount_key(signature.amount).unwrap();
        signature.verify_dleq(key, output.blinded_secret).unwrap();
    }
    let count = signed.len();
    let (mut rs, mut secrets) = (premint.rs(), premint.secrets());
    rs.truncate(count);
    secrets.truncate(count);
    cashu::dhke::construct_proofs(signed, rs, secrets, &keys).unwrap()
}

pub(super) fn worth(proofs: &[Proof]) -> u64 {
    proofs.iter().map(|proof| proof.amount.to_u64()).sum()
}

pub(super) fn states(mint: &TestMint, proofs: &[Proof]) -> Vec<String> {
    let answer = post(mint, "/v1/checkstate", &states_body(proofs)).unwrap();
    let states = answer["states"].as_array().unwrap().iter();
    states
        .map(|it| it["state"].as_str().unwrap().to_owned())
        .collect()
}

pub(super) fn states_body(proofs: &[Proof]) -> Value {
    let ys: Vec<_> = proofs.iter().map(|it| it.y().unwrap()).collect();
    json!({ "Ys": ys })
}
