//! What a buyer might try to be charged less, and what a careless upstream might say.

use farebox_testkit::{ScriptedUpstream, StreamControl};
use serde_json::json;

use super::{DEPOSIT, Shop, costs, say};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token};

const JSON: &str = "upstream_json = \"/usage/cost\", unit = \"msat\", at_most = { msat = 5000 }";

fn told_in_json(cost: &str) -> Call {
    let kind = json!([["content-type", "application/json"]]);
    let body = format!("{{\"usage\": {{\"cost\": {cost}}}}}");
    say(&json!({ "headers": kind, "body": body }))
}

#[test]
fn a_request_that_a_template_writes_costs_what_is_forwarded() {
    let upstream = ScriptedUpstream::start().unwrap();
    let template = r#"request = { body = '{"model":"m"}', pass_fields = { prompt = "string" } }"#;
    let route = Route::at("/gpt", &upstream)
        .line("price = { per_byte = { msat = 3 }, of = \"request\", at_most = { sat = 2 } }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"))
        .line(template);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::post("/gpt", r#"{"prompt": "abc", "left": "out"}"#);
    let forwarded = r#"{"model":"m","prompt":"abc"}"#;
    let cost = 3 * u64::try_from(forwarded.len()).unwrap();
    let problem = gateway.send(&call).expect(402).json();
    assert_eq!(problem["price_msat"], cost);
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.json()["body"], forwarded);
    assert_eq!(gateway.charged(&token), cost);
}

#[test]
fn nobody_asks_for_an_answer_without_the_part_that_tells_its_cost() {
    let shop = Shop::new(JSON);
    let token = shop.buy();
    let asks = [
        ("Range", "bytes=0-9"),
        ("If-Range", "\"tag\""),
        ("If-None-Match", "*"),
        ("If-Match", "\"tag\""),
        ("If-Modified-Since", "Sat, 01 Jan 2028 00:00:00 GMT"),
        ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ];
    let call = told_in_json("30").header("Accept-Encoding", "gzip");
    let call = asks
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value));
    shop.gateway.send(&call.with(&token)).expect(200);
    assert_eq!(shop.gateway.charged(&token), 30);
    let seen = shop.upstream.requests().pop().unwrap();
    for (name, _) in asks {
        let lines = seen.all(&name.to_ascii_lowercase());
        assert!(lines.is_empty(), "{name}: {lines:?}");
    }
    assert_eq!(seen.all("accept-encoding"), ["identity"]);
}

#[test]
fn a_cost_with_more_digits_than_anybody_needs_is_rounded_up_and_not_missing() {
    let shop =
        Shop::new("upstream_header = \"x-cost\", each = { sat = 1000 }, at_most = { sat = 1000 }");
    // As programs print floating-point numbers: 20 and more digits behind the point.
    assert_eq!(shop.charge_for(costs(&["0.00012345678901234567"])), 124);
    assert_eq!(shop.charge_for(costs(&["1.1500000000000001e-05"])), 12);
    assert_eq!(shop.charge_for(costs(&["1e-40"])), 1);
    let shop = Shop::new(JSON);
    assert_eq!(shop.charge_for(told_in_json("41.00000000000000000001")), 42);
    assert_eq!(
        shop.charge_for(told_in_json("\"0.5000000000000000000001\"")),
        1
    );
    let event = "data: {\"usage\": {\"cost\": 7.0000000000000000000001}}\n\n";
    let kind = json!([["content-type", "text/event-stream"]]);
    let stream = say(&json!({ "headers": kind, "body": event }));
    assert_eq!(shop.charge_for(stream), 8);
}

#[test]
fn a_cost_with_an_absurd_exponent_is_missing_and_breaks_nothing() {
    let shop = Shop::new(&format!("{JSON}, missing = \"hold\""));
    for cost in [
        "1e-2147483648",
        "1e2147483647",
        "1e99999999999",
        "1.5e-2147483648",
    ] {
        let charged = shop.charge_for(told_in_json(cost));
        assert!(charged == 5000 || charged == 1, "{cost}: {charged}");
    }
}

#[test]
fn tokens_that_bought_calls_before_do_not_see_what_their_calls_cost_the_seller() {
    let upstream = ScriptedUpstream::start().unwrap();
    let calls = Route::at("/paid", &upstream).msat(2000).calls(3);
    let mut gateway = TestGateway::start(Setup::new().route(calls));
    let call = say(&json!({
        "headers": [["x-cost", "7"]],
        "trailers": [["x-cost", "8"], ["x-kept", "yes"]],
    }));
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    let by_use = Route::at("/paid", &upstream)
        .line("price = { upstream_header = \"x-cost\", unit = \"msat\", at_most = { sat = 5 } }");
    gateway.reconfigure(Setup::new().route(by_use));
    gateway.restart();
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.find("farebox-calls-left"), Some("1"));
    assert!(reply.all("x-cost").is_empty(), "{reply:?}");
}

#[test]
fn a_hundred_calls_at_once_on_money_for_ten_are_ten_calls() {
    let shop =
        Shop::new("upstream_header = \"x-cost\", unit = \"msat\", at_most = { msat = 10000 }");
    let token = shop.buy();
    let call = costs(&["10000"]).with(&token);
    let served = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| shop.gateway.send(&call).status))
            .collect();
        let statuses = calls.into_iter().map(|call| call.join().unwrap());
        statuses.filter(|status| *status == 200).count()
    });
    assert_eq!(served, 10);
    assert_eq!(shop.gateway.charged(&token), DEPOSIT);
    assert!(shop.loss().is_null());
}

#[test]
fn a_retry_under_its_key_is_served_again_and_charged_once() {
    let shop = Shop::new(JSON);
    let token = shop.buy();
    let call = told_in_json("30")
        .header("Idempotency-Key", "\"one\"")
        .with(&token);
    let first = shop.gateway.send(&call).expect(200);
    let again = shop.gateway.send(&call).expect(200);
    assert_eq!(again.body, first.body);
    assert_eq!(again.find("farebox-charge-msat"), Some("30"));
    assert_eq!(shop.gateway.charged(&token), 30);
    let other = told_in_json("31")
        .header("Idempotency-Key", "\"one\"")
        .with(&token);
    shop.gateway.send(&other).expect(409);
    assert_eq!(shop.gateway.charged(&token), 30);
}

/// What a client pays that spoils its own request while its answer comes.
struct Spoiler {
    _upstream: ScriptedUpstream,
    gateway: TestGateway,
    control: StreamControl,
    connection: Connection,
    token: Token,
}

impl Spoiler {
    fn new(line: &str) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let route = Route::at("/paid", &upstream).msat(2000).calls(3).line(line);
        let gateway = TestGateway::start(Setup::new().route(route));
        let call = Call::post("/paid/stream/s", "");
        let token = gateway.buy(&call);
        let control = upstream.stream("s");
        let head = call
            .header("Transfer-Encoding", "chunked")
            .with(&token)
            .head();
        let head = head.replace("Content-Length: 0\r\n", "");
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.write(head.as_bytes()).unwrap();
        connection.write(b"1\r\nx\r\n").unwrap();
        control.send("all but the end");
        connection.read_head().unwrap();
        connection.read_chunk().unwrap();
        Self {
            _upstream: upstream,
            gateway,
            control,
            connection,
            token,
        }
    }

    /// What is charged when this comes instead of the rest of the body.
    fn pays_after(mut self, rest: &[u8]) -> u64 {
        self.connection.write(rest).unwrap();
        // Whatever becomes of the connection, it ends.
        while let Ok(Some(_)) = self.connection.read_chunk() {}
        self.gateway.charged(&self.token)
    }
}

#[test]
fn who_spoils_his_own_request_while_its_answer_comes_has_left_and_pays() {
    let too_long = Spoiler::new("max_body = \"4B\"");
    assert_eq!(too_long.pays_after(b"5\r\nxxxxx\r\n"), 2000);
    assert_eq!(Spoiler::new("").pays_after(b"nonsense\r\n"), 2000);
    // Both are silent then, and the upstream has said what it could.
    assert_eq!(Spoiler::new("idle_timeout = \"1s\"").pays_after(b""), 2000);
}

#[test]
fn an_upstream_that_is_silent_after_a_whole_request_is_to_blame() {
    let whole = Spoiler::new("idle_timeout = \"1s\"");
    assert_eq!(whole.pays_after(b"0\r\n\r\n"), 0);
}

#[test]
fn who_stops_in_the_middle_of_a_request_pays_while_its_answer_goes_on() {
    let mut spoiler = Spoiler::new("idle_timeout = \"1s\"");
    loop {
        spoiler.control.send("more");
        if !matches!(spoiler.connection.read_chunk(), Ok(Some(_))) {
            break;
        }
    }
    assert_eq!(spoiler.gateway.charged(&spoiler.token), 2000);
}
