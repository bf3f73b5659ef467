//! What the upstream says in a header, in a trailer, in JSON and in streams.

use serde_json::json;

use super::{DEPOSIT, Shop, costs, say};
use crate::harness::{Call, Connection, Setup};

const HEADER: &str = "upstream_header = \"x-cost\", unit = \"msat\", at_most = { msat = 5000 }";
const JSON: &str = "upstream_json = \"/usage/cost\", unit = \"sat\", at_most = { sat = 5 }";

#[test]
fn a_call_costs_what_the_upstream_says_and_the_header_stays_with_the_seller() {
    let shop = Shop::new(HEADER);
    let token = shop.buy();
    let reply = shop
        .gateway
        .send(&costs(&["1234.5"]).with(&token))
        .expect(200);
    assert_eq!(reply.text(), "said");
    assert!(reply.all("x-cost").is_empty());
    assert_eq!(reply.find("farebox-charge-msat"), Some("1235"));
    let left = (DEPOSIT - 1235).to_string();
    assert_eq!(reply.find("farebox-balance-msat"), Some(left.as_str()));
    assert_eq!(shop.gateway.charged(&token), 1235);
    shop.gateway
        .wait_for_log("\"ended\":\"complete\",\"quantity\":\"1234.5\"");
}

#[test]
fn a_price_asks_for_the_most_that_a_call_can_cost() {
    let shop = Shop::new(HEADER);
    let problem = shop.gateway.send(&costs(&["1"])).expect(402).json();
    assert_eq!(problem["price_msat"], 5000);
    assert_eq!(problem["amount_msat"], DEPOSIT);
    // Twenty calls at most are held at five sat each; one that could cost more than is left is not.
    let token = shop.buy();
    for _ in 0..19 {
        shop.gateway
            .send(&costs(&["5000"]).with(&token))
            .expect(200);
    }
    shop.gateway.send(&costs(&["1"]).with(&token)).expect(200);
    let reply = shop.gateway.send(&costs(&["1"]).with(&token)).expect(402);
    assert_eq!(reply.json()["reason"], "used_up");
    assert_eq!(shop.gateway.charged(&token), 19 * 5000 + 1);
}

#[test]
fn a_cost_above_the_hold_is_the_sellers_loss() {
    let shop = Shop::new(HEADER);
    assert_eq!(shop.charge_for(costs(&["7001"])), 5000);
    assert_eq!(shop.loss(), -2001);
}

#[test]
fn what_is_not_said_is_counted_and_costs_what_the_seller_chose() {
    let garbled: [&[&str]; 6] = [&[], &["-1"], &["much"], &["1", "1"], &["1e28"], &[""]];
    let shop = Shop::new(&format!("{HEADER}, missing = \"nothing\""));
    for lines in garbled {
        assert_eq!(shop.charge_for(costs(lines)), 0, "{lines:?}");
    }
    let route = ["route=\"paid\""];
    shop.gateway
        .wait_for_metric("farebox_costs_missing_total", &route, 6);
    shop.gateway.wait_for_log("\"ended\":\"cost_missing\"");
    shop.gateway
        .wait_for_log("the upstream did not say what its answer cost");
    let strict = Shop::new(HEADER);
    assert_eq!(strict.charge_for(costs(&["-1"])), 5000);
    assert!(strict.loss().is_null());
}

#[test]
fn a_free_answer_is_no_missing_one_and_the_least_is_charged_where_there_is_one() {
    let shop = Shop::new(HEADER);
    assert_eq!(shop.charge_for(costs(&["0"])), 0);
    shop.gateway
        .wait_for_log("\"ended\":\"complete\",\"quantity\":\"0\"");
    let shop = Shop::new(&format!("{HEADER}, least = {{ msat = 100 }}"));
    assert_eq!(shop.charge_for(costs(&["0"])), 100);
    assert_eq!(shop.charge_for(costs(&["101"])), 101);
}

#[test]
fn an_answer_that_is_not_charged_costs_nothing_and_shows_nothing() {
    let shop = Shop::new(HEADER);
    for (status, seen) in [(500, 500), (404, 404), (402, 502)] {
        let token = shop.buy();
        let failed = json!({ "status": status, "headers": [["x-cost", "9"]] });
        let reply = shop.gateway.send(&say(&failed).with(&token)).expect(seen);
        assert!(reply.all("x-cost").is_empty());
        assert_eq!(shop.gateway.charged(&token), 0);
    }
}

#[test]
fn a_trailer_says_it_for_an_answer_that_did_not_know_before() {
    let shop = Shop::new(HEADER);
    let token = shop.buy();
    let answer = json!({
        "headers": [["trailer", "x-cost, x-sum"]],
        "trailers": [["x-cost", "77"], ["x-sum", "abc"]],
        "body": "done"
    });
    let call = say(&answer).with(&token);
    let reply = shop.gateway.send(&call).expect(200);
    assert_eq!(reply.find("farebox-held-msat"), Some("5000"));
    assert!(reply.text().starts_with("done"));
    assert_eq!(shop.gateway.charged(&token), 77);
}

#[test]
fn a_quantity_has_a_price_in_any_money_and_a_markup_on_top() {
    let rates = "[rates.fixed]\nusd = \"100000\"";
    let setup = Setup::new().section(rates);
    let price = "upstream_header = \"x-cost\", each = { usd = \"0.0000015\" }, \
                 markup_percent = 10, at_most = { usd = \"0.01\" }";
    let shop = Shop::with(setup, price);
    // 3 × 1.5 msat × 1.1 = 4.95 msat.
    assert_eq!(shop.charge_for(costs(&["3"])), 5);
    shop.gateway.wait_for_log("\"bitcoin_price\":\"100000\"");
}

#[test]
fn json_tells_it_in_a_whole_answer_whose_charge_then_stands_in_its_head() {
    let shop = Shop::new(JSON);
    let body = r#"{"text": "hi",  "usage": {"cost": 1.0005}}"#;
    let json_headers = json!([["content-type", "application/json"]]);
    let answer = json!({ "headers": json_headers, "body": body });
    let token = shop.buy();
    let reply = shop.gateway.send(&say(&answer).with(&token)).expect(200);
    assert_eq!(reply.text(), body, "not a byte changes");
    assert_eq!(reply.find("farebox-charge-msat"), Some("1001"));
    assert_eq!(shop.gateway.charged(&token), 1001);
    for (body, charged) in [
        (r#"{"usage": {"cost": 9}}"#, 5000),
        (r#"{"usage": {"cost": -9}}"#, 5000),
        (r#"{"usage": {}}"#, 5000),
        ("not json", 5000),
    ] {
        let answer = json!({ "headers": json_headers, "body": body });
        assert_eq!(shop.charge_for(say(&answer)), charged, "{body}");
    }
    assert_eq!(shop.loss(), -4000);
}

/// A stream in the hands of the test, bought and begun.
fn begin(
    shop: &Shop,
    query: &str,
) -> (
    Connection,
    farebox_testkit::StreamControl,
    crate::harness::Token,
) {
    let token = shop.buy();
    let control = shop.upstream.stream("s");
    let mut connection = Connection::open(shop.gateway.address).unwrap();
    let call = Call::post(&format!("/paid/stream/s{query}"), "").with(&token);
    connection.send(&call).unwrap();
    (connection, control, token)
}

#[test]
fn the_last_event_of_a_stream_that_tells_it_counts() {
    let shop = Shop::new(JSON);
    let (mut connection, control, token) = begin(&shop, "");
    control.send("data: {\"usage\": {\"cost\": 1}}\n\n: hi\n\ndata: {\"usage\": null}\n\n");
    control.send("data: {\"usage\": {\"cost\": \"2.5\"}}\n\ndata: [DONE]\n\n");
    control.finish();
    let reply = connection.read_reply("POST").unwrap();
    assert_eq!(reply.find("farebox-held-msat"), Some("5000"));
    assert!(reply.text().ends_with("\"2.5\"}}\n\ndata: [DONE]\n\n"));
    assert_eq!(shop.gateway.charged(&token), 2500);
}

#[test]
fn a_client_that_leaves_before_the_cost_is_told_pays_it_all_the_same() {
    let shop = Shop::new(JSON);
    let (mut connection, control, token) = begin(&shop, "");
    control.send("data: {}\n\n");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.send("data: {\"usage\": {\"cost\": 3}}\n\n");
    control.finish();
    shop.gateway.wait_for_log("\"quantity\":\"3\"");
    assert_eq!(shop.gateway.charged(&token), 3000);
}

#[test]
fn a_client_that_leaves_and_whose_cost_is_never_told_pays_the_hold() {
    let shop = Shop::new(&format!("{JSON}, drain = \"50ms\""));
    let (mut connection, control, token) = begin(&shop, "");
    control.send("data: {}\n\n");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    assert_eq!(shop.gateway.charged(&token), 5000);
    shop.gateway.wait_for_log("\"ended\":\"cut_by_client\"");
}

#[test]
fn a_client_that_leaves_pays_what_the_head_said_and_nobody_is_listened_to() {
    let shop = Shop::new(HEADER);
    let (mut connection, control, token) = begin(&shop, "?x-cost=44");
    control.send("data: {}\n\n");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    assert_eq!(shop.gateway.charged(&token), 44);
}

/// What is charged for a stream that the upstream breaks off after one event.
fn broken_off(shop: &Shop, query: &str) -> u64 {
    let (mut connection, control, token) = begin(shop, query);
    control.send("data: {}\n\n");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    control.cut();
    assert!(connection.read_chunk().is_err());
    shop.gateway.wait_for_log("\"ended\":\"cut_by_upstream\"");
    shop.gateway.charged(&token)
}

#[test]
fn an_answer_that_the_upstream_breaks_off_costs_what_was_said_until_then() {
    assert_eq!(broken_off(&Shop::new(HEADER), "?x-cost=44"), 44);
    assert_eq!(broken_off(&Shop::new(JSON), ""), 0);
    let kind = Shop::new(&format!("{HEADER}, broken_off = \"nothing\""));
    assert_eq!(broken_off(&kind, "?x-cost=44"), 0);
    let strict = Shop::new(&format!("{JSON}, broken_off = \"hold\""));
    assert_eq!(broken_off(&strict, ""), 5000);
}

#[test]
fn a_client_whose_answer_we_cut_ourselves_does_not_pay_for_leaving() {
    for (price, query, charged) in [(JSON, "", 0), (HEADER, "?x-cost=44", 44)] {
        let setup = Setup::new().server("drain_timeout = \"100ms\"");
        let mut shop = Shop::with(setup, price);
        let (mut connection, control, token) = begin(&shop, query);
        control.send("data: {}\n\n");
        connection.read_head().unwrap();
        connection.read_chunk().unwrap();
        shop.gateway.stop();
        assert!(connection.read_chunk().is_err());
        shop.gateway.start_again(&[]);
        assert_eq!(shop.gateway.charged(&token), charged, "{price}");
    }
}

#[test]
fn an_answer_that_we_cut_before_its_first_byte_costs_nothing() {
    let setup = Setup::new().server("drain_timeout = \"100ms\"");
    let mut shop = Shop::with(setup, &format!("{HEADER}, broken_off = \"hold\""));
    let (mut connection, control, token) = begin(&shop, "?x-cost=44");
    connection.read_head().unwrap();
    shop.gateway.stop();
    assert!(connection.read_chunk().is_err());
    drop(control);
    shop.gateway.start_again(&[]);
    assert_eq!(shop.gateway.charged(&token), 0);
}

#[test]
fn a_key_pays_what_the_upstream_says() {
    let shop = Shop::new(HEADER);
    let bought = crate::keys::buy(&shop.gateway, 50_000);
    let bearer = format!("Bearer {}", bought.key);
    let call = costs(&["42"]).header("Authorization", &bearer);
    let reply = shop.gateway.send(&call).expect(200);
    assert_eq!(reply.find("farebox-charge-msat"), Some("42"));
    let left = crate::keys::balance(&shop.gateway, &bought.key);
    assert_eq!(left, 50_000 - 42);
}

#[test]
fn a_killed_process_charges_what_had_been_said() {
    let mut shop = Shop::new(HEADER);
    let (mut connection, control, token) = begin(&shop, "?x-cost=44");
    control.send("data: {}\n\n");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    shop.gateway.kill();
    shop.gateway.start_again(&[]);
    let charged = shop.gateway.charged(&token);
    assert!([0, 44].contains(&charged), "{charged}");
    drop(control);
}
