//! Request targets that one reader takes for a free path and another for a paid one.

use farebox_testkit::ScriptedUpstream;

use super::{send_raw, shop};
use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

/// Ways to write a path under `/paid` so that somebody might take it for one under `/free`, or for
/// nothing that is sold.
pub(super) const TRICKS: [&str; 52] = [
    "/free/../paid",
    "/free/../paid/x",
    "/free/./../paid",
    "/free/..//paid",
    "/free//../paid",
    "/free/%2e%2e/paid",
    "/free/%2E%2e/paid",
    "/free/.%2e/paid",
    "/free/%2e./paid",
    "/free/..%2fpaid",
    "/free/..%2Fpaid",
    "/free/%2e%2e%2fpaid",
    "/free%2f..%2fpaid",
    "/free%2f../paid",
    "/free/..%5cpaid",
    "/free/..\\paid",
    "/free\\..\\paid",
    "/free/%252e%252e/paid",
    "/free/%25252e%25252e/paid",
    "/free/..%252fpaid",
    "/free/%c0%ae%c0%ae/paid",
    "/free/..%c0%afpaid",
    "/free/%e0%80%ae%e0%80%ae/paid",
    "/free/..;/paid",
    "/free/..;x=1/paid",
    "/free/..%3b/paid",
    "/free;/../paid",
    "/free/;/../paid",
    "/free/x/../../paid",
    "/free/../../../paid",
    "/free/..%00/paid",
    "/free/%00/../paid",
    "/free/..\u{ff0f}paid",
    "/free/%u002e%u002e/paid",
    "/free/../%70aid",
    "/free/../%2570aid",
    "//paid",
    "///paid/x",
    "/./paid",
    "/.//paid",
    "/%2fpaid",
    "/%2e/paid",
    "/paid/",
    "/paid/.",
    "/paid/%2e",
    "/paid/x/..",
    "/paid%2fx",
    "/paid;x=1",
    "/paid;/x",
    "/paid%3bx",
    "/%70%61%69%64",
    "/paid/../paid/../free/../paid",
];

/// Whether a careless server would take `target` for a path under `/paid`: decoded twice, with
/// backslashes as slashes, parameters cut off and dot segments resolved.
fn means_paid(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let mut text = path.to_ascii_lowercase();
    for _ in 0..3 {
        for (escape, plain) in [
            ("%25", "%"),
            ("%2e", "."),
            ("%2f", "/"),
            ("%5c", "/"),
            ("%c0%ae", "."),
            ("%c0%af", "/"),
            ("%3b", ";"),
            ("%00", ""),
            ("%70", "p"),
            ("%61", "a"),
            ("%69", "i"),
            ("%64", "d"),
            ("\\", "/"),
        ] {
            text = text.replace(escape, plain);
        }
    }
    let mut segments = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments.first() == Some(&"paid")
}

#[track_caller]
pub(super) fn assert_nothing_paid_was_reached(upstream: &ScriptedUpstream, trick: &str) {
    for request in upstream.requests() {
        assert!(!means_paid(&request.target), "{trick:?} became {request:?}");
    }
}

#[test]
fn the_judge_of_this_module_sees_through_every_trick() {
    let blind = TRICKS.into_iter().filter(|trick| !means_paid(trick));
    let blind: Vec<_> = blind.collect();
    // Only servers that read wide characters or JavaScript escapes would be fooled by these.
    assert_eq!(blind.len(), 3, "{blind:?}");
    assert!(!means_paid("/free/paid"));
}

#[test]
fn no_spelling_of_a_path_reaches_a_paid_upstream_unpaid() {
    let (upstream, gateway) = with_upstream(shop);
    for trick in TRICKS {
        for target in [
            trick.to_owned(),
            format!("{trick}?q=/free"),
            format!("{trick}/.."),
        ] {
            let head = Call::get(&target).head();
            let reply = send_raw(gateway.address, head.as_bytes());
            let status = reply.map_or(400, |reply| reply.status);
            let known = [200, 400, 402, 404].contains(&status);
            assert!(known, "{target:?}: {status}");
            assert_nothing_paid_was_reached(&upstream, &target);
        }
    }
}

#[test]
fn no_spelling_of_a_path_reaches_a_paid_upstream_behind_a_base_path_unpaid() {
    let upstream = ScriptedUpstream::start().unwrap();
    let base = format!("{}/free", upstream.url());
    let setup = Setup::new()
        .route(Route::to("/open", &base).free().line("strip_prefix = true"))
        .route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    for trick in TRICKS {
        let target = trick.replacen("/free", "/open", 1);
        send_raw(gateway.address, Call::get(&target).head().as_bytes());
        assert_nothing_paid_was_reached(&upstream, &target);
    }
    gateway.send(&Call::get("/open/x/../y")).expect(200);
    assert_eq!(upstream.count("/free/y"), 1);
}

#[test]
fn what_is_matched_is_what_is_forwarded() {
    let (upstream, gateway) = with_upstream(shop);
    for (sent, forwarded) in [
        ("/free/a/../b?x=../paid", "/free/b?x=../paid"),
        ("/free//a///b", "/free//a///b"),
        ("/free/%7ea%2Db", "/free/~a-b"),
        ("/free/a%20b", "/free/a%20b"),
        ("/paid/../free/x", "/free/x"),
        ("/free/%e2%82%ac", "/free/%E2%82%AC"),
    ] {
        gateway.send(&Call::get(sent)).expect(200);
        let seen = upstream.requests();
        assert_eq!(seen.last().unwrap().target, forwarded, "{sent}");
    }
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let (upstream, gateway) = with_upstream(shop);
    for target in ["/freed", "/free.", "/free-paid", "/paidx", "/", "/fre"] {
        assert_eq!(gateway.send(&Call::get(target)).status, 404, "{target}");
    }
    assert_eq!(upstream.total(), 0);
}

/// Two hosts on one gateway, one of them free.
fn two_hosts(upstream: &ScriptedUpstream) -> TestGateway {
    let open = Route::at("/shared", upstream).line("host = \"free.test\"");
    let sold = Route::at("/", upstream).line("host = \"paid.test\"");
    TestGateway::start(Setup::new().route(open.free()).route(sold.msat(2000)))
}

#[test]
fn a_request_that_names_two_hosts_is_refused() {
    let (upstream, gateway) = with_upstream(two_hosts);
    for head in [
        "GET http://free.test/shared HTTP/1.1\r\nHost: paid.test\r\n",
        "GET http://paid.test/shared HTTP/1.1\r\nHost: free.test\r\n",
        "GET http://free.test@paid.test/shared HTTP/1.1\r\nHost: free.test\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test\r\nHost: paid.test\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test\r\nHost: free.test\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test, paid.test\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test@paid.test\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test/x\r\n",
        "GET /shared HTTP/1.1\r\nHost: free.test paid.test\r\n",
        "GET /shared HTTP/1.1\r\nHost:\r\n",
        "GET /shared HTTP/1.1\r\n",
    ] {
        let reply = send_raw(gateway.address, format!("{head}\r\n").as_bytes());
        assert_eq!(reply.map(|reply| reply.status), Some(400), "{head:?}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn the_host_alone_decides_between_hosts() {
    let (upstream, gateway) = with_upstream(two_hosts);
    for (host, status) in [
        ("free.test", 200),
        ("FREE.test", 200),
        ("free.test:8402", 200),
        ("paid.test", 402),
        ("Paid.Test:80", 402),
        ("x.free.test", 404),
        ("free.test.", 200),
        ("paid.test.", 402),
        ("freestest", 404),
    ] {
        let before = upstream.total();
        let call = Call::get("/shared").header("Host", host);
        let steered = call
            .header("X-Forwarded-Host", "free.test")
            .header("X-Host", "free.test")
            .header("Forwarded", "host=free.test");
        assert_eq!(gateway.send(&steered).status, status, "{host}");
        assert_eq!(upstream.total() - before, usize::from(status == 200));
    }
}

#[test]
fn an_absolute_target_never_chooses_the_upstream() {
    let upstream = ScriptedUpstream::start().unwrap();
    let bystander = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let elsewhere = bystander.address();
    for (target, host) in [
        (format!("{}/free/x", bystander.url()), elsewhere.to_string()),
        (format!("{}/paid/x", bystander.url()), elsewhere.to_string()),
        (
            "http://gateway.test/free/../paid".to_owned(),
            "gateway.test".to_owned(),
        ),
        (
            "http://gateway.test/paid".to_owned(),
            "gateway.test".to_owned(),
        ),
        (
            "http://gateway.test//paid".to_owned(),
            "gateway.test".to_owned(),
        ),
        (
            "https://gateway.test/paid".to_owned(),
            "gateway.test".to_owned(),
        ),
        ("http://gateway.test".to_owned(), "gateway.test".to_owned()),
        (elsewhere.to_string(), elsewhere.to_string()),
        ("*".to_owned(), "gateway.test".to_owned()),
    ] {
        for method in ["GET", "OPTIONS", "CONNECT"] {
            let call = Call::new(method, &target).header("Host", &host);
            send_raw(gateway.address, call.head().as_bytes());
        }
    }
    assert_eq!(bystander.total(), 0);
    assert_nothing_paid_was_reached(&upstream, "an absolute target");
}

#[test]
fn a_path_parameter_never_hides_a_paid_path_even_where_parameters_pass() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .server("path_parameters = true")
        .route(Route::at("/free", &upstream).free())
        .route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    for trick in TRICKS {
        send_raw(gateway.address, Call::get(trick).head().as_bytes());
        assert_nothing_paid_was_reached(&upstream, trick);
    }
    gateway.send(&Call::get("/free/a;v=1")).expect(200);
    assert_eq!(upstream.requests().last().unwrap().target, "/free/a;v=1");
}

/// Express, IIS and others ignore case and a slash at the end; a free catch-all in front of the same
/// upstream must not be the way around a price.
#[test]
fn capitals_and_a_last_slash_do_not_turn_a_priced_path_into_a_free_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .route(Route::at("/", &upstream).free())
        .route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    for spelling in ["/PAID", "/Paid", "/PAID/", "/pAid/x"] {
        gateway.send(&Call::get(spelling)).expect(400);
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/Free/Path/")).expect(200);
}
