//! The harness itself: a test that relies on a broken client or upstream proves nothing.

use farebox_testkit::{Pattern, ScriptedUpstream};
use sha2::{Digest, Sha256};

use crate::harness::{Call, Connection};

#[test]
fn an_unknown_path_is_echoed_with_everything_that_arrived() {
    let upstream = ScriptedUpstream::start().unwrap();
    let call = Call::post("/any/path?q=%20a", "hello")
        .header("X-Twice", "1")
        .header("x-twice", "2");
    let seen = call.send(upstream.address()).expect(200).json();
    assert_eq!(seen["path"], "/any/path");
    assert_eq!(seen["query"], "q=%20a");
    assert_eq!(seen["body"], "hello");
    assert_eq!(upstream.requests()[0].all("x-twice"), ["1", "2"]);
    assert_eq!((upstream.count("/any/path"), upstream.total()), (1, 1));
}

#[test]
fn a_body_cut_by_the_upstream_is_an_error_and_not_a_short_answer() {
    let upstream = ScriptedUpstream::start().unwrap();
    for path in ["/cut/10/100", "/cut-chunked/10", "/refuse"] {
        assert!(
            Call::get(path).try_send(upstream.address()).is_err(),
            "{path}"
        );
    }
    let mut connection = Connection::open(upstream.address()).unwrap();
    connection.send(&Call::get("/cut/10/100")).unwrap();
    assert_eq!(
        connection.read_head().unwrap().find("content-length"),
        Some("100")
    );
    assert_eq!(connection.read_exactly(10).unwrap().len(), 10);
    assert!(connection.is_at_end());
}

#[test]
fn a_chunk_arrives_before_the_next_one_is_sent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let stream = upstream.stream("one");
    let mut connection = Connection::open(upstream.address()).unwrap();
    connection.send(&Call::get("/stream/one")).unwrap();
    connection.read_head().unwrap();
    for chunk in ["data: 1\n\n", "data: 2\n\n"] {
        assert!(stream.send(chunk));
        assert_eq!(connection.read_chunk().unwrap().unwrap(), chunk.as_bytes());
    }
    stream.finish();
    assert_eq!(connection.read_chunk().unwrap(), None);
}

#[test]
fn an_upstream_notices_a_reader_that_vanished() {
    let upstream = ScriptedUpstream::start().unwrap();
    let stream = upstream.stream("one");
    let mut connection = Connection::open(upstream.address()).unwrap();
    connection.send(&Call::get("/stream/one")).unwrap();
    connection.read_head().unwrap();
    drop(connection);
    stream.wait_until_abandoned();
    assert!(!stream.send("data: nobody\n\n"));
}

#[test]
fn requests_wait_at_a_gate_until_it_opens() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut connection = Connection::open(upstream.address()).unwrap();
    connection.send(&Call::get("/gate/one")).unwrap();
    upstream.wait_for("/gate/one", 1);
    upstream.open_gate("one");
    assert_eq!(
        connection.read_reply("GET").unwrap().text(),
        "the gate is open"
    );
    assert_eq!(Call::get("/gate/one").send(upstream.address()).status, 200);
}

#[test]
fn large_bodies_are_the_same_bytes_in_both_directions() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sent = Pattern::new(300_000).flatten().collect::<Vec<_>>();
    let sha256 = hex::encode(Sha256::digest(&sent));
    for path in ["/large/300000", "/large/300000?length"] {
        assert_eq!(Call::get(path).send(upstream.address()).body, sent);
    }
    let seen = Call::post("/digest", sent).send(upstream.address()).json();
    assert_eq!(
        (&seen["bytes"], &seen["sha256"]),
        (&300_000.into(), &sha256.into())
    );
}

#[test]
fn an_upgraded_connection_echoes_bytes() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut connection = Connection::open(upstream.address()).unwrap();
    let call = Call::get("/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "raw");
    connection.send(&call).unwrap();
    assert_eq!(connection.read_head().unwrap().status, 101);
    connection.write(b"ping").unwrap();
    assert_eq!(connection.read_exactly(4).unwrap(), b"ping");
    connection.close_write().unwrap();
    assert!(connection.is_at_end());
}

#[test]
fn trailers_are_read_behind_a_chunked_body() {
    let upstream = ScriptedUpstream::start().unwrap();
    let reply = Call::get("/trailers")
        .header("TE", "trailers")
        .send(upstream.address());
    assert_eq!(
        reply.trailers,
        [("x-checksum".to_owned(), "abc".to_owned())]
    );
}

#[test]
fn the_scripted_model_answers_the_same_question_the_same_way() {
    let upstream = ScriptedUpstream::start().unwrap();
    let ask = |extra: &str| {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"Why?"}}]{extra}}}"#);
        Call::post("/v1/chat/completions", body)
            .send(upstream.address())
            .expect(200)
    };
    let whole = ask("").json();
    assert_eq!(whole, ask("").json());
    let stream = ask(r#","stream":true,"stream_options":{"include_usage":true}"#).text();
    let events = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"));
    let events: Vec<serde_json::Value> = events
        .map(|data| serde_json::from_str(&format!("{{{data}")).unwrap())
        .collect();
    let pieces = events
        .iter()
        .filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    let text = &whole["choices"][0]["message"]["content"];
    assert_eq!(pieces.collect::<String>(), *text);
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    assert!(stream.ends_with("data: [DONE]\n\n"));
}
