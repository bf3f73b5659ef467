//! Answers whose usage is told, framed or left out in ways that made them cheap: each costs what it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Connection, Route, Setup, TestGateway, farebox, with_upstream};

/// msat for a token read, and for one written.
const INPUT: u64 = 100;
const OUTPUT: u64 = 1000;

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    shop_at(&format!("{}/stream/s", upstream.url()))
}

fn shop_at(upstream_url: &str) -> TestGateway {
    let model = format!(
        "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = {INPUT}\n\
         output = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
    );
    let route = Route::to("/v1", upstream_url)
        .line("price = { model_tokens = { tokenizer = \"bytes\" } }")
        .line("balance = { msat = 5000000 }");
    TestGateway::start(Setup::new().section(&model).route(route))
}

fn chat(more: Value) -> Call {
    let mut body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": 500
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

/// What is charged for a stream of these pieces, of which each has reached the client before the next
/// is sent. The client leaves after the last one where the stream `ends` not.
fn charged(pieces: &[String], ends: bool) -> u64 {
    ended(pieces, ends).0
}

/// The same, and the line of the log.
fn ended(pieces: &[String], ends: bool) -> (u64, String) {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let call = chat(json!({ "stream": true }));
    let token = gateway.buy(&call);
    let control = upstream.stream("s");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&call.with(&token)).unwrap();
    for (at, piece) in pieces.iter().enumerate() {
        assert!(control.send(piece.clone()));
        if at == 0 {
            connection.read_head().unwrap();
        }
        if !piece.contains("usage") {
            connection.read_chunk().unwrap().unwrap();
        }
    }
    if ends {
        control.finish();
        while connection.read_chunk().unwrap().is_some() {}
    } else {
        drop(connection);
    }
    let line = gateway.wait_for_log("\"ended\"");
    (gateway.charged(&token), line)
}

fn delta(delta: &Value) -> String {
    let event = json!({ "choices": [{ "index": 0, "delta": delta }] });
    format!("data: {event}\n\n")
}

#[test]
fn events_without_empty_lines_between_them_pass_as_they_come_and_cost_their_usage() {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 6 } });
    let pieces = [
        delta(&json!({ "content": "Hello there" })),
        delta(&json!({ "content": ", friend." })),
        format!("data: {usage}\n\n"),
        "data: [DONE]\n\n".to_owned(),
    ];
    let pieces = pieces.map(|piece| piece.replace("\n\n", "\n"));
    assert_eq!(charged(&pieces, true), 12 * INPUT + 6 * OUTPUT);
}

#[test]
fn output_in_members_that_nobody_knows_is_not_free_for_who_leaves_early() {
    let call = json!([{ "index": 0, "custom": { "input": "x".repeat(4000) } }]);
    let prompt = u64::try_from(chat(json!({ "stream": true })).body.len()).unwrap();
    let prompt = prompt.div_ceil(4) * INPUT;
    let tools = [delta(&json!({ "tool_calls": call }))];
    assert!(charged(&tools, false) >= prompt + 400 * OUTPUT);
    let role = [delta(&json!({ "role": "assistant" }))];
    assert_eq!(charged(&role, false), prompt);
    // By a comment a server says that it has not begun yet.
    assert_eq!(charged(&[": ping\n\n".to_owned()], false), 0);
}

#[test]
fn a_surplus_of_the_total_is_no_output() {
    let usage = json!({ "prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 417,
                        "cache_read_input_tokens": 400, "cache_creation_input_tokens": 0 });
    let usage = json!({ "choices": [], "usage": usage });
    let pieces = [
        delta(&json!({ "content": "hi" })),
        format!("data: {usage}\n\n"),
    ];
    assert_eq!(charged(&pieces, true), 408 * INPUT + 9 * OUTPUT);
}

#[test]
fn what_a_stream_says_after_its_last_report_is_charged_and_told_as_untold() {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 6 } });
    let pieces = [
        delta(&json!({ "content": "Hello" })),
        format!("data: {usage}\n\n"),
        delta(&json!({ "content": "and all the rest" })),
        "data: [DONE]\n\n".to_owned(),
    ];
    let (charged, ended) = ended(&pieces, true);
    assert_eq!(charged, 12 * INPUT + (6 + 4) * OUTPUT);
    assert!(ended.contains("\"ended\":\"usage_missing\""), "{ended}");
}

#[test]
fn digits_are_not_cheaper_than_the_tokens_that_they_are() {
    // Each comes in one event, and nobody tells the usage.
    let prompt = u64::try_from(chat(json!({ "stream": true })).body.len()).unwrap();
    let prompt = prompt.div_ceil(4) * INPUT;
    for (text, tokens) in [
        ("3141592653589793", 16),
        ("aGVsbG8gd29ybGQh", 12),
        ("中文字", 9),
        ("plain old words.", 4),
    ] {
        let pieces = [
            delta(&json!({ "content": text })),
            "data: [DONE]\n\n".to_owned(),
        ];
        let (charged, _) = ended(&pieces, true);
        assert!(charged >= prompt + tokens * OUTPUT, "{text}: {charged}");
        assert!(
            charged <= prompt + (tokens + 3) * OUTPUT,
            "{text}: {charged}"
        );
    }
}

#[test]
fn a_limit_of_zero_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let reply = gateway.send(&chat(json!({ "max_tokens": 0 })));
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("max_tokens must be 1 at least"));
}

/// An upstream that answers one request, with each piece when it is told to.
struct Stepwise {
    url: String,
    go: mpsc::Sender<()>,
    asked: mpsc::Receiver<String>,
}

impl Stepwise {
    fn start(kind: Option<&'static str>, pieces: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ((go, gone), (tell, asked)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            tell.send(read_request(&connection)).unwrap();
            let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n"));
            let kind = kind.unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n");
            connection.write_all(head.as_bytes()).unwrap();
            for piece in pieces {
                gone.recv().unwrap();
                let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                connection.write_all(chunk.as_bytes()).unwrap();
            }
            connection.write_all(b"0\r\n\r\n").unwrap();
        });
        Self { url, go, asked }
    }
}

fn read_request(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// A shop with prices of a cache, too.
fn shop_of(upstream: &str, more: &str) -> TestGateway {
    let model = format!(
        "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = {INPUT}\n\
         cached_input = 10\ncache_write = 125\noutput = {OUTPUT}\ncontext_tokens = 20000\n\
         max_output_tokens = 8000"
    );
    let route = Route::to("/v1", upstream)
        .line(&format!(
            "price = {{ model_tokens = {{ tokenizer = \"bytes\"{more} }} }}"
        ))
        .line("balance = { sat = 20000 }");
    TestGateway::start(Setup::new().section(&model).route(route))
}

const REPORT: &str = "data: {\"choices\":[],\"usage\":\
    {\"prompt_tokens\":20,\"completion_tokens\":2,\"total_tokens\":22}}\n\n";

fn told() -> Vec<String> {
    vec![
        delta(&json!({ "content": "Hello" })),
        delta(&json!({ "content": " world" })),
        REPORT.to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ]
}

#[test]
fn a_stream_under_another_content_type_passes_as_it_comes_and_costs_its_usage() {
    let kinds = [
        Some("application/json"),
        Some("text/plain; charset=utf-8"),
        Some("text/readystream"),
        None,
    ];
    for kind in kinds {
        let upstream = Stepwise::start(kind, told());
        let gateway = shop_of(&upstream.url, "");
        let call = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
        let token = gateway.buy(&call);
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.send(&call.with(&token)).unwrap();
        for (at, piece) in told().iter().enumerate() {
            upstream.go.send(()).unwrap();
            if at == 0 {
                assert_eq!(connection.read_head().unwrap().status, 200);
            }
            // The report comes with what it cost.
            let came = connection.read_chunk().unwrap().unwrap();
            assert!(piece == REPORT || came == piece.as_bytes(), "{kind:?}");
        }
        while connection.read_chunk().unwrap().is_some() {}
        gateway.wait_for_log("\"ended\":\"complete\"");
        assert_eq!(gateway.charged(&token), 20 * INPUT + 2 * OUTPUT, "{kind:?}");
    }
}

#[test]
fn a_server_that_refuses_stream_options_is_not_sent_any() {
    let upstream = Stepwise::start(Some("text/event-stream"), told());
    let gateway = shop_of(&upstream.url, ", ask_for_usage = false");
    let call = chat(json!({ "stream": true }));
    let token = gateway.buy(&call);
    told().iter().for_each(|_| upstream.go.send(()).unwrap());
    gateway.send(&call.with(&token)).expect(200);
    let asked = upstream.asked.recv().unwrap();
    assert!(!asked.contains("stream_options"), "{asked}");
    assert_eq!(gateway.charged(&token), 20 * INPUT + 2 * OUTPUT);
}

/// What is charged for a long prompt to which these reports are told, one after the other.
fn charged_for(path: &str, events: &[Value]) -> u64 {
    let mut pieces: Vec<_> = events
        .iter()
        .map(|event| match event["type"].as_str() {
            Some(kind) => format!("event: {kind}\ndata: {event}\n\n"),
            None => format!("data: {event}\n\n"),
        })
        .collect();
    if path.ends_with("completions") {
        pieces.push("data: [DONE]\n\n".to_owned());
    }
    let upstream = Stepwise::start(Some("text/event-stream"), pieces.clone());
    let gateway = shop_of(&upstream.url, "");
    let words = "word ".repeat(9_000);
    let body = json!({ "model": "m", "max_tokens": 200, "stream": true,
                       "messages": [{ "role": "user", "content": words }] });
    let call = Call::post(path, body.to_string()).header("Content-Type", "application/json");
    let token = gateway.buy(&call);
    pieces.iter().for_each(|_| upstream.go.send(()).unwrap());
    gateway.send(&call.with(&token)).expect(200);
    gateway.charged(&token)
}

#[test]
fn a_larger_first_estimate_does_not_beat_the_final_report() {
    let text = json!({ "type": "content_block_delta", "index": 0,
                       "delta": { "type": "text_delta", "text": "ok" } });
    let messages = |first: Value, last: Value| {
        let start = json!({ "type": "message_start", "message": { "usage": first } });
        let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
                          "usage": last });
        let stop = json!({ "type": "message_stop" });
        charged_for("/v1/messages", &[start, text.clone(), end, stop])
    };
    let last = json!({ "input_tokens": 1200, "cache_read_input_tokens": 8000,
                       "cache_creation_input_tokens": 0, "output_tokens": 25 });
    let first = json!({ "input_tokens": 12000, "output_tokens": 0 });
    assert_eq!(messages(first, last), 225_000);
    let first = || json!({ "input_tokens": 1200, "output_tokens": 0 });
    let zero = json!({ "input_tokens": 0, "output_tokens": 25 });
    assert_eq!(messages(first(), zero), 145_000);
    assert_eq!(messages(first(), json!({ "output_tokens": 25 })), 145_000);
    let chunk = |prompt: u64, completion: u64| {
        let usage = json!({ "prompt_tokens": prompt, "completion_tokens": completion,
                            "total_tokens": prompt + completion });
        json!({ "choices": [{ "index": 0, "delta": { "content": "ok" } }], "usage": usage })
    };
    let chat = charged_for("/v1/chat/completions", &[chunk(12000, 1), chunk(1200, 2)]);
    assert_eq!(chat, 122_000);
}

#[test]
fn a_cache_write_of_five_minutes_costs_the_price_of_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let [published, list] = ["published.json", "prices.json"].map(|name| folder.path().join(name));
    let prices = json!({ "claude-opus-4-6": {
        "input_cost_per_token": 5e-06, "output_cost_per_token": 2.5e-05,
        "cache_read_input_token_cost": 5e-07, "cache_creation_input_token_cost": 6.25e-06,
        "cache_creation_input_token_cost_above_1hr": 1e-05, "max_input_tokens": 200_000,
        "max_output_tokens": 32_000, "mode": "chat" } });
    std::fs::write(&published, prices.to_string()).unwrap();
    let mut import = farebox(["prices", "import", "litellm"]);
    let imported = import
        .arg(&published)
        .arg("-o")
        .arg(&list)
        .output()
        .unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let (upstream, gateway) = with_upstream(|upstream| {
        let price = format!("price = {{ model_tokens = {{ prices = {list:?} }} }}");
        let route = Route::at("/v1", upstream).line(&price);
        let route = route.line("balance = { sat = 20000 }");
        let rates = "[rates.fixed]\nusd = \"100000\"";
        TestGateway::start(Setup::new().section(rates).route(route))
    });
    let usage = json!({ "input_tokens": 10, "output_tokens": 5,
        "cache_creation_input_tokens": 10_000, "cache_read_input_tokens": 0,
        "cache_creation": { "ephemeral_5m_input_tokens": 10_000, "ephemeral_1h_input_tokens": 0 } });
    let answer = json!({ "type": "message", "role": "assistant", "usage": usage,
        "content": [{ "type": "text", "text": "ok" }], "stop_reason": "end_turn" });
    upstream.will_tell("/v1/messages", "application/json", answer.to_string());
    for kept in [
        json!({ "type": "ephemeral" }),
        json!({ "type": "ephemeral", "ttl": "5m" }),
    ] {
        let text = json!({ "type": "text", "text": "word ".repeat(9_600), "cache_control": kept });
        let body = json!({ "model": "claude-opus-4-6", "max_tokens": 100,
                           "messages": [{ "role": "user", "content": [text] }] });
        let call = Call::post("/v1/messages", body.to_string());
        let call = call.header("Content-Type", "application/json");
        let token = gateway.buy(&call);
        gateway.send(&call.with(&token)).expect(200);
        assert_eq!(gateway.charged(&token), 62_675);
    }
}

#[test]
fn an_answer_of_a_model_that_is_no_success_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    for status in [302, 304, 307] {
        let gateway = shop_at(&format!("{}/status/{status}", upstream.url()));
        let call = chat(json!({}));
        let token = gateway.buy(&call);
        gateway.send(&call.with(&token)).expect(status);
        assert_eq!(gateway.charged(&token), 0, "{status}");
    }
}
