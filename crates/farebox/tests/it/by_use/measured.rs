//! Bytes and seconds, counted here.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::{DEPOSIT, Shop, say};
use crate::harness::{Call, Connection, Route, Setup, TestGateway};

#[test]
fn an_answer_costs_its_bytes_rounded_up_once() {
    let price = "per_byte = { msat = \"0.01\" }, at_most = { sat = 2 }";
    let shop = Shop::new(price);
    let body = "x".repeat(1234);
    assert_eq!(shop.charge_for(say(&json!({ "body": body }))), 13);
    assert_eq!(shop.charge_for(say(&json!({ "body": "" }))), 0);
    shop.gateway
        .wait_for_log("\"ended\":\"complete\",\"quantity\":\"1234\"");
    let shop = Shop::new("per_kib = { msat = 1 }, least = { msat = 5 }, at_most = { sat = 2 }");
    let body = "x".repeat(10 * 1024 + 1);
    assert_eq!(shop.charge_for(say(&json!({ "body": body }))), 11);
    assert_eq!(shop.charge_for(say(&json!({ "body": "x" }))), 5);
}

#[test]
fn bytes_above_the_hold_are_the_sellers_loss_and_the_answer_is_whole() {
    let shop = Shop::new("per_byte = { msat = 1 }, at_most = { msat = 1000 }");
    let token = shop.buy();
    let call = Call::get("/paid/large/5000").with(&token);
    // What a token was bought for by a POST does not read.
    let reply = shop.gateway.send(&call);
    assert_eq!(reply.status, 402);
    let call = Call::post("/paid/large/5000", "").with(&token);
    assert_eq!(shop.gateway.send(&call).expect(200).body.len(), 5000);
    assert_eq!(shop.gateway.charged(&token), 1000);
    assert_eq!(shop.loss(), -4000);
}

#[test]
fn a_client_that_hangs_up_pays_for_the_bytes_that_were_sent() {
    let shop = Shop::new("per_byte = { msat = 10 }, at_most = { sat = 50 }");
    let token = shop.buy();
    let control = shop.upstream.stream("s");
    let mut connection = Connection::open(shop.gateway.address).unwrap();
    let call = Call::post("/paid/stream/s", "").with(&token);
    connection.send(&call).unwrap();
    control.send("12345678");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    assert_eq!(shop.gateway.charged(&token), 80);
    shop.gateway.wait_for_log("\"ended\":\"cut_by_client\"");
}

#[test]
fn a_request_of_known_length_has_an_exact_price_that_is_held_no_higher() {
    let price = "per_byte = { msat = 2 }, of = \"request\", least = { msat = 100 }, \
                 at_most = { sat = 2 }";
    let shop = Shop::new(price);
    let call = Call::post("/paid/x", "y".repeat(300));
    let problem = shop.gateway.send(&call).expect(402).json();
    assert_eq!(problem["price_msat"], 600);
    let token = shop.buy();
    let reply = shop.gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.find("farebox-charge-msat"), Some("600"));
    assert_eq!(shop.gateway.charged(&token), 600);
    // No more than was promised, and no less than the least.
    let long = Call::post("/paid/digest", "y".repeat(30_000));
    assert_eq!(shop.charge_for(long), 2000);
    assert_eq!(shop.charge_for(Call::post("/paid/x", "")), 100);
}

#[test]
fn a_request_of_unknown_length_is_counted_as_it_passes() {
    let shop = Shop::new("per_byte = { msat = 2 }, of = \"both\", at_most = { sat = 50 }");
    let token = shop.buy();
    let mut connection = Connection::open(shop.gateway.address).unwrap();
    let head = Call::post("/paid/digest", "")
        .header("Transfer-Encoding", "chunked")
        .with(&token)
        .head();
    let head = head.replace("Content-Length: 0\r\n", "");
    let head = head.replace("content-length: 0\r\n", "");
    connection.write(head.as_bytes()).unwrap();
    connection
        .write(b"5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n")
        .unwrap();
    let reply = connection.read_reply("POST").unwrap().expect(200);
    let bytes = 8 + u64::try_from(reply.body.len()).unwrap();
    assert_eq!(shop.gateway.charged(&token), 2 * bytes);
}

#[test]
fn a_second_has_a_price_and_the_clock_begins_with_the_forwarding() {
    let shop = Shop::new("per_second = { sat = 20 }, at_most = { sat = 90 }");
    let token = shop.buy();
    let control = shop.upstream.stream("s");
    let mut connection = Connection::open(shop.gateway.address).unwrap();
    let began = std::time::Instant::now();
    let call = Call::post("/paid/stream/s", "").with(&token);
    connection.send(&call).unwrap();
    control.send("12345678");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    let at_least = began.elapsed();
    while began.elapsed().as_millis() < 100 {
        std::thread::yield_now();
    }
    control.finish();
    connection.read_chunk().unwrap();
    let charged = u128::from(shop.gateway.charged(&token));
    let most = began.elapsed().as_nanos() * 20_000 / 1_000_000_000 + 1;
    assert!(at_least.as_millis() < 100 || charged > 0);
    assert!((500..=most).contains(&charged), "{charged} of {most}");
}

#[test]
fn who_has_less_than_a_call_can_cost_is_asked_for_more_before_it_is_forwarded() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream)
        .line("price = { per_byte = { msat = 1 }, at_most = { sat = 200 } }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"));
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::post("/paid/x", "");
    let problem = gateway.send(&call).expect(402).json();
    assert_eq!(problem["amount_msat"], 200_000, "{problem}");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    let before = upstream.total();
    let reply = gateway.send(&call.with(&token)).expect(402);
    assert_eq!(reply.json()["reason"], "used_up");
    assert_eq!(upstream.total(), before);
}

#[test]
fn an_upgrade_cannot_be_counted_and_is_not_sold() {
    let shop = Shop::new("per_byte = { msat = 1 }, at_most = { sat = 2 }");
    let token = shop.gateway.buy(&Call::get("/paid/x"));
    let call = Call::websocket("/paid/upgrade").with(&token);
    shop.gateway.send(&call).expect(502);
    assert_eq!(shop.gateway.charged(&token), 0);
}
