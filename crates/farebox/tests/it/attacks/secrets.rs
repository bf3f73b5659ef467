//! Keys where an upstream would read them, and headers by which a client would speak to it past us.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::shop;
use crate::harness::{Call, Connection, Route, Setup, TestGateway, with_upstream};
use crate::keys::buy;

/// Whether any line that reached the upstream holds `text`.
#[track_caller]
fn assert_unseen(upstream: &ScriptedUpstream, text: &str) {
    for request in upstream.requests() {
        let leaks = request.headers.iter().any(|(_, line)| line.contains(text));
        assert!(!leaks, "{request:?}");
    }
}

#[test]
fn a_key_pays_where_servers_keys_go_and_reaches_no_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    let key = buy(&gateway, 100_000).key;
    for name in [
        "api-key",
        "x-goog-api-key",
        "openai-api-key",
        "x-auth-token",
        "apikey",
        "authorization",
    ] {
        for path in ["/free/a", "/calls/a"] {
            gateway
                .send(&Call::get(path).header(name, &key))
                .expect(200);
        }
    }
    assert_eq!(upstream.total(), 12);
    assert_unseen(&upstream, "sk-farebox-");
}

#[test]
fn a_key_in_any_other_header_pays_for_nothing_and_reaches_no_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    let key = buy(&gateway, 100_000).key;
    let token = gateway.buy(&Call::get("/calls/a"));
    let cookie = format!("a=1; key={key}");
    for (name, line) in [("X-Mine", &key), ("Cookie", &cookie), ("User-Agent", &key)] {
        gateway
            .send(&Call::get("/free/a").header(name, line))
            .expect(200);
        let call = Call::get("/calls/a").header(name, line);
        let reply = gateway.send(&call).expect(401);
        assert_eq!(reply.json()["reason"], "misplaced");
        gateway.send(&call.with(&token)).expect(401);
    }
    assert_eq!(upstream.total(), 3);
    assert_unseen(&upstream, "sk-farebox-");
}

#[test]
fn a_key_in_the_address_is_refused_and_written_nowhere() {
    let (upstream, gateway) = with_upstream(shop);
    let key = buy(&gateway, 100_000).key;
    let (hidden, token) = (key.replace('-', "%2D"), gateway.buy(&Call::get("/calls/a")));
    for target in [
        format!("/free/a?key={key}"),
        format!("/calls/a?a=1&token={hidden}"),
        format!("/free/{hidden}"),
        format!("/calls/{key}/a"),
        format!("/.farebox/receipts/{key}"),
    ] {
        let reply = gateway.send(&Call::get(&target).with(&token)).expect(401);
        assert_eq!(reply.json()["reason"], "in_address");
        assert!(!reply.text().contains(&key));
    }
    assert_eq!(upstream.total(), 0);
    assert_eq!(gateway.charged(&token), 0);
    gateway.wait_for_metric("farebox_requests_total", &["outcome=\"refused\""], 5);
    assert!(!gateway.log().contains(&key["sk-farebox-".len()..]));
}

#[test]
fn a_key_in_a_trailer_reaches_no_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    let key = buy(&gateway, 100_000).key;
    let mut call = Call::new("POST", "/free/a")
        .header("Transfer-Encoding", "chunked")
        .header("Trailer", "X-Checksum, X_Original_Url");
    let trailers = format!("X-Checksum: {key}\r\nX_Original_Url: /paid\r\n");
    call.body = format!("1\r\nx\r\n0\r\n{trailers}\r\n").into_bytes();
    gateway.send(&call).expect(200);
    assert_eq!(upstream.total(), 1);
    assert_unseen(&upstream, "sk-farebox-");
}

#[test]
fn a_key_among_subprotocols_pays_and_only_the_others_go_on() {
    let (upstream, gateway) = with_upstream(shop);
    let key = buy(&gateway, 100_000).key;
    let offered = format!("realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1");
    for path in ["/free/upgrade", "/calls/upgrade"] {
        let call = Call::websocket(path).header("Sec-WebSocket-Protocol", &offered);
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.send(&call).unwrap();
        assert_eq!(connection.read_head().unwrap().status, 101, "{path}");
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        let left = request.all("sec-websocket-protocol");
        assert_eq!(left, ["realtime, openai-beta.realtime-v1"]);
    }
    assert_unseen(&upstream, "sk-farebox-");
}

#[test]
fn a_dummy_credential_does_not_go_along_with_the_seller_s() {
    let upstream = ScriptedUpstream::start().unwrap();
    let bearer = "headers = { Authorization = \"Bearer seller\" }";
    let named = "headers = { X-Api-Key = \"seller\" }";
    let setup = Setup::new()
        .route(
            Route::at("/bearer", &upstream)
                .msat(1000)
                .calls(5)
                .line(bearer),
        )
        .route(
            Route::at("/named", &upstream)
                .msat(1000)
                .calls(5)
                .line(named),
        )
        .route(Route::at("/own", &upstream).free());
    let gateway = TestGateway::start(setup);
    let key = buy(&gateway, 100_000).key;
    let paid = format!("Bearer {key}");
    let call = Call::get("/bearer/a").header("Authorization", &paid);
    gateway.send(&call.header("X-Api-Key", "dummy")).expect(200);
    let call = Call::get("/named/a").header("X-Api-Key", &key);
    gateway
        .send(&call.header("Authorization", "Bearer dummy"))
        .expect(200);
    let token = gateway.buy(&Call::get("/bearer/a"));
    let call = Call::get("/bearer/a").with(&token);
    gateway.send(&call.header("Api-Key", "dummy")).expect(200);
    assert_unseen(&upstream, "dummy");
    let own = Call::get("/own/a").header("X-Api-Key", "mine");
    gateway.send(&own).expect(200);
    assert_eq!(
        upstream.requests().last().unwrap().all("x-api-key"),
        ["mine"]
    );
}

const SPELLED_FOR_CGI: [&str; 6] = [
    "X_HTTP_Method_Override",
    "X_Original_URL",
    "X_Forwarded_For",
    "X_Api_Key",
    "X.Original.URL",
    "Farebox_Charge_Msat",
];

#[test]
fn names_that_cgi_reads_as_others_do_not_pass() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = || {
        let secret = "headers = { X-Api-Key = \"seller\" }";
        Route::at("/free", &upstream).free().line(secret)
    };
    let call = SPELLED_FOR_CGI
        .iter()
        .fold(Call::get("/free/a"), |call, name| call.header(name, "evil"));
    let call = call.header("Trace_Id", "kept");
    let gateway = TestGateway::start(Setup::new().route(route()));
    gateway.send(&call).expect(200);
    assert_unseen(&upstream, "evil");
    assert_unseen(&upstream, "kept");

    let keeping = Setup::new()
        .server("underscores_in_headers = true")
        .route(route());
    TestGateway::start(keeping).send(&call).expect(200);
    assert_unseen(&upstream, "evil");
    let seen = upstream.requests();
    assert_eq!(seen.last().unwrap().all("trace_id"), ["kept"]);
}

#[test]
fn trace_is_refused_in_small_letters_too_and_other_methods_are_compared_as_sent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let reads = Route::at("/reads", &upstream).line("http_methods = [\"GET\"]");
    let setup = Setup::new().route(Route::at("/free", &upstream).free());
    let gateway = TestGateway::start(setup.route(reads.free()));
    for method in ["TRACE", "trace", "Trace"] {
        gateway.send(&Call::new(method, "/free/a")).expect(405);
    }
    gateway.send(&Call::new("get", "/reads/a")).expect(405);
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::new("get", "/free/a")).expect(200);
    assert_eq!(upstream.requests()[0].method, "get");
}

#[test]
fn a_model_s_call_carries_no_header_that_could_lead_it_elsewhere() {
    let (upstream, gateway) = with_upstream(crate::models::shop);
    let key = buy(&gateway, 100_000_000).key;
    let steering = [
        "X-Portkey-Custom-Host",
        "X-LiteLLM-Api-Base",
        "Helicone-Target-Url",
        "CF-AIG-Authorization",
        "OpenAI-Organization",
        "OpenAI-Project",
        "Idempotency-Key",
        "Cookie",
    ];
    let call = crate::models::chat(json!({})).header("Authorization", &format!("Bearer {key}"));
    let call = steering
        .iter()
        .fold(call, |call, name| call.header(name, "evil"));
    gateway.send(&call).expect(200);
    assert_eq!(upstream.total(), 1);
    assert_unseen(&upstream, "evil");
}

#[test]
fn an_agent_s_betas_pass_and_dear_ones_are_refused_by_name() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::to("/v1", &upstream.url())
        .line("price = { model_tokens = { drop_betas = [\"brand-new\"] } }")
        .line("balance = { msat = 1000000 }");
    let gateway = crate::models::shop_with(route);
    let key = buy(&gateway, 100_000_000).key;
    let call = |betas: &str| {
        let call = crate::models::chat(json!({})).header("Anthropic-Beta", betas);
        gateway.send(&call.header("Authorization", &format!("Bearer {key}")))
    };
    let agent = "claude-code-20250219,interleaved-thinking-2025-05-14";
    call(&format!("{agent},brand-new")).expect(200);
    assert_eq!(upstream.requests()[0].all("anthropic-beta"), [agent]);
    let reply = call("fast-mode-2026-02-01").expect(400);
    assert!(reply.text().contains("fast-mode-2026-02-01"));
    assert_eq!(upstream.total(), 1);
}

#[test]
fn what_the_upstream_says_about_the_seller_s_account_never_comes_back() {
    let (_upstream, gateway) = with_upstream(shop);
    let told = json!({ "headers": [
        ["openai-organization", "seller-inc"],
        ["anthropic-organization-id", "seller-inc"],
        ["x-litellm-key-spend", "seller-inc"],
        ["x-kept", "yes"],
    ]});
    let reply = gateway
        .send(&Call::post("/free/say", told.to_string()))
        .expect(200);
    assert!(
        !reply.headers.iter().any(|(_, line)| line == "seller-inc"),
        "{reply:?}"
    );
    assert_eq!(reply.find("x-kept"), Some("yes"));
}

#[test]
fn neither_the_seller_s_session_nor_its_credential_comes_back_and_no_cookie_goes_along() {
    let upstream = ScriptedUpstream::start().unwrap();
    let bearer = "headers = { Authorization = \"Bearer sk-seller-1\" }";
    let setup = Setup::new()
        .route(Route::at("/bearer", &upstream).free().line(bearer))
        .route(
            Route::at("/sold", &upstream)
                .msat(1000)
                .calls(5)
                .line(bearer),
        )
        .route(Route::at("/own", &upstream).free());
    let gateway = TestGateway::start(setup);
    let token = gateway.buy(&Call::post("/sold/say", "x"));
    let told = json!({ "headers": [
        ["set-cookie", "JSESSIONID=seller; Path=/"],
        ["x-auth-token", "seller"],
        ["x-subject-token", "seller"],
        ["authorization", "Bearer sk-seller-1"],
        ["x-request-echo", "authorization: Bearer sk-seller-1"],
        ["x-kept", "yes"],
    ], "trailers": [["x-echo", "sk-seller-1"]], "body": "x" });
    for path in ["/bearer/say", "/sold/say"] {
        let call = Call::post(path, told.to_string()).header("Cookie", "JSESSIONID=dummy");
        let reply = gateway.send(&call.with(&token)).expect(200);
        let mut lines = reply.headers.iter().chain(&reply.trailers);
        assert!(!lines.any(|(_, line)| line.contains("seller")), "{reply:?}");
        assert_eq!(reply.find("x-kept"), Some("yes"));
    }
    assert_eq!(upstream.total(), 2);
    assert_unseen(&upstream, "dummy");
    let own = Call::post("/own/say", told.to_string()).header("Cookie", "JSESSIONID=mine");
    let reply = gateway.send(&own).expect(200);
    assert_eq!(reply.find("x-auth-token"), Some("seller"));
    assert_eq!(upstream.requests()[2].all("cookie"), ["JSESSIONID=mine"]);
}

#[test]
fn an_upstream_never_takes_two_buyers_for_one_by_their_idempotency_key() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/sold", &upstream).msat(1000).calls(5);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = |key: &str, body: &str| {
        Call::post("/sold/a", body)
            .header("Authorization", &format!("Bearer {key}"))
            .header("Idempotency-Key", "order-1")
            .header("X-Idempotency-Key", "order-1")
    };
    let buyers = [buy(&gateway, 100_000).key, buy(&gateway, 100_000).key];
    for key in &buyers {
        gateway.send(&call(key, "order")).expect(200);
    }
    let token = gateway.buy(&Call::post("/sold/a", "order"));
    let unnamed = Call::post("/sold/a", "order").with(&token);
    for body in ["one", "two"] {
        let mut again = unnamed.clone().header("X-Idempotency-Key", "order-1");
        again.body = body.into();
        gateway.send(&again).expect(200);
    }
    let seen = upstream.requests();
    let word = |at: usize, name: &str| seen[at].all(name)[0].to_owned();
    assert_ne!(word(0, "idempotency-key"), word(1, "idempotency-key"));
    assert_ne!(word(0, "x-idempotency-key"), word(1, "x-idempotency-key"));
    // A retry that is forwarded again says the same as before.
    assert_eq!(word(2, "x-idempotency-key"), word(3, "x-idempotency-key"));
    assert_unseen(&upstream, "order-1");
}

#[test]
fn a_free_list_of_models_takes_no_body_to_the_upstream() {
    let (upstream, gateway) = with_upstream(crate::models::shop);
    let mut call = Call::get("/v1/models");
    call.body = b"evil".to_vec();
    gateway.send(&call).expect(200);
    let seen = upstream.requests();
    for framing in ["content-length", "transfer-encoding"] {
        assert!(seen[0].all(framing).is_empty(), "{seen:?}");
    }
}
