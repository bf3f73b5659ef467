//! Each way in which a metered answer can end, and what it costs then.

use std::io::{Read, Write};
use std::net::TcpListener;

use farebox_testkit::{ScriptedUpstream, StreamControl};
use serde_json::json;

use super::{INPUT, OUTPUT, chat, model, route, shop_with};
use crate::harness::{Call, Connection, Setup, TestGateway, Token};

/// A stream in the test's hands, sold.
struct Stage {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    token: Token,
    call: Call,
}

impl Stage {
    /// A shop whose upstream does what `script` says, and a token for a streamed chat.
    fn new(script: &str, more: &str) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let mut route = route(&format!("{}/{script}", upstream.url()));
        if !more.is_empty() {
            route = super::Route::to("/v1", &format!("{}/{script}", upstream.url()))
                .line(&format!("price = {{ model_tokens = {{ {more} }} }}"))
                .line("balance = { msat = 1000000 }");
        }
        let gateway = shop_with(route);
        let call = chat(json!({ "stream": true }));
        let token = gateway.buy(&call);
        let call = call.with(&token);
        Self {
            upstream,
            gateway,
            token,
            call,
        }
    }

    /// A paid request whose answer is in the test's hands.
    fn begin(&self) -> (Connection, StreamControl) {
        let control = self.upstream.stream("s");
        let mut connection = Connection::open(self.gateway.address).unwrap();
        connection.send(&self.call).unwrap();
        (connection, control)
    }

    /// What was seen of an answer: its bytes over four, and the request's.
    fn observed(&self, output_bytes: u64) -> u64 {
        let input = u64::try_from(self.call.body.len()).unwrap().div_ceil(4);
        input * INPUT + output_bytes.div_ceil(4) * OUTPUT
    }
}

fn piece(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
    )
}

fn usage(input: u64, output: u64) -> String {
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output });
    format!("data: {}\n\n", json!({ "choices": [], "usage": usage }))
}

const DONE: &str = "data: [DONE]\n\n";

/// Plays these events to a client that reads to the end.
fn play(stage: &Stage, events: &[String]) -> String {
    let (mut connection, control) = stage.begin();
    for event in events {
        assert!(control.send(event.clone()));
    }
    control.finish();
    connection.read_reply("POST").unwrap().text()
}

/// Plays these events, and breaks off when the client has had the last one.
fn play_and_cut(stage: &Stage, events: &[String]) {
    let (mut connection, control) = stage.begin();
    for event in events {
        assert!(control.send(event.clone()));
    }
    connection.read_head().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(events.last().unwrap().as_bytes()) {
        seen.extend(connection.read_chunk().unwrap().unwrap());
    }
    control.cut();
    assert!(connection.read_chunk().is_err());
}

#[test]
fn complete_with_usage_costs_the_usage() {
    let stage = Stage::new("stream/s", "");
    let events = [piece("hello"), usage(7, 9), DONE.to_owned()];
    let text = play(&stage, &events);
    assert_eq!(text, [&events[0], DONE].concat());
    assert_eq!(stage.gateway.charged(&stage.token), 7 * INPUT + 9 * OUTPUT);
}

#[test]
fn complete_without_usage_costs_what_was_seen_unless_the_seller_says_otherwise() {
    let events = [piece("hello there"), DONE.to_owned()];
    let stage = Stage::new("stream/s", "");
    play(&stage, &events);
    assert_eq!(stage.gateway.charged(&stage.token), stage.observed(11));
    stage.gateway.wait_for_log("\"ended\":\"usage_missing\"");
    let generous = Stage::new("stream/s", "usage_missing = \"nothing\"");
    play(&generous, &events);
    assert_eq!(generous.gateway.charged(&generous.token), 0);
    let strict = Stage::new("stream/s", "usage_missing = \"hold\"");
    play(&strict, &events);
    let bytes = u64::try_from(strict.call.body.len()).unwrap();
    let held = (bytes + 64) * INPUT + 50 * OUTPUT;
    assert_eq!(strict.gateway.charged(&strict.token), held);
}

#[test]
fn an_answer_that_the_upstream_cuts_costs_what_was_seen() {
    let stage = Stage::new("stream/s", "");
    play_and_cut(&stage, &[piece("abcdefgh")]);
    assert_eq!(stage.gateway.charged(&stage.token), stage.observed(8));
    stage.gateway.wait_for_log("\"ended\":\"cut_by_upstream\"");
    let generous = Stage::new("stream/s", "broken_off = \"nothing\"");
    play_and_cut(&generous, &[piece("abcdefgh")]);
    assert_eq!(generous.gateway.charged(&generous.token), 0);
}

#[test]
fn an_answer_that_is_cut_after_a_usage_costs_that_and_what_came_after_it() {
    let stage = Stage::new("stream/s", "");
    play_and_cut(&stage, &[usage(7, 9), piece("hello")]);
    let output = 9 + 5_u64.div_ceil(4);
    assert_eq!(
        stage.gateway.charged(&stage.token),
        7 * INPUT + output * OUTPUT
    );
}

#[test]
fn an_error_after_the_beginning_costs_what_came_before_it() {
    let stage = Stage::new("stream/s", "");
    let error = format!(
        "data: {}\n\n",
        json!({ "error": { "message": "a long, long text" } })
    );
    play(&stage, &[piece("word"), error.clone()]);
    assert_eq!(stage.gateway.charged(&stage.token), stage.observed(4));
    stage
        .gateway
        .wait_for_log("\"ended\":\"error_after_start\"");
    let nothing = Stage::new("stream/s", "");
    play(&nothing, &[error]);
    assert_eq!(nothing.gateway.charged(&nothing.token), 0);
}

#[test]
fn a_client_that_hangs_up_pays_for_what_was_sent() {
    let stage = Stage::new("stream/s", "");
    let (mut connection, control) = stage.begin();
    control.send(piece("abcdefgh"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    assert_eq!(stage.gateway.charged(&stage.token), stage.observed(8));
    stage.gateway.wait_for_log("\"ended\":\"cut_by_client\"");
}

#[test]
fn a_client_that_hangs_up_pays_the_true_usage_where_the_seller_waits_for_it() {
    let stage = Stage::new("stream/s", "drain = \"20s\"");
    let (mut connection, control) = stage.begin();
    control.send(piece("abcdefgh"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.send(usage(7, 30));
    control.send(DONE);
    control.finish();
    stage.gateway.wait_for_log("\"ended\":\"c");
    assert_eq!(stage.gateway.charged(&stage.token), 7 * INPUT + 30 * OUTPUT);
}

/// An upstream that answers one request with these bytes.
fn raw_upstream(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"}") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        connection.write_all(answer.as_bytes()).unwrap();
    });
    url
}

#[test]
fn the_last_event_of_a_stream_counts_and_passes_though_trailers_come_in_place_of_its_end() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let last = usage(7, 9);
    let answer = [
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTrailer: x-checksum\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        &chunk(&piece("hello")),
        &chunk(last.trim_end()),
        "0\r\nx-checksum: abc\r\n\r\n",
    ];
    let gateway = shop_with(route(&raw_upstream(answer.concat())));
    let call = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let token = gateway.buy(&call);
    let text = gateway.send(&call.with(&token)).expect(200).text();
    let cost = 7 * INPUT + 9 * OUTPUT;
    assert!(text.contains(&format!("\"cost_msat\":{cost}")), "{text}");
    assert_eq!(gateway.charged(&token), cost);
}

fn finish_reason() -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })
    )
}

#[test]
fn who_leaves_between_the_answer_and_its_usage_pays_the_usage() {
    let stage = Stage::new("stream/s", "");
    let (mut connection, control) = stage.begin();
    let last = finish_reason();
    control.send([piece("abcdefgh"), last.clone()].concat());
    connection.read_head().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(last.as_bytes()) {
        seen.extend(connection.read_chunk().unwrap().unwrap());
    }
    drop(connection);
    // Most of it was thought, and none of that was seen.
    control.send(usage(7, 40));
    control.send(DONE);
    control.finish();
    assert_eq!(stage.gateway.charged(&stage.token), 7 * INPUT + 40 * OUTPUT);
}

#[test]
fn an_upstream_that_does_not_tell_the_usage_then_is_not_waited_for_long() {
    let stage = Stage::new("stream/s", "");
    let (mut connection, control) = stage.begin();
    control.send([piece("abcdefgh"), finish_reason()].concat());
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    assert_eq!(stage.gateway.charged(&stage.token), stage.observed(8));
}

#[test]
fn a_client_that_always_hangs_up_early_gains_at_most_one_chunk() {
    const CHUNK: u64 = 16;
    let stage = Stage::new("stream/s", "");
    let mut charged = 0;
    for read in 1..=6 {
        let (mut connection, control) = stage.begin();
        control.send(piece(&"x".repeat(16)));
        connection.read_head().unwrap();
        let mut seen = connection.read_chunk().unwrap().unwrap();
        for _ in 1..read {
            control.send(piece(&"x".repeat(16)));
            seen.extend(connection.read_chunk().unwrap().unwrap());
        }
        drop(connection);
        control.wait_until_abandoned();
        let before = std::mem::replace(&mut charged, stage.gateway.charged(&stage.token));
        let had = u64::try_from(super::events(&String::from_utf8(seen).unwrap()).len()).unwrap();
        assert_eq!(had, read);
        assert!(charged - before >= stage.observed((had - 1) * CHUNK));
    }
}

#[test]
fn an_answer_that_never_began_costs_nothing() {
    for script in ["status/500", "refuse", "challenge/402", "status/429"] {
        let stage = Stage::new(script, "");
        let reply = stage.gateway.send(&stage.call);
        assert_ne!(reply.status, 200, "{script}");
        assert_eq!(stage.gateway.charged(&stage.token), 0, "{script}");
    }
}

#[test]
fn a_whole_answer_that_finds_no_memory_is_not_sold_and_the_next_one_finds_it_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = route(&format!("{}/stream/s", upstream.url())).line("max_body = \"8KiB\"");
    let setup = Setup::new().server("body_budget = \"256KiB\"");
    let gateway = TestGateway::start(setup.section(&model("small")).route(route));
    let mut call = chat(json!({}));
    call.target.push_str("?content-type=application/json");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let mut charged = 0;
    for (length, status) in [(100_000, 503), (30_000, 200), (40_000, 200)] {
        let control = upstream.stream("s");
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.send(&call).unwrap();
        let answer = json!({
            "choices": [{ "message": { "content": "x".repeat(length) } }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 9 }
        });
        control.send(answer.to_string());
        control.finish();
        assert_eq!(connection.read_reply("POST").unwrap().status, status);
        if status == 200 {
            charged += 7 * INPUT + 9 * OUTPUT;
        }
        assert_eq!(gateway.charged(&token), charged);
    }
}

#[test]
fn usage_above_the_hold_is_the_sellers_loss() {
    let stage = Stage::new("stream/s", "");
    play(&stage, &[piece("hello"), usage(7, 5000), DONE.to_owned()]);
    let bytes = u64::try_from(stage.call.body.len()).unwrap();
    let held = (bytes + 64) * INPUT + 50 * OUTPUT;
    assert_eq!(stage.gateway.charged(&stage.token), held);
    let used = 7 * INPUT + 5000 * OUTPUT;
    let house = stage.gateway.trial_balance()["house_msat"].clone();
    let loss = -i64::try_from(used - held).unwrap();
    assert_eq!(house["seller_loss"], loss, "{house}");
}

#[test]
fn a_killed_process_charges_what_it_had_recorded_and_no_more() {
    let mut stage = Stage::new("stream/s", "");
    let (mut connection, control) = stage.begin();
    control.send(piece("abcdefgh"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    stage.gateway.kill();
    stage.gateway.start_again(&[]);
    let charged = stage.gateway.charged(&stage.token);
    assert!(charged <= stage.observed(8), "{charged}");
}
