use super::*;

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.to_owned())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.to_owned())
}

fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex(PathRegex::parse(pattern).unwrap())
}

type Table = Result<RouteTable<&'static str>, Vec<RouteTableError>>;

fn build<const N: usize>(entries: [(&str, PathMatch, &'static str); N]) -> Table {
    RouteTable::build(entries.map(|(host, path, target)| {
        let host = HostMatch::parse(host).unwrap();
        RouteEntry { host, path, target }
    }))
}

#[test]
fn a_prefix_ends_at_the_boundary_of_a_segment() {
    let table = build([
        ("*", prefix("/v1"), "v1"),
        ("*", prefix("/files/"), "files"),
    ])
    .unwrap();
    assert_eq!(table.find("", "/v1"), Some(&"v1"));
    assert_eq!(table.find("", "/v1/models"), Some(&"v1"));
    assert_eq!(table.find("", "/v10"), None);
    assert_eq!(table.find("", "/files/a"), Some(&"files"));
    assert_eq!(table.find("", "/files"), None);
}

#[test]
fn the_root_prefix_takes_everything() {
    let table = build([("*", prefix("/"), "all")]).unwrap();
    assert_eq!(table.find("anything", "/"), Some(&"all"));
    assert_eq!(table.find("anything", "/a/b"), Some(&"all"));
}

#[test]
fn exact_wins_over_the_longest_prefix_and_that_over_regexes_in_file_order() {
    let table = build([
        ("*", regex("/r/.*"), "first regex"),
        ("*", regex("/r/[a-z]+"), "second regex"),
        ("*", prefix("/r/a"), "prefix"),
        ("*", prefix("/r/a/b"), "longer prefix"),
        ("*", exact("/r/a/b/c"), "exact"),
    ])
    .unwrap();
    let found =
        ["/r/a/b/c", "/r/a/b/d", "/r/a/d", "/r/x"].map(|path| *table.find("", path).unwrap());
    assert_eq!(found, ["exact", "longer prefix", "prefix", "first regex"]);
}

#[test]
fn a_more_specific_host_wins_where_it_has_the_path() {
    let table = build([
        ("*", exact("/a"), "any"),
        ("*.example.com", prefix("/"), "suffix"),
        ("*.eu.example.com", prefix("/"), "longer suffix"),
        ("api.eu.example.com", exact("/only"), "host"),
    ])
    .unwrap();
    assert_eq!(table.find("api.eu.example.com", "/only"), Some(&"host"));
    assert_eq!(
        table.find("api.eu.example.com", "/a"),
        Some(&"longer suffix")
    );
    assert_eq!(table.find("us.example.com", "/a"), Some(&"suffix"));
    assert_eq!(table.find("example.com", "/a"), Some(&"any"));
    assert_eq!(table.find("badexample.com", "/only"), None);
}

#[test]
fn hosts_are_compared_without_case_port_and_final_dot() {
    let table = build([
        ("Api.Example.com", prefix("/"), "name"),
        ("[::1]", prefix("/"), "v6"),
    ]);
    let table = table.unwrap();
    for host in [
        "api.example.com",
        "API.EXAMPLE.COM:8402",
        "api.example.com.",
        "api.example.com.:80",
    ] {
        assert_eq!(table.find(host, "/"), Some(&"name"), "{host}");
    }
    assert_eq!(table.find("[::1]:8402", "/"), Some(&"v6"));
    assert_eq!(table.find("[::1]", "/"), Some(&"v6"));
    assert_eq!(table.find("", "/"), None);
}

#[test]
fn hosts_with_ports_or_stray_stars_are_refused() {
    for bad in [
        "", "a:80", "a b", "*.", "*.*.com", "a..b", "a.*", "http://a", "[::g]", ".",
    ] {
        assert_eq!(HostMatch::parse(bad), Err(HostMatchError), "{bad}");
    }
}

#[test]
fn a_regex_matches_the_whole_path_or_nothing() {
    let table = build([
        ("*", regex("/free"), "free"),
        ("*", regex("/a|/b"), "choice"),
    ])
    .unwrap();
    assert_eq!(table.find("", "/free"), Some(&"free"));
    for path in ["/free/paid", "/paid/free", "/free\n", "/ax", "x/b"] {
        assert_eq!(table.find("", path), None, "{path:?}");
    }
}

#[test]
fn no_regex_escapes_its_anchors() {
    assert!(PathRegex::parse("a)|(?:b").is_err());
    assert!(PathRegex::parse("(?x) /a # rest").is_err());
    assert!(!PathRegex::parse("(?m)^/a$").unwrap().is_match("/a\n/b"));
}

#[test]
fn a_regex_that_compiles_to_too_much_is_refused() {
    assert!(PathRegex::parse(r"(?:\w{100}){100}").is_err());
}

#[test]
fn a_regex_that_is_too_much_only_whatever_the_case_is_refused_as_well() {
    assert!(PathRegex::parse("/[a-z]{2000}").is_ok());
    assert!(PathRegex::parse("/[A-Z]{2000}").is_err());
}

#[test]
fn every_duplicate_is_reported() {
    let errors = build([
        ("a.com", prefix("/v1"), ""),
        ("A.com", prefix("/v1"), ""),
        ("*", exact("/v1"), ""),
        ("b.com", prefix("/v1"), ""),
        ("*", exact("/v1"), ""),
        ("*", regex("/x"), ""),
        ("*", regex("/x"), ""),
    ])
    .unwrap_err();
    let duplicate = |first, second| RouteTableError::Duplicate { first, second };
    assert_eq!(errors, [duplicate(0, 1), duplicate(2, 4), duplicate(5, 6)]);
}

#[test]
fn a_path_that_no_request_can_have_is_reported_with_its_canonical_form() {
    let errors = build([("*", prefix("/a//%62"), ""), ("*", exact("v1"), "")]).unwrap_err();
    let canonical = "/a//b".to_owned();
    assert_eq!(
        errors,
        [
            RouteTableError::NotCanonical {
                entry: 0,
                canonical
            },
            RouteTableError::Path {
                entry: 1,
                source: PathError::Relative
            },
        ]
    );
}

#[test]
fn the_folded_table_finds_what_is_written_with_capitals() {
    let table = build([
        ("a.test", prefix("/V1/Chat"), "chat"),
        ("*", exact("/Paid"), "paid"),
        ("*", regex("/R[0-9]+/.*"), "regex"),
    ])
    .unwrap();
    assert!(table.is_read_leniently());
    for (path, target) in [
        ("/v1/chat/x", "chat"),
        ("/paid", "paid"),
        ("/r2/x", "regex"),
    ] {
        assert_eq!(table.find_folded("a.test", path), Some(&target));
        assert_eq!(table.find("a.test", path), None, "{path}");
    }
    assert_eq!(table.find_folded("b.test", "/v1/chat/x"), None);
    let plain = build([("*", exact("/paid"), "paid")]).unwrap();
    assert!(!plain.is_read_leniently());
    assert_eq!(plain.find_folded("", "/paid"), Some(&"paid"));
}

#[test]
fn a_pattern_begins_with_its_plain_text() {
    for (pattern, text) in [
        ("^/svc/.*$", "/svc/"),
        ("^/", "/"),
        (r"/v1\.0/x", "/v1.0/x"),
        ("/ab?c", "/a"),
        ("/v[12]/x", "/v"),
        (r"/v\d", "/v"),
        ("/a|/b", ""),
        (".*", ""),
    ] {
        assert_eq!(
            PathRegex::parse(pattern).unwrap().begins_with(),
            text,
            "{pattern}"
        );
    }
}
