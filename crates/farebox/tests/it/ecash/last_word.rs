//! At a price by use the rest of the change is told with the end of the answer.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::TestMint;
use serde_json::json;

use super::faults::{chat, mint, models, parts, pick_up, section};
use super::with_token;
use crate::harness::{Call, Reply, Route, Setup, TestGateway};
use crate::rules::eventually;

fn streamed(max_tokens: u64) -> Call {
    let body = json!({
        "model": "m", "stream": true, "max_tokens": max_tokens,
        "messages": [{ "role": "user", "content": "one two three" }],
    });
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

/// A seller of bytes, of which 100 cost an msat.
fn bytes(mint: &TestMint, upstream: &ScriptedUpstream) -> TestGateway {
    let price = "price = { per_byte = { msat = \"0.01\" }, at_most = { sat = 2 } }";
    let route = Route::at("/bytes", upstream)
        .line(price)
        .line("methods = [\"cashu\"]");
    let setup = Setup::new().without_lightning().section(&section(mint, ""));
    TestGateway::start(setup.route(route))
}

fn worth(mint: &TestMint, told: &[&str]) -> u64 {
    told.iter().map(|part| mint.value_of(part).unwrap()).sum()
}

#[test]
fn a_stream_of_events_tells_it_in_a_comment_before_its_last_event() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = models(&mint, &upstream);
    // The second has no room for more than it holds: nothing is told in its head.
    for (sent, in_head) in [(40_000, true), (600, false)] {
        let token = mint.token("msat", sent);
        let reply = gateway
            .send(&with_token(&streamed(500), &token))
            .expect(200);
        let text = reply.text();
        let mut events = text.trim_end().rsplit("\n\n");
        assert_eq!(events.next(), Some("data: [DONE]"), "{text}");
        let comment = events.next().unwrap().strip_prefix(": x-cashu ");
        let comment = comment.expect("a comment").trim();
        let mut told: Vec<_> = reply.find("x-cashu").into_iter().collect();
        assert_eq!(told.len(), usize::from(in_head));
        told.push(comment);
        let back = worth(&mint, &told);
        assert!(back < sent, "{back}");
        assert_eq!(parts(&gateway, &token, back, &mint), told);
        for part in told {
            mint.redeem(part).unwrap();
        }
    }
    mint.assert_sound();
}

#[test]
fn another_answer_tells_it_in_a_trailer_to_a_client_that_reads_trailers() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = bytes(&mint, &upstream);
    let token = mint.token("msat", 4_000);
    let call = with_token(&Call::get("/bytes/large/20000"), &token);
    let call = call.header("TE", "trailers").header("Connection", "TE");
    let reads: Reply = gateway.send(&call).expect(200);
    assert_eq!(reads.find("trailer"), Some("x-cashu"));
    let [(name, trailer)] = &reads.trailers[..] else {
        panic!("{:?}", reads.trailers);
    };
    assert_eq!(name, "x-cashu");
    let told = [reads.find("x-cashu").unwrap(), trailer];
    assert_eq!(worth(&mint, &told), 4_000 - 200);
    assert_eq!(parts(&gateway, &token, 4_000 - 200, &mint), told);
}

#[test]
fn who_reads_no_trailers_fetches_it() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = bytes(&mint, &upstream);
    let token = mint.token("msat", 4_000);
    let call = with_token(&Call::get("/bytes/large/20000"), &token);
    let reply = gateway.send(&call).expect(200);
    assert_eq!((reply.find("trailer"), reply.trailers.len()), (None, 0));
    parts(&gateway, &token, 4_000 - 200, &mint);
    pick_up(&gateway, &token).expect(200);
}

#[test]
fn what_is_too_long_for_a_header_is_told_there_in_its_largest_coins_and_the_others_are_fetched() {
    const SENT: u64 = 1_000_001;
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let gateway = models(&mint, &upstream);
    let token = mint.token("msat", SENT);
    let reply = gateway.send(&with_token(&chat(20_000), &token)).expect(200);
    let charged: u64 = reply.find("farebox-charge-msat").unwrap().parse().unwrap();
    let head = reply.find("x-cashu").expect("change in the head");
    assert!(head.len() <= 3 * 1024, "{}", head.len());
    let early = mint.value_of(head).unwrap();
    assert!(early < SENT - charged && early > SENT * 99 / 100, "{early}");
    let parts = parts(&gateway, &token, SENT - charged, &mint);
    assert_eq!((parts.len(), &*parts[0]), (2, head));
    for part in &parts {
        mint.redeem(part).unwrap();
    }
    // What nobody has a claim on is the seller's.
    let read = || {
        let all = gateway
            .admin(Call::get("/admin/v1/ecash"))
            .expect(200)
            .json();
        (
            all["stock"][0]["free_msat"].clone(),
            all["stock"][0]["reserved_msat"].clone(),
        )
    };
    let wanted = (charged.into(), 0.into());
    assert_eq!(eventually(read, |now| *now == wanted), wanted);
    mint.assert_sound();
}
