//! Why a credential does not pay, in the problem document and in `x-reason`.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Reply, Route, Setup, TestGateway, with_upstream};

#[track_caller]
fn refused_for(reply: Reply, status: u16, word: &str, spoken: &str) {
    let reply = reply.expect(status);
    assert_eq!(reply.find("x-reason"), Some(spoken));
    let problem = reply.json();
    assert_eq!(problem["reason"], word);
}

fn start(upstream: &ScriptedUpstream) -> TestGateway {
    let paid = |prefix: &str| Route::at(prefix, upstream).msat(1000).calls(2);
    let other = paid("/other").line("page = false");
    TestGateway::start(Setup::new().route(paid("/paid")).route(other))
}

#[test]
fn a_token_that_does_not_pay_is_told_why() {
    let (_upstream, gateway) = with_upstream(start);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let send = |call: &Call, token| gateway.send(&call.clone().with(token));

    refused_for(
        send(&Call::get("/other/a"), &token),
        402,
        "wrong_route",
        "wrong route",
    );
    refused_for(
        send(&Call::post("/paid/a", ""), &token),
        402,
        "wrong_method",
        "wrong method",
    );
    let over = token.attenuated("valid_until=1");
    refused_for(send(&call, &over), 402, "expired", "expired");
    for _ in 0..2 {
        let served = send(&call, &token).expect(200);
        assert_eq!(served.find("x-reason"), None);
    }
    let reply = send(&call, &token);
    assert_eq!(reply.json()["detail"], "quota exhausted");
    refused_for(reply, 402, "used_up", "quota exhausted");
    let forged = token.attenuated("count=9");
    refused_for(send(&call, &forged), 401, "unproven", "unproven");
    let garbled = call.header("Authorization", "L402 nonsense");
    refused_for(gateway.send(&garbled), 401, "malformed", "malformed");
}

#[test]
fn a_revoked_token_and_a_key_that_does_not_pay_are_told_why() {
    let (_upstream, gateway) = with_upstream(start);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    let revoke = format!("/admin/v1/tokens/{}/revoke", token.payment_hash());
    gateway.admin(Call::post(&revoke, ""));
    refused_for(
        gateway.send(&call.clone().with(&token)),
        402,
        "revoked",
        "revoked",
    );
    let key = format!("Bearer sk-farebox-{}", "0".repeat(64));
    let reply = gateway.send(&call.header("Authorization", &key));
    refused_for(reply, 401, "unknown_key", "unknown key");
}

#[test]
fn who_presents_nothing_is_not_told_that_it_was_wrong() {
    let (_upstream, gateway) = with_upstream(start);
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    assert_eq!(reply.find("x-reason"), None);
    assert_eq!(reply.json()["reason"], "no_credential");
}

#[test]
fn a_page_of_another_origin_may_read_the_reason() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream)
        .msat(1000)
        .line("cors = { origins = \"*\" }");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a").header("Origin", "https://a.example");
    let reply = gateway.send(&call.header("Authorization", "L402 x"));
    assert_eq!(reply.find("x-reason"), Some("malformed"));
    let exposed = reply.find("access-control-expose-headers").unwrap();
    assert!(exposed.contains("X-Reason"), "{exposed}");
}
