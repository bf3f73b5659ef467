//! Ends that a client brings about itself: it leaves, spoils its upload, asks for a form of the answer
//! that tells no cost, spoils a stream that has gone well. Each costs at least what it got; what the
//! upstream fails at costs nothing and is nobody's fault.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Connection, HOUR, Reply, Route, Setup, TestClock, TestGateway, Token};
use crate::keys::{balance, bearer, buy, child};
use crate::parts::free_port;
use crate::rules::{Books, MANY_CHALLENGES, account_when, books_when};

const PRICE: u64 = 1_000;

/// A shop that sells calls, twenty for a payment.
fn shop(upstream: &ScriptedUpstream, line: &str) -> TestGateway {
    let route = Route::at("/calls", upstream).msat(PRICE).calls(20);
    start(route.line(line))
}

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route))
}

/// Sends a call to a closed gate, and leaves when it is there.
fn leave(gateway: &TestGateway, upstream: &ScriptedUpstream, call: &Call) {
    let before = upstream.count("/calls/gate/g");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(call).unwrap();
    upstream.wait_for("/calls/gate/g", before + 1);
}

/// What is charged in all, once nothing is held.
#[track_caller]
fn charged(gateway: &TestGateway, token: &Token, msat: u64) {
    account_when(gateway, token, |account| {
        let figure = |name: &str| account[name].as_u64();
        let spent = figure("amount_msat").zip(figure("balance_msat"));
        figure("held_msat") == Some(0) && spent.is_some_and(|(sold, left)| sold - left == msat)
    });
}

/// What `farebox-charge-msat` and `farebox-calls-left` say.
fn told(reply: &Reply) -> (Option<&str>, Option<&str>) {
    let (charge, left) = ("farebox-charge-msat", "farebox-calls-left");
    (reply.find(charge), reply.find(left))
}

#[test]
fn who_leaves_before_the_first_byte_more_than_three_times_is_charged_and_never_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = shop(&upstream, "");
    let call = Call::get("/calls/gate/g");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    for _ in 0..3 {
        leave(&gateway, &upstream, &paid);
        charged(&gateway, &token, 0);
    }
    // A new process knows it too.
    gateway.restart();
    for (calls, sum) in [(1, 1), (2, 1), (3, 2)] {
        leave(&gateway, &upstream, &paid);
        charged(&gateway, &token, sum * PRICE);
        gateway.wait_for_metric(
            "farebox_charged_msat_total",
            &[],
            i64::try_from(sum * PRICE).unwrap(),
        );
        gateway.wait_for_metric(
            "farebox_requests_total",
            &["outcome=\"client_gone\""],
            calls,
        );
    }
    upstream.open_gate("g");
    let reply = gateway.send(&paid).expect(200);
    assert_eq!(told(&reply), (Some("1000"), Some("17")));
    books_when(&gateway, &Books::settled(20_000, 3_000));
}

#[test]
fn what_the_upstream_fails_at_never_counts_against_who_pays() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream, "");
    let token = gateway.buy(&Call::get("/calls/a"));
    for _ in 0..110 {
        let failing = Call::get("/calls/status/500").with(&token);
        gateway.send(&failing).expect(500);
    }
    for _ in 0..5 {
        let cut = Call::get("/calls/cut/10/20").with(&token);
        assert!(cut.try_send(gateway.address).is_err());
    }
    let call = Call::get("/calls/gate/g").with(&token);
    for _ in 0..3 {
        leave(&gateway, &upstream, &call);
        charged(&gateway, &token, 0);
    }
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
}

#[test]
fn calls_that_cost_nothing_are_no_failures() {
    const COUNT: &str = "/v1/messages/count_tokens";
    let upstream = ScriptedUpstream::start().unwrap();
    upstream.will_tell(COUNT, "application/json", "{\"input_tokens\":3}");
    let gateway = crate::models::shop(&upstream);
    let key = buy(&gateway, 100_000).key;
    let asked = json!({
        "model": "small",
        "messages": [{ "role": "user", "content": "one two three" }]
    });
    let count = Call::post(COUNT, asked.to_string()).header("Content-Type", "application/json");
    for _ in 0..110 {
        gateway.send(&bearer(count.clone(), &key)).expect(200);
    }
    let chat = crate::models::chat(json!({}));
    gateway.send(&bearer(chat, &key)).expect(200);
}

#[test]
fn children_have_no_free_calls_beyond_their_parent_s() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(PRICE));
    let parent = buy(&gateway, 100 * PRICE).key;
    for (number, sum) in (1..).zip([0, 0, 0, 1, 1, 2]) {
        let child = child(&gateway, &parent, &json!({})).key;
        let call = bearer(Call::get("/calls/gate/g"), &child);
        leave(&gateway, &upstream, &call);
        let left = (100 - sum) * PRICE;
        let read = || balance(&gateway, &parent);
        let found = crate::rules::eventually(read, |found| *found == left);
        assert_eq!(found, left, "after {number}");
    }
}

#[test]
fn the_holder_of_a_narrowed_token_locks_nobody_out() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream, "");
    let call = Call::get("/calls/gate/g");
    let token = gateway.buy(&call);
    let narrowed = call.with(&token.attenuated("count=2"));
    for sum in [0, 0, 0, 1, 1, 2] {
        leave(&gateway, &upstream, &narrowed);
        charged(&gateway, &token, sum * PRICE);
    }
    gateway.send(&narrowed).expect(402);
    let whole = Call::get("/calls/a").with(&token);
    let reply = gateway.send(&whole).expect(200);
    assert_eq!(told(&reply), (Some("1000"), Some("17")));
}

#[test]
fn an_upload_that_its_client_spoils_counts_as_leaving() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream, "max_body = \"1KiB\"");
    let token = gateway.buy(&Call::post("/calls/digest", "x"));
    let long = Call::post("/calls/digest", "")
        .header("Transfer-Encoding", "chunked")
        .with(&token);
    for (sum, charge) in [(0, None), (0, None), (0, None), (1, Some("1000"))] {
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(&long).unwrap();
        client
            .write(format!("800\r\n{}\r\n", "x".repeat(0x800)).as_bytes())
            .unwrap();
        let reply = client.read_reply("POST").unwrap().expect(413);
        assert_eq!(reply.find("farebox-charge-msat"), charge);
        charged(&gateway, &token, sum * PRICE);
    }
}

#[test]
fn answers_without_news_are_free_three_times() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream, "");
    let token = gateway.buy(&Call::get("/calls/a"));
    for (status, charge, left) in [
        (304, "0", "20"),
        (301, "0", "20"),
        (302, "0", "20"),
        (304, "1000", "19"),
        (301, "0", "19"),
    ] {
        let call = Call::get(&format!("/calls/status/{status}")).with(&token);
        let reply = gateway.send(&call).expect(status);
        assert_eq!(told(&reply), (Some(charge), Some(left)), "{status}");
    }
    charged(&gateway, &token, PRICE);
}

#[test]
fn where_the_act_is_sold_whatever_was_forwarded_is_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(
        &upstream,
        "charge_on = \"forwarded\"\ntimeout = \"300ms\"\nmax_voids = 100",
    );
    let token = gateway.buy(&Call::get("/calls/a"));
    let mut sum = 0;
    for (path, status) in [
        ("a", 200),
        ("status/304", 304),
        ("status/404", 404),
        ("status/500", 500),
        ("challenge/403", 502),
        ("refuse", 502),
        ("hang", 504),
    ] {
        let call = Call::get(&format!("/calls/{path}")).with(&token);
        let reply = gateway.send(&call).expect(status);
        assert_eq!(reply.find("farebox-charge-msat"), Some("1000"), "{path}");
        let is_ours = reply.find("content-type") == Some("application/problem+json");
        if is_ours {
            let detail = reply.json()["detail"].to_string();
            assert!(detail.contains("1000 msat were charged"), "{detail}");
        }
        sum += PRICE;
        charged(&gateway, &token, sum);
    }
    let cut = Call::get("/calls/cut/10/20").with(&token);
    assert!(cut.try_send(gateway.address).is_err());
    charged(&gateway, &token, sum + PRICE);
    leave(
        &gateway,
        &upstream,
        &Call::get("/calls/gate/g").with(&token),
    );
    charged(&gateway, &token, sum + 2 * PRICE);
}

#[test]
fn an_act_that_reached_nobody_is_not_charged() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let route = Route::to("/calls", &dead).msat(PRICE).calls(5);
    let gateway = start(route.line("charge_on = \"forwarded\""));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    for _ in 0..5 {
        let reply = gateway.send(&call.clone().with(&token)).expect(502);
        assert_eq!(reply.find("farebox-charge-msat"), None);
    }
    charged(&gateway, &token, 0);
}

#[test]
fn an_answer_says_what_is_left_after_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .route(Route::at("/calls", &upstream).msat(PRICE).calls(5))
        .route(
            Route::at("/balance", &upstream)
                .msat(PRICE)
                .line("balance = { msat = 5000 }"),
        );
    let gateway = TestGateway::start(setup);
    let token = gateway.buy(&Call::get("/calls/a"));
    let send = |path: &str, status, token: &Token| {
        let call = Call::get(path).with(token);
        gateway.send(&call).expect(status)
    };
    for (status, charge, left) in [
        (404, "0", "5"),
        (500, "0", "5"),
        (200, "1000", "4"),
        (404, "0", "4"),
    ] {
        let reply = send(&format!("/calls/status/{status}"), status, &token);
        assert_eq!(told(&reply), (Some(charge), Some(left)), "{status}");
    }
    // What a holder was left is its own affair, and the rest is not.
    let narrowed = token.attenuated("count=3");
    let reply = send("/calls/a", 200, &narrowed);
    assert_eq!(told(&reply), (Some("1000"), Some("1")));

    let token = gateway.buy(&Call::get("/balance/a"));
    for (status, left) in [(404, "5000"), (200, "4000"), (500, "4000")] {
        let reply = send(&format!("/balance/status/{status}"), status, &token);
        assert_eq!(reply.find("farebox-balance-msat"), Some(left), "{status}");
    }
    let narrowed = token.attenuated("amount_msat=3000");
    let reply = send("/balance/a", 200, &narrowed);
    assert_eq!(reply.find("farebox-balance-msat"), Some("1000"));
}

#[test]
fn a_pass_begins_with_the_first_answer_that_is_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let (name, file) = clock.environment();
    let route = Route::at("/pass", &upstream)
        .msat(5_000)
        .line("pass = \"1h\"");
    let gateway = TestGateway::start_with(Setup::new().route(route), &[(name, &file)]);
    let token = gateway.buy(&Call::get("/pass/a"));
    for status in [500, 404, 304] {
        let call = Call::get(&format!("/pass/status/{status}")).with(&token);
        let reply = gateway.send(&call).expect(status);
        assert_eq!(reply.find("farebox-expires"), None);
    }
    books_when(&gateway, &Books::settled(5_000, 0));
    clock.shift(2 * HOUR);
    let call = Call::get("/pass/a").with(&token);
    let reply = gateway.send(&call).expect(200);
    let expires = reply.find("farebox-expires").unwrap().to_owned();
    books_when(&gateway, &Books::settled(5_000, 5_000));
    let failing = Call::get("/pass/status/500").with(&token);
    let reply = gateway.send(&failing).expect(500);
    assert_eq!(reply.find("farebox-expires"), Some(expires.as_str()));
    clock.shift(HOUR + 1_000);
    let reply = gateway.send(&call).expect(402);
    assert_eq!(reply.json()["reason"], "expired");
}

#[test]
fn a_form_of_the_answer_that_tells_no_cost_costs_all_that_was_held() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price = "upstream_json = \"/cost\", unit = \"msat\", at_most = { msat = 5000 }";
    let route = Route::at("/paid", &upstream).line(&format!("price = {{ {price} }}"));
    let gateway = start(route.line("balance = { msat = 100000 }"));
    let say = |kind: &str, body: &str, status: u16| {
        let headers = json!([["content-type", kind]]);
        let what = json!({ "headers": headers, "body": body, "status": status });
        Call::post("/paid/say", what.to_string())
    };
    let token = gateway.buy(&say("application/json", "{}", 200));
    let mut sum = 0;
    for (call, cost) in [
        (say("application/json", "{\"cost\":700}", 200), 700),
        (say("text/csv", "cost\n700\n", 200), 5_000),
        (say("application/json", "{}", 200), 5_000),
        (say("text/plain", "gone", 404), 0),
        (say("text/plain", "elsewhere", 303), 0),
    ] {
        gateway.send(&call.with(&token));
        sum += cost;
        charged(&gateway, &token, sum);
    }
}

#[test]
fn a_cost_in_an_event_that_is_too_long_to_be_looked_into_is_all_that_was_held() {
    let upstream = ScriptedUpstream::start().unwrap();
    let event = format!(
        "data: {{\"echo\": \"{}\", \"cost\": 700}}\n\n",
        "x".repeat(5 << 20)
    );
    let price = "upstream_json = \"/cost\", unit = \"msat\", at_most = { msat = 5000 }, \
                 missing = \"nothing\"";
    let route = Route::at("/paid", &upstream).line(&format!("price = {{ {price} }}"));
    let gateway = start(route.line("balance = { msat = 100000 }"));
    let call = Call::get("/paid/stream/s");
    let token = gateway.buy(&call);
    let control = upstream.stream("s");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    assert!(control.send(event));
    control.finish();
    assert_eq!(client.read_head().unwrap().status, 200);
    while client.read_chunk().unwrap().is_some() {}
    charged(&gateway, &token, 5_000);
}

#[test]
fn what_is_measured_costs_nothing_where_the_answer_is_elsewhere_or_there_but_not_for_ever() {
    const LEAST: u64 = 500;
    let most = "least = { msat = 500 }, at_most = { msat = 5000 }";
    for price in [
        format!("per_second = {{ msat = 1 }}, {most}"),
        format!("per_byte = {{ msat = 1 }}, {most}"),
        format!("per_byte = {{ msat = 1 }}, of = \"request\", {most}"),
    ] {
        let upstream = ScriptedUpstream::start().unwrap();
        let route = Route::at("/paid", &upstream).line(&format!("price = {{ {price} }}"));
        let gateway = start(route.line("balance = { msat = 100000 }"));
        let gone = json!({ "status": 304 });
        let moved = json!({ "status": 303, "headers": [["location", "/paid/other"]] });
        let [gone, moved] = [gone, moved].map(|what| Call::post("/paid/say", what.to_string()));
        let token = gateway.buy(&gone);
        for call in [&gone, &moved, &gone] {
            gateway.send(&call.clone().with(&token));
            charged(&gateway, &token, 0);
        }
        // As at a fixed price.
        gateway.send(&moved.with(&token)).expect(303);
        charged(&gateway, &token, LEAST);
        let elsewhere = json!({ "status": 303, "headers": [["location", "https://else.test/"]] });
        let elsewhere = Call::post("/paid/say", elsewhere.to_string());
        gateway.send(&elsewhere.with(&token)).expect(303);
        charged(&gateway, &token, 2 * LEAST);
    }
}

#[test]
fn who_pays_by_the_byte_does_not_choose_how_few_there_are() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price = "per_byte = { msat = 1 }, at_most = { msat = 5000 }";
    let route = Route::at("/paid", &upstream).line(&format!("price = {{ {price} }}"));
    let gateway = start(route.line("balance = { msat = 100000 }"));
    let call = Call::get("/paid/a").header("Accept-Encoding", "gzip, br");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.requests()[0].all("accept-encoding"), ["identity"]);
}

#[test]
fn who_pays_by_the_bytes_of_a_request_does_not_compress_them() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price = "per_byte = { msat = 10 }, of = \"request\", at_most = { msat = 5000 }";
    let shop = |more: &str| {
        let route = Route::at("/paid", &upstream).line(&format!("price = {{ {price}{more} }}"));
        start(route.line("balance = { msat = 100000 }"))
    };
    let plain = Call::post("/paid/a", "x".repeat(40));
    let gateway = shop("");
    let token = gateway.buy(&plain);
    for (name, value) in [
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "identity, br"),
        ("Grpc-Encoding", "gzip"),
        ("Connect-Content-Encoding", "zstd"),
    ] {
        let compressed = plain.clone().header(name, value);
        gateway.send(&compressed).expect(415);
        let reply = gateway.send(&compressed.with(&token)).expect(415);
        assert_eq!(
            reply.json()["type"],
            "https://farebox.dev/problems/not-sold"
        );
    }
    assert_eq!(upstream.count("/paid/a"), 0);
    gateway.send(&plain.clone().with(&token)).expect(200);
    charged(&gateway, &token, 400);
    let gateway = shop(", compressed = true");
    let call = plain.header("Content-Encoding", "gzip");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    charged(&gateway, &token, 400);
}

#[test]
fn a_model_is_asked_with_a_limit_that_binds_and_without_a_strange_query() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = crate::models::shop(&upstream);
    let mut call = crate::models::chat(json!({ "max_tokens": null, "max_completion_tokens": 1 }));
    let token = gateway.buy(&call);
    call.target = "/v1/chat/completions?best_of=20&api-version=1&key=x".to_owned();
    gateway.send(&call.with(&token)).expect(200);
    let asked = upstream.requests().pop().unwrap();
    assert_eq!(asked.target, "/v1/chat/completions?api-version=1");
    let body: serde_json::Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    assert_eq!(
        (&body["max_tokens"], &body["max_completion_tokens"]),
        (&json!(1), &json!(1))
    );
}

/// A gRPC server, over HTTP/1.1, for one call: it answers the first message with one of its own, waits
/// for the second, and ends with `status`. Where there is no second, it fails by itself.
fn grpc_server(listener: TcpListener, status: u32, waits: bool) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        read_chunk(&mut reader);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n\
                    Trailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"5\r\nfirst\r\n").unwrap();
        if waits {
            read_chunk(&mut reader);
        }
        let end = format!("0\r\ngrpc-status: {status}\r\n\r\n");
        stream.write_all(end.as_bytes()).unwrap();
        drop(reader.read(&mut [0; 1]));
    })
}

/// Reads a chunk, or that no more come.
fn read_chunk(reader: &mut impl BufRead) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let length = usize::from_str_radix(line.trim(), 16).unwrap();
    reader.read_exact(&mut vec![0; length + 2]).unwrap();
}

/// What is charged for a gRPC call whose server sends one message and then fails with `status`: after
/// the client said `second`, or by itself.
fn failed_after_a_message(status: u32, second: Option<&str>) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = start(Route::to("/grpc", &url).msat(PRICE).calls(2));
    let call = Call::post("/grpc/Talk", "")
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .header("Transfer-Encoding", "chunked");
    let token = gateway.buy(&Call::post("/grpc/Talk", "x"));
    let server = grpc_server(listener, status, second.is_some());
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    client.write(b"5\r\nhello\r\n").unwrap();
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"first");
    if let Some(second) = second {
        client.write(second.as_bytes()).unwrap();
    }
    drop(client.read_chunk());
    drop(client);
    server.join().unwrap();
    gateway.charged(&token)
}

#[test]
fn a_grpc_stream_that_its_client_spoils_after_messages_is_charged() {
    const INTERNAL: u32 = 13;
    const INVALID_ARGUMENT: u32 = 3;
    let (message, half_close) = (Some("5\r\nspoil\r\n"), Some("0\r\n\r\n"));
    assert_eq!(failed_after_a_message(INTERNAL, message), PRICE);
    assert_eq!(failed_after_a_message(INTERNAL, half_close), PRICE);
    assert_eq!(failed_after_a_message(INVALID_ARGUMENT, None), PRICE);
    assert_eq!(failed_after_a_message(INTERNAL, None), 0);
}

#[test]
fn a_grpc_call_that_fails_at_once_leaves_its_call() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream, "");
    let failed = json!({ "headers": [["content-type", "application/grpc"], ["grpc-status", "3"]] });
    let call = Call::post("/calls/say", failed.to_string());
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(told(&reply), (Some("0"), Some("20")));
    charged(&gateway, &token, 0);
}
