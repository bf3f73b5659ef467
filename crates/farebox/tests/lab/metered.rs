//! What a model's call uses, paid over a real channel: the rest of the deposit buys more, and what
//! nobody wants goes back.

use farebox_testkit::{ScriptedUpstream, StreamControl};
use serde_json::json;

use crate::harness::{Call, Connection, Route, TestGateway, Token};
use crate::stage::{alone, upstream};

/// msat for a token read, and for one written.
const INPUT: u64 = 100;
const OUTPUT: u64 = 1000;
const DEPOSIT: u64 = 200_000;
/// What a refund may cost on its way, at most.
const MAX_FEE: u64 = 5000;

const MODEL: &str = "[[model]]\nname = \"small\"\ncurrency = \"msat\"\nper = \"unit\"\n\
                     input = 100\noutput = 1000\nmax_output_tokens = 2000";

fn route(upstream: &ScriptedUpstream) -> Route {
    Route::to("/v1", &format!("{}/stream/s", upstream.url()))
        .line("price = { model_tokens = {} }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"))
}

fn chat() -> Call {
    let body = json!({
        "model": "small",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": 50,
        "stream": true,
    });
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

fn piece(text: &str) -> String {
    let choice = json!({ "index": 0, "delta": { "content": text } });
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

fn usage(input: u64, output: u64) -> String {
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output });
    format!("data: {}\n\n", json!({ "choices": [], "usage": usage }))
}

/// A paid request whose answer is in the test's hands.
fn begin(
    gateway: &TestGateway,
    upstream: &ScriptedUpstream,
    call: &Call,
) -> (Connection, StreamControl) {
    let control = upstream.stream("s");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(call).unwrap();
    (connection, control)
}

/// Reads two of many pieces and hangs up. Answers what that costs.
fn read_half(gateway: &TestGateway, upstream: &ScriptedUpstream, call: &Call) -> u64 {
    let (mut connection, control) = begin(gateway, upstream, call);
    assert_eq!(connection.read_head().unwrap().status, 200);
    for text in ["eightlet", "four"] {
        assert!(control.send(piece(text)));
        let chunk = connection.read_chunk().unwrap().unwrap();
        assert_eq!(chunk, piece(text).as_bytes());
    }
    drop(connection);
    control.wait_until_abandoned();
    let read = u64::try_from(call.body.len()).unwrap().div_ceil(4);
    read * INPUT + 3 * OUTPUT
}

/// Reads an answer to its end, and answers what that costs.
fn read_all(gateway: &TestGateway, upstream: &ScriptedUpstream, call: &Call) -> u64 {
    let (mut connection, control) = begin(gateway, upstream, call);
    for event in [piece("hello"), usage(7, 9), "data: [DONE]\n\n".to_owned()] {
        assert!(control.send(event));
    }
    control.finish();
    let reply = connection.read_reply("POST").unwrap().expect(200);
    assert!(reply.text().contains("hello"), "{}", reply.text());
    7 * INPUT + 9 * OUTPUT
}

fn refund(gateway: &TestGateway, token: &Token, invoice: &str) -> serde_json::Value {
    let wish = json!({ "invoice": invoice });
    let call = Call::post("/.farebox/refund", wish.to_string());
    let call = call.header("Content-Type", "application/json").with(token);
    gateway.send(&call).expect(200).json()
}

#[test]
fn a_stream_that_its_buyer_cuts_leaves_the_rest_for_another_call_and_a_refund() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let setup = stage.setup(route(&upstream)).section(MODEL);
    let fees = format!("[refunds]\nenabled = true\nmax_fee = {{ percent = 0, msat = {MAX_FEE} }}");
    let gateway = TestGateway::start(setup.section(&fees));
    let before = stage.balances();
    let token = stage.buy(&gateway, &chat());
    let call = chat().with(&token);

    let cut = read_half(&gateway, &upstream, &call);
    assert_eq!(gateway.charged(&token), cut);
    gateway.wait_for_log("\"ended\":\"cut_by_client\"");
    let whole = read_all(&gateway, &upstream, &call);
    assert_eq!(gateway.charged(&token), cut + whole);

    let back = DEPOSIT - cut - whole - MAX_FEE;
    let invoice = stage.bob().invoice(back, 600).unwrap();
    let told = refund(&gateway, &token, &invoice.bolt11);
    assert_eq!(told["refund"]["state"], "paid", "{told}");
    let hash = &invoice.payment_hash;
    stage.bob().wait_for_invoice(hash, "SETTLED").unwrap();
    assert_eq!(stage.bob().received_for(hash).unwrap(), back);
    let balance = gateway.trial_balance();
    assert_eq!(balance["sound"], true, "{balance}");
    assert_eq!(
        balance["house_msat"]["revenue:v1"],
        cut + whole,
        "{balance}"
    );
    stage.assert_paid(before, i64::try_from(DEPOSIT - back).unwrap());
}
