//! What the page says, to whom it is shown, and what it must never let in.

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, PRICE, Visitor, invoices, shop, start};
use crate::harness::{Call, Challenge, Route, Setup, TestGateway, with_upstream};

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_browser_gets_the_challenge_as_a_page() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(shop(&upstream).line("description = \"Tomorrow's weather\""));
    let reply = Visitor::new().get(&gateway, "/paid/a?b=c").expect(402);
    let invoice = Challenge::of(&reply).invoice;
    assert_eq!(reply.find("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.find("cache-control"), Some("no-store"));
    assert_eq!(reply.find("referrer-policy"), Some("no-referrer"));
    let page = reply.text();
    for part in [
        "Tomorrow&#39;s weather",
        "2 sat",
        "2000 msat",
        "One payment buys this answer.",
        "gateway.test/paid/a?b=c",
        "<svg class=\"qr\"",
        &format!("href=\"lightning:{invoice}\""),
        &format!("<code id=\"invoice\">{invoice}</code>"),
        "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn the_page_runs_nothing_but_its_own_script_and_loads_nothing_from_elsewhere() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let reply = Visitor::new().get(&gateway, "/paid/a").expect(402);
    let policy = reply.find("content-security-policy").unwrap();
    for directive in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{directive} is not in {policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    let page = reply.text();
    for foreign in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn programs_get_the_problem_document_and_a_claim_in_a_header() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    for accept in [
        None,
        Some("*/*"),
        Some("application/json, text/plain, */*"),
        Some("text/html;q=0.4, application/json;q=0.5"),
        Some("text/html;q=0"),
    ] {
        let call = Call::get("/paid/a");
        let call = match accept {
            Some(accept) => call.header("Accept", accept),
            None => call,
        };
        let reply = gateway.send(&call).expect(402);
        assert_eq!(reply.json()["amount_msat"], PRICE, "{accept:?}");
        assert!(reply.find("farebox-claim").is_some());
        assert!(reply.all("set-cookie").is_empty());
    }
}

#[test]
fn only_a_get_gets_a_page() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let grpc = Call::new("POST", "/paid/Service/Call").header("Content-Type", "application/grpc");
    for call in [
        Call::new("HEAD", "/paid/a"),
        Call::post("/paid/a", "x"),
        Call::new("DELETE", "/paid/a"),
        Call::websocket("/paid/a"),
        grpc,
        Call {
            body: b"a GET with a body".to_vec(),
            ..Call::get("/paid/a")
        },
    ] {
        let reply = gateway.send(&call.header("Accept", BROWSER));
        let kind = reply.find("content-type").unwrap_or_default();
        assert!(!kind.starts_with("text/html"), "{reply:?}");
        assert!(reply.all("set-cookie").is_empty());
    }
}

#[test]
fn a_route_can_do_without_the_page() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream).line("page = false")));
    let reply = Visitor::new().get(&gateway, "/paid/a").expect(402);
    assert_eq!(reply.json()["amount_msat"], PRICE);
}

#[test]
fn what_others_wrote_cannot_become_part_of_the_page() {
    let upstream = ScriptedUpstream::start().unwrap();
    let evil = "<script>alert(1)</script>\\\"'><img src=x onerror=alert(2)>&{{invoice}}";
    let gateway = start(shop(&upstream).line(&format!("description = \"{evil}\"")));
    for target in [
        "/paid/%3Cscript%3Ealert(3)%3C/script%3E",
        "/paid/a?'onload=alert(4)'",
    ] {
        let page = Visitor::new().get(&gateway, target).expect(402).text();
        assert_eq!(page.matches("<script>").count(), 1, "{page}");
        assert!(
            !page.contains("<img") && !page.contains("'onload"),
            "{page}"
        );
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
        assert!(page.contains("{{invoice}}"), "filled in twice: {page}");
    }
}

#[test]
fn the_page_says_what_one_payment_buys() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = |path: &str| Route::at(path, &upstream).msat(1500);
    for (route, path, words) in [
        (
            route("/calls").calls(5),
            "/calls",
            "One payment buys 5 requests.",
        ),
        (
            route("/pass").line("pass = \"1d\""),
            "/pass",
            "access for 1 day.",
        ),
        (
            route("/balance").line("balance = { msat = 6000 }"),
            "/balance",
            "Each request costs 1.5 sat: the payment is a balance for 4 requests.",
        ),
    ] {
        let page = Visitor::new().get(&start(route), path).expect(402).text();
        assert!(page.contains(words), "{words} is not in {page}");
    }
}

#[test]
fn the_cookie_is_for_this_address_and_out_of_reach_of_scripts() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.get(&gateway, "/paid/a?b=c").expect(402);
    let cookie = visitor.claim();
    assert_eq!(cookie.path, "/paid/a");
    let name = cookie.name.strip_prefix("farebox-").unwrap();
    assert!(name.len() == 16 && name.bytes().all(|c| c.is_ascii_hexdigit()));
    for attribute in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.attributes.contains(attribute), "{cookie:?}");
    }
    assert!(!cookie.attributes.contains("Secure"), "{cookie:?}");
    assert!(!cookie.attributes.contains("Domain"), "{cookie:?}");
    let until_expiry_and_a_day = DAY..=DAY + 601;
    assert!(
        until_expiry_and_a_day.contains(&cookie.max_age()),
        "{cookie:?}"
    );
    assert!(cookie.value.len() < 4000);
}

#[test]
fn behind_https_the_cookie_never_travels_in_clear() {
    let upstream = ScriptedUpstream::start().unwrap();
    let proxied = super::Setup::new()
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .route(shop(&upstream));
    let proxied = super::TestGateway::start(proxied);
    let public = super::Setup::new()
        .server("public_url = \"https://api.example.com\"")
        .route(shop(&upstream));
    let public = super::TestGateway::start(public);
    let call = Call::get("/paid/a").header("Accept", BROWSER);
    let over_tls = call.clone().header("X-Forwarded-Proto", "https");
    let is_secure = |reply: crate::harness::Reply| {
        let cookie = reply.find("set-cookie").unwrap();
        cookie.contains("; Secure")
    };
    assert!(is_secure(proxied.send(&over_tls)));
    assert!(!is_secure(proxied.send(&call)));
    assert!(is_secure(public.send(&call)));
}

#[test]
fn a_browser_keeps_a_bounded_number_of_claims_for_one_path() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    for page in 0..12 {
        visitor
            .get(&gateway, &format!("/paid/a?page={page}"))
            .expect(402);
        assert!(visitor.claims().len() <= 4, "{:?}", visitor.claims());
    }
    // The latest ones are those that are left.
    let before = invoices(&gateway);
    for page in 8..12 {
        visitor
            .get(&gateway, &format!("/paid/a?page={page}"))
            .expect(402);
    }
    assert_eq!(invoices(&gateway), before);
}

#[test]
fn an_address_with_parameters_cannot_add_to_its_cookie() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = super::Setup::new()
        .server("path_parameters = true")
        .route(shop(&upstream));
    let gateway = super::TestGateway::start(setup);
    let visitor = Visitor::new();
    visitor
        .get(&gateway, "/paid/a;Domain=evil.example;x/b")
        .expect(402);
    assert_eq!(visitor.claim().path, "/paid");
    let again = invoices(&gateway);
    visitor
        .get(&gateway, "/paid/a;Domain=evil.example;x/b")
        .expect(402);
    assert_eq!(invoices(&gateway), again, "the claim did not come back");
}

#[test]
fn a_price_in_dollars_is_said_as_it_was_configured_beside_what_it_is_in_sat() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = |lines: &str| {
        let route = Route::at("/paid", &upstream).line("price = { usd = \"0.002\" }");
        let fixed = "[rates.fixed]\nusd = \"80000\"";
        TestGateway::start(Setup::new().section(fixed).route(route.line(lines)))
    };
    for (lines, parts) in [
        (
            "",
            [
                "<strong>2.5 sat</strong>",
                "2500 msat",
                "\u{2248} 0.002 USD</span>",
            ],
        ),
        (
            "calls = 4",
            [
                "<strong>10 sat</strong>",
                "10000 msat",
                "\u{2248} 0.002 USD a request</span>",
            ],
        ),
        (
            "pass = \"1h\"",
            [
                "<strong>2.5 sat</strong>",
                "access for 1 hour",
                "\u{2248} 0.002 USD</span>",
            ],
        ),
        (
            "balance = { sat = 100 }",
            [
                "<strong>100 sat</strong>",
                "costs 2.5 sat",
                "\u{2248} 0.002 USD a request</span>",
            ],
        ),
    ] {
        let reply = Visitor::new().get(&sold(lines), "/paid/a").expect(402);
        let page = reply.text();
        for part in parts {
            assert!(page.contains(part), "{lines}: {part} is not in {page}");
        }
    }
    let gateway = start(shop(&upstream));
    let page = Visitor::new().get(&gateway, "/paid/a").expect(402).text();
    assert!(!page.contains('\u{2248}'), "{page}");
}

#[test]
fn where_use_is_charged_the_page_asks_for_a_deposit() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price =
        "price = { upstream_header = \"x-cost\", unit = \"usd\", at_most = { usd = \"0.008\" } }";
    let route = Route::at("/paid", &upstream).line(price);
    let fixed = "[rates.fixed]\nusd = \"80000\"";
    let route = route.line("balance = { sat = 100 }");
    let gateway = TestGateway::start(Setup::new().section(fixed).route(route));
    let page = Visitor::new().get(&gateway, "/paid/a").expect(402).text();
    for part in [
        "<strong>100 sat</strong>",
        "a deposit of 100 sat. Each request costs what it uses, at most 10 sat",
        "\u{2248} at most 0.008 USD a request</span>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}
