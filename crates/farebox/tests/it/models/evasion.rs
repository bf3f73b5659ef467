//! Ways to get more of a model than is paid for, and that they lead nowhere.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use super::{DEPOSIT, INPUT, OUTPUT, chat, model, route, shop, shop_with};
use crate::harness::{Call, Connection, Setup, TestGateway, with_upstream};

fn piece(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
    )
}

const END: &str = concat!(
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":30}}\n\n",
    "data: [DONE]\n\n"
);

#[test]
fn who_hangs_up_and_comes_back_for_the_whole_answer_has_paid_for_the_whole() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop_with(route(&format!("{}/stream/s", upstream.url())));
    let call = chat(json!({ "stream": true })).header("Idempotency-Key", "one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let control = upstream.stream("s");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&call).unwrap();
    control.send(piece("abcdefgh"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    gateway.send(&call).expect(409);
    control.send(piece("all the rest"));
    control.send(END);
    control.finish();
    gateway.wait_for_log("\"ended\":\"complete\"");
    let again = gateway.send(&call).expect(200);
    assert!(again.text().contains("all the rest"), "{}", again.text());
    assert_eq!(gateway.charged(&token), 7 * INPUT + 30 * OUTPUT);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn an_answer_becomes_shorter_by_every_name_of_its_limit() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&chat(json!({})));
    let long = chat(json!({ "max_tokens": 2000, "max_completion_tokens": 2000 }));
    let bytes = u64::try_from(long.body.len()).unwrap();
    gateway.send(&long.with(&token)).expect(200);
    let forwarded: Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    let most = (DEPOSIT - (bytes + 64) * INPUT) / OUTPUT;
    assert_eq!(forwarded["max_completion_tokens"], most);
    assert_eq!(forwarded["max_tokens"], most);
}

#[test]
fn a_limit_beyond_the_listed_one_never_reaches_the_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    let key = crate::keys::buy(&gateway, 10 * DEPOSIT).key;
    let paid = |call: Call| call.header("Authorization", &format!("Bearer {key}"));
    for limit in [json!(50_000), json!(null)] {
        let call = chat(json!({ "max_tokens": limit }));
        gateway.send(&paid(call)).expect(200);
        let asked = upstream.asked().pop().unwrap();
        let forwarded: Value = serde_json::from_slice(&asked).unwrap();
        assert_eq!(forwarded["max_tokens"], 2000);
    }
}

#[test]
fn a_limit_stands_where_the_seller_says_that_it_is_obeyed_and_nowhere_else() {
    let upstream = ScriptedUpstream::start().unwrap();
    let model = [&model("small"), "limit_field = \"max_tokens\""].join("\n");
    let setup = Setup::new().section(&model).route(route(&upstream.url()));
    let gateway = TestGateway::start(setup);
    let call = chat(json!({ "max_tokens": null, "max_completion_tokens": 30 }));
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    let forwarded: Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    assert_eq!(forwarded["max_tokens"], 30);
    assert_eq!(forwarded.get("max_completion_tokens"), None);
}

#[test]
fn what_is_forwarded_says_that_it_is_the_json_that_was_priced() {
    let (upstream, gateway) = with_upstream(shop);
    let call = chat(json!({}));
    let token = gateway.buy(&call);
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let call = Call::post("/v1/chat/completions", body.to_string())
        .header("Content-Type", "application/json; charset=utf-7")
        .header("Content-Type", "text/plain");
    gateway.send(&call.with(&token)).expect(200);
    let requests = upstream.requests();
    assert_eq!(requests[0].all("content-type"), ["application/json"]);
}
