//! What pays and what is private is in no log, no metric and no answer, however much is logged.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestGateway, Token};

#[test]
fn no_secret_reaches_the_logs_or_the_metrics() {
    let upstream = ScriptedUpstream::start().unwrap();
    let secret = "headers = { X-Api-Key = \"seller-secret\" }";
    let setup = Setup::new()
        .section("[log]\nlevel = \"trace,farebox=trace\"")
        .route(
            Route::at("/calls", &upstream)
                .msat(1000)
                .calls(5)
                .line(secret),
        )
        .route(Route::at("/free", &upstream).free());
    let mut gateway = TestGateway::start(setup);
    let call = Call::post("/calls/a?query-secret", "body-secret");
    let token = gateway.buy(&call);
    let wrong = Token {
        preimage: "ab".repeat(32),
        ..token.clone()
    };
    let inside = token.attenuated(&format!("preimage={}", token.preimage));
    let metadata = hex::encode(inside.macaroon().to_bytes());
    let keyed = call.clone().header("Idempotency-Key", "key-secret");
    for sent in [
        call.clone().with(&token),
        keyed.clone().with(&token),
        keyed.with(&token),
        call.clone().with(&wrong),
        call.clone().with(&token).with(&wrong),
        call.clone()
            .with(&token.attenuated("unknown=caveat-secret")),
        call.clone().header("Macaroon", &metadata),
        call.clone().header("X-Cashu", "cashuAcashu-secret"),
        call.header("Cookie", "cookie-secret"),
        Call::get("/free/a?query-secret").with(&token),
        Call::get("/free/a\u{1}query-secret").with(&token),
        Call::get("/nowhere?query-secret").with(&token),
        Call::post("/calls/status/500?query-secret", "body-secret").with(&token),
        Call::post("/calls/challenge/402", "body-secret").with(&token),
        Call::post("/calls/cut/1/2", "body-secret").with(&token),
    ] {
        drop(sent.try_send(gateway.address));
    }
    let metrics = gateway.admin(Call::get("/metrics")).expect(200).text();
    let admin = std::fs::read_to_string(gateway.folder().join("farebox.admin-token")).unwrap();
    gateway.stop();
    let written = format!("{metrics}{}", gateway.log()).to_ascii_lowercase();
    let header = &token.macaroon[..60];
    for (what, secret) in [
        ("a preimage", &*token.preimage),
        ("a wrong preimage", &wrong.preimage),
        ("a macaroon", header),
        ("a macaroon in hex", &metadata[..120]),
        ("the admin token", admin.trim()),
        ("something private", "-secret"),
    ] {
        let at = written.find(&secret.to_ascii_lowercase());
        let around = at.map(|at| &written[at.saturating_sub(200)..(at + 60).min(written.len())]);
        assert_eq!(around, None, "{what} was written");
    }
    assert!(written.contains("trace"), "nothing was traced");
}
