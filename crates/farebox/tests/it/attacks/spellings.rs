//! Other names of what is sold: paths that an upstream takes for one, and places that it names itself.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

/// Everything free but `/files`.
fn with_a_catch_all(upstream: &ScriptedUpstream) -> TestGateway {
    let setup = Setup::new()
        .route(Route::at("/", upstream).free())
        .route(Route::at("/files", upstream).msat(2000));
    TestGateway::start(setup)
}

#[test]
fn no_spelling_of_a_priced_path_is_served_by_a_free_route_beside_it() {
    let (upstream, gateway) = with_upstream(with_a_catch_all);
    for spelling in [
        "/FILES",
        "//files",
        "//files/1",
        "/files./1",
        "/files.",
        "/files%20",
        "/files.json",
        "/files.JSON",
        "/files::$DATA",
        "/FILES~1",
        "/file%C5%BF",
        "/%EF%BD%86iles",
    ] {
        gateway.send(&Call::get(spelling)).expect(400);
    }
    assert_eq!(upstream.total(), 0);
    for other in ["/a//b", "/filed.json", "/~user/files.pdf", "/v1:x"] {
        gateway.send(&Call::get(other)).expect(200);
        assert_eq!(upstream.requests().last().unwrap().target, other);
    }
}

#[test]
fn a_free_prefix_does_not_lead_to_what_is_sold_under_another() {
    let upstream = ScriptedUpstream::start().unwrap();
    let open = Route::at("/open", &upstream).line("strip_prefix = true");
    let setup = Setup::new()
        .route(open.free())
        .route(Route::at("/files", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    for around in [
        "/open/files",
        "/open/files/1",
        "/open/FILES",
        "/open//files",
        "/open/files.json",
    ] {
        gateway.send(&Call::get(around)).expect(400);
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/open/a")).expect(200);
    assert_eq!(upstream.requests()[0].target, "/a");
    let checked = gateway.command(&["config", "check", "--insecure-test-money"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("route open: free, with what route files sells"),
        "{said}"
    );
}

/// The other way round the free route is the exception, and meant.
#[test]
fn a_free_path_that_names_more_than_a_priced_one_stays_free() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = Route::at("/api", &upstream).line("strip_prefix = true");
    let setup = Setup::new()
        .route(Route::at("/health", &upstream).free())
        .route(Route::at("/Docs.json", &upstream).free())
        .route(sold.msat(2000));
    let gateway = TestGateway::start(setup);
    gateway.send(&Call::get("/health")).expect(200);
    gateway.send(&Call::get("/health/live")).expect(200);
    gateway.send(&Call::get("/Docs.json")).expect(200);
    gateway.send(&Call::get("/api/health")).expect(402);
}

#[test]
fn what_is_bought_under_a_path_with_empty_segments_is_what_is_forwarded() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/", &upstream).msat(1000)));
    for path in ["/https://example.org/a//b?x=1", "/ocsp/MEIw//8Aab==", "//a"] {
        let call = Call::get(path);
        let token = gateway.buy(&call);
        gateway.send(&call.with(&token)).expect(200);
        assert_eq!(upstream.requests().last().unwrap().target, path);
    }
}

/// A client of a priced page that is asked to come again stays on this host.
#[test]
fn a_path_like_another_host_is_no_reference_to_that_host() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/", &upstream).msat(1000)));
    let call = Call::get("//evil.test/a").header("Accept", "text/html");
    let page = gateway.send(&call).expect(402).text();
    assert!(page.contains("/.//evil.test/a"), "{page}");
    assert!(!page.contains("\"//evil.test/a"), "{page}");
}

#[test]
fn a_redirect_to_the_upstream_s_own_place_is_public_and_uses_up_no_call() {
    let upstream = ScriptedUpstream::start().unwrap();
    let base = format!("{}/base", upstream.url());
    let route = |prefix: &str| {
        let route = Route::to(prefix, &base).line("strip_prefix = true");
        route.msat(1000).bound_to_route()
    };
    let gateway = TestGateway::start(Setup::new().route(route("/pub")));
    let say = |status: u16, place: &str| {
        let said = json!({ "status": status, "headers": [["location", place]], "body": "" });
        Call::post("/pub/say", said.to_string())
    };
    let token = gateway.buy(&say(307, "/"));
    let own = format!("{base}/weather/?a=1");
    for (place, public) in [(own.as_str(), "/pub/weather/?a=1"), ("/base/b", "/pub/b")] {
        let reply = gateway.send(&say(307, place).with(&token)).expect(307);
        assert_eq!(reply.find("location"), Some(public));
        assert_eq!(reply.find("farebox-charge-msat"), Some("0"));
    }
    let reply = gateway.send(&say(304, "/").with(&token)).expect(304);
    assert_eq!(reply.find("farebox-charge-msat"), Some("0"));
    let elsewhere = "https://elsewhere.test/file";
    let reply = gateway.send(&say(302, elsewhere).with(&token)).expect(302);
    assert_eq!(reply.find("location"), Some(elsewhere));
    assert_eq!(gateway.charged(&token), 1000);
    gateway.send(&say(200, "/").with(&token)).expect(402);
}
