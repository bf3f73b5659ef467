//! Upstreams that compress what they were asked to send plain.

use std::io::Write;

use farebox_testkit::{ScriptedUpstream, StreamControl};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{INPUT, OUTPUT, chat, events, route, shop_with};
use crate::harness::{Call, Connection, TestGateway, Token};

/// A shop whose upstream answers in the test's hands.
struct Stage {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    token: Token,
}

impl Stage {
    fn new() -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let gateway = shop_with(route(&format!("{}/stream/s", upstream.url())));
        let token = gateway.buy(&chat(json!({})));
        Self {
            upstream,
            gateway,
            token,
        }
    }

    /// A paid request whose answer has these headers.
    fn begin(&self, headers: &str) -> (Connection, StreamControl, Call) {
        let mut call = chat(json!({ "stream": true }))
            .header("Accept-Encoding", "gzip")
            .with(&self.token);
        call.target = format!("{}?{headers}", call.target);
        let control = self.upstream.stream("s");
        let mut connection = Connection::open(self.gateway.address).unwrap();
        connection.send(&call).unwrap();
        (connection, control, call)
    }
}

fn piece(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
    )
}

const END: &str = concat!(
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\n",
    "data: [DONE]\n\n"
);

/// Compresses each piece so that it can be read at once.
struct Gzip(GzEncoder<Vec<u8>>);

impl Gzip {
    fn new() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::default()))
    }

    fn flushed(&mut self, text: &str) -> Vec<u8> {
        self.0.write_all(text.as_bytes()).unwrap();
        self.0.flush().unwrap();
        std::mem::take(self.0.get_mut())
    }

    fn whole(text: &str) -> Vec<u8> {
        let mut gzip = Self::new();
        let mut bytes = gzip.flushed(text);
        bytes.extend(gzip.0.finish().unwrap());
        bytes
    }
}

#[test]
fn a_compressed_stream_passes_event_by_event_in_the_clear_and_is_charged_its_usage() {
    let stage = Stage::new();
    let (mut connection, control, _) = stage.begin("content-encoding=gzip&etag=%22a%22");
    let mut gzip = Gzip::new();
    for text in ["one", "two", "three"] {
        let event = piece(text);
        control.send(gzip.flushed(&event));
        if text == "one" {
            let head = connection.read_head().unwrap();
            assert_eq!(head.status, 200);
            assert!(head.all("content-encoding").is_empty());
            assert!(head.all("content-length").is_empty());
        }
        let mut seen = Vec::new();
        while seen.len() < event.len() {
            seen.extend(connection.read_chunk().unwrap().unwrap());
        }
        assert_eq!(String::from_utf8(seen).unwrap(), event);
    }
    control.send(gzip.flushed(END));
    control.send(gzip.0.finish().unwrap());
    control.finish();
    let mut rest = Vec::new();
    while let Some(chunk) = connection.read_chunk().unwrap() {
        rest.extend(chunk);
    }
    assert_eq!(String::from_utf8(rest).unwrap(), "data: [DONE]\n\n");
    assert_eq!(stage.gateway.charged(&stage.token), 7 * INPUT + 9 * OUTPUT);
    let asked = stage.upstream.requests();
    assert_eq!(asked[0].all("accept-encoding"), ["identity"]);
}

#[test]
fn a_compressed_stream_that_ends_before_its_compressor_did_is_cut_by_the_upstream() {
    let stage = Stage::new();
    let (mut connection, control, call) = stage.begin("content-encoding=gzip");
    control.send(Gzip::new().flushed(&piece("abcdefgh")));
    control.finish();
    connection.read_head().unwrap();
    connection.read_chunk().unwrap().unwrap();
    assert!(connection.read_chunk().is_err());
    let input = u64::try_from(call.body.len()).unwrap().div_ceil(4);
    assert_eq!(
        stage.gateway.charged(&stage.token),
        input * INPUT + 2 * OUTPUT
    );
    stage.gateway.wait_for_log("\"ended\":\"cut_by_upstream\"");
}

#[test]
fn a_whole_compressed_answer_is_given_in_the_clear_with_its_cost() {
    let stage = Stage::new();
    let headers = "content-encoding=gzip&content-type=application/json";
    let (mut connection, control, _) = stage.begin(headers);
    let answer = json!({
        "choices": [{ "message": { "content": "hello ".repeat(20_000) } }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 9 }
    });
    let bytes = Gzip::whole(&answer.to_string());
    let (first, second) = bytes.split_at(bytes.len() / 2);
    control.send(first.to_vec());
    control.send(second.to_vec());
    control.finish();
    let reply = connection.read_reply("POST").unwrap().expect(200);
    assert!(reply.all("content-encoding").is_empty());
    assert_eq!(reply.all("content-length"), [reply.body.len().to_string()]);
    let cost = 7 * INPUT + 9 * OUTPUT;
    assert_eq!(reply.json()["usage"]["cost_msat"], cost);
    assert_eq!(reply.json()["choices"], answer["choices"]);
    assert_eq!(stage.gateway.charged(&stage.token), cost);
}

#[test]
fn a_whole_compressed_answer_that_cannot_be_read_is_not_sold() {
    let mut stage = Stage::new();
    stage.gateway.expect_alarms();
    let whole = Gzip::whole(&json!({ "usage": { "prompt_tokens": 7 } }).to_string());
    let mut damaged = whole.clone();
    damaged[12] ^= 0xff;
    let bomb = Gzip::whole(&" ".repeat(64 * 1024 * 1024));
    for (name, bytes) in [
        ("cut", whole[..whole.len() - 3].to_vec()),
        ("damaged", damaged),
        ("bomb", bomb),
    ] {
        let headers = "content-encoding=gzip&content-type=application/json";
        let (mut connection, control, _) = stage.begin(headers);
        control.send(bytes);
        control.finish();
        let reply = connection.read_reply("POST").unwrap();
        assert_eq!(reply.status, 502, "{name}");
        assert_eq!(stage.gateway.charged(&stage.token), 0, "{name}");
    }
}

#[test]
fn an_encoding_that_is_not_known_or_not_the_only_one_is_not_sold() {
    let mut stage = Stage::new();
    stage.gateway.expect_alarms();
    for encoding in ["compress", "br", "zstd", "gzip,gzip", "gzip,%20br"] {
        let (mut connection, control, _) = stage.begin(&format!("content-encoding={encoding}"));
        control.send("whatever");
        let reply = connection.read_reply("POST").unwrap();
        assert_eq!(reply.status, 502, "{encoding}");
        control.wait_until_abandoned();
        assert_eq!(stage.gateway.charged(&stage.token), 0, "{encoding}");
    }
}

#[test]
fn an_answer_that_says_identity_is_plain() {
    let stage = Stage::new();
    let (mut connection, control, _) = stage.begin("content-encoding=identity");
    control.send(piece("hello"));
    control.send(END);
    control.finish();
    let text = connection.read_reply("POST").unwrap().expect(200).text();
    assert_eq!(events(&text).len(), 1);
    assert_eq!(stage.gateway.charged(&stage.token), 7 * INPUT + 9 * OUTPUT);
}
