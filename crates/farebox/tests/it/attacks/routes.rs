//! Routes within and beside each other: the one with a price is never walked around.

use farebox_testkit::ScriptedUpstream;

use super::send_raw;
use crate::harness::{Call, Route, Setup, TestGateway};
use crate::rules::MANY_CHALLENGES;

/// A `[[route]]` whose path is not a prefix.
fn route(name: &str, path: &str, upstream: &ScriptedUpstream, price: &str) -> String {
    let url = upstream.url();
    format!("[[route]]\nname = \"{name}\"\npath = {path}\nupstream = \"{url}\"\nprice = {price}\n")
}

#[test]
fn a_free_route_inside_a_paid_one_opens_nothing_else() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(Route::at("/paid", &upstream).msat(2000))
        .route(Route::at("/paid/docs", &upstream).free());
    let gateway = TestGateway::start(setup);
    gateway.send(&Call::get("/paid/docs/a")).expect(200);
    for target in [
        "/paid/docs/../x",
        "/paid/docs/%2e%2e/x",
        "/paid/docs//../../paid/x",
        "/paid/docsx",
        "/paid/docs.",
        "/paid/x/docs",
        "/paid/./x/../doc",
    ] {
        gateway.send(&Call::get(target)).expect(402);
    }
    for target in [
        "/paid/docs/..%2fx",
        "/paid/docs%2f..%2fx",
        "/paid/docs/..;/x",
    ] {
        gateway.send(&Call::get(target)).expect(400);
    }
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_paid_route_inside_a_free_one_is_never_taken_for_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .section(&route(
            "sold",
            "{ exact = \"/a/paid\" }",
            &upstream,
            "{ msat = 2000 }",
        ))
        .route(Route::at("/", &upstream).free());
    let gateway = TestGateway::start(setup);
    for (target, status) in [
        ("/a/paid", 402),
        ("/a/b/../paid", 402),
        ("/a//paid", 402),
        ("/a/%70aid", 402),
        ("/a/paid?x", 402),
        ("/a/paid#x", 402),
        ("/a/paid/", 400),
        ("/a/paid/.", 400),
        ("/A/Paid", 400),
        ("/a/paid;x", 400),
    ] {
        let reply = send_raw(gateway.address, Call::get(target).head().as_bytes());
        let told = reply.map_or(400, |reply| reply.status);
        assert!([status, 400].contains(&told), "{target}: {told}");
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/a/paid/more")).expect(200);
    gateway.send(&Call::get("/a/unpaid")).expect(200);
}

#[test]
fn a_price_on_a_path_with_capitals_is_not_walked_around_in_small_letters() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .section(&route(
            "sold",
            "{ exact = \"/A/Paid\" }",
            &upstream,
            "{ msat = 2000 }",
        ))
        .route(Route::at("/Vault", &upstream).msat(2000))
        .route(Route::at("/", &upstream).free());
    let gateway = TestGateway::start(setup);
    gateway.send(&Call::get("/A/Paid")).expect(402);
    for target in [
        "/a/paid", "/A/PAID", "/a/Paid/", "/vault/x", "/VAULT/x", "/vault",
    ] {
        gateway.send(&Call::get(target)).expect(400);
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/A/Unpaid")).expect(200);
}

#[test]
fn a_regex_matches_whole_paths_only() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .section(&route(
            "open",
            "{ regex = \"/r[12]/free|/open\" }",
            &upstream,
            "\"free\"",
        ))
        .route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    for target in ["/r1/free", "/r2/free", "/open"] {
        gateway.send(&Call::get(target)).expect(200);
    }
    let before = upstream.total();
    for target in [
        "/r1/free/x",
        "/x/r1/free",
        "/r1/free/../paid",
        "/paid/open",
        "/openpaid",
        "/r1/free%0a/paid",
        "/r3/free",
    ] {
        let status = gateway.send(&Call::get(target)).status;
        assert!([400, 402, 404].contains(&status), "{target}: {status}");
    }
    assert_eq!(upstream.total(), before);
}

#[test]
fn the_gateway_s_own_paths_are_never_forwarded() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/", &upstream).free()));
    for (target, status) in [
        ("/.farebox/health", 200),
        ("/.farebox/./health", 200),
        ("/x/../.farebox/health", 200),
        ("//.farebox/health", 400),
        ("/.FAREBOX/health", 400),
        ("/.farebox./health", 400),
        ("/%2efarebox/health", 200),
        ("/.farebox", 404),
        ("/.farebox/", 404),
        ("/.farebox/admin", 404),
        ("/.farebox/../.farebox/x", 404),
    ] {
        assert_eq!(gateway.send(&Call::get(target)).status, status, "{target}");
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/.farebox/../x")).expect(200);
    assert_eq!(upstream.count("/x"), 1);
}

#[test]
fn trace_never_reads_the_seller_s_secret_back() {
    let upstream = ScriptedUpstream::start().unwrap();
    let secret = "headers = { Authorization = \"Bearer seller-secret\" }";
    let setup = Setup::new()
        .route(Route::at("/free", &upstream).free().line(secret))
        .route(
            Route::at("/paid", &upstream)
                .msat(2000)
                .calls(2)
                .line(secret),
        );
    let gateway = TestGateway::start(setup);
    let token = gateway.buy(&Call::get("/paid/a"));
    for call in [
        Call::new("TRACE", "/free/a"),
        Call::new("TRACE", "/paid/a"),
        Call::new("TRACE", "/paid/a").with(&token),
        Call::new("TRACE", "/free/a").header("Max-Forwards", "0"),
    ] {
        assert_eq!(gateway.send(&call).status, 405);
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_method_that_the_route_does_not_take_is_neither_sold_nor_forwarded() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000).calls(2);
    let route = route.line("http_methods = [\"GET\"]");
    let gateway = TestGateway::start(Setup::new().route(route));
    let token = gateway.buy(&Call::get("/paid/a"));
    for method in ["POST", "DELETE", "HEAD", "get"] {
        let call = Call::new(method, "/paid/a");
        let reply = gateway.send(&call.clone().with(&token)).expect(405);
        assert_eq!(reply.find("allow"), Some("GET"));
        assert_eq!(gateway.send(&call).status, 405, "before anybody pays");
    }
    assert_eq!(upstream.total(), 0);
}
