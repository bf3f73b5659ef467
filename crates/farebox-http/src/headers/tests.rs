use super::*;

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in fields {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

/// Stands for the fields that are the proxy's own.
fn withheld(name: &str) -> bool {
    name.starts_with("own-")
}

fn withheld_line(name: &str, value: &HeaderValue) -> bool {
    withheld(name) || value == "own money"
}

static ASKED: HeaderValue = HeaderValue::from_static("api.example.com");

static STRANGER: Forwarded<'_> = Forwarded {
    peer: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    trusted: false,
    host: Some(&ASKED),
    scheme: "https",
};

const TOLD: [(&str, &str); 3] = [
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "api.example.com"),
];

/// What reaches the upstream beside what it is told about the client.
fn passed(sent: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
    let mut headers = fields(sent);
    prepare_request(&mut headers, &STRANGER, withheld);
    let told: Vec<_> = TOLD
        .iter()
        .map(|&(name, _)| headers.remove(name).unwrap())
        .collect();
    assert_eq!(told, TOLD.map(|(_, value)| value));
    listed(&headers)
}

fn returned(sent: &[(&'static str, &'static str)], switching: bool) -> Vec<(String, String)> {
    let mut headers = fields(sent);
    prepare_response(&mut headers, switching, |name, _| withheld(name));
    listed(&headers)
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn ordinary_fields_pass_and_hop_by_hop_fields_do_not() {
    let sent = [
        ("accept", "text/plain"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("authorization", "Bearer x"),
    ];
    assert_eq!(
        passed(&sent),
        owned(&[("accept", "text/plain"), ("authorization", "Bearer x")])
    );
}

#[test]
fn what_connection_names_is_hop_by_hop_but_not_what_we_add_afterwards() {
    let sent = [
        ("connection", "X-Own, x-forwarded-for"),
        ("connection", "close, X-Forwarded-Proto, bad name"),
        ("x-own", "1"),
        ("x-other", "1"),
    ];
    assert_eq!(passed(&sent), owned(&[("x-other", "1")]));
}

#[test]
fn te_trailers_passes_for_grpc() {
    assert_eq!(passed(&[("te", "trailers")]), owned(&[("te", "trailers")]));
    assert_eq!(
        passed(&[("te", "gzip;q=0.5, Trailers")]),
        owned(&[("te", "trailers")])
    );
    assert_eq!(
        passed(&[("te", "trailers"), ("connection", "te")]),
        owned(&[("te", "trailers")])
    );
}

#[test]
fn what_is_the_proxys_own_never_reaches_the_upstream() {
    assert_eq!(
        passed(&[("own-coin", "x"), ("own-receipt", "forged")]),
        owned(&[])
    );
}

#[test]
fn fields_that_steer_past_what_was_paid_for_never_reach_the_upstream() {
    for name in [
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "forwarded",
        "x-real-ip",
    ] {
        assert_eq!(passed(&[(name, "/paid")]), owned(&[]), "{name}");
    }
}

#[test]
fn a_strangers_word_about_its_address_is_replaced() {
    let sent = [
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-for", "203.0.113.2"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-host", "evil.example.com"),
    ];
    assert_eq!(passed(&sent), owned(&[]));
}

#[test]
fn a_trusted_proxys_word_is_kept_and_its_address_appended() {
    let mut headers = fields(&[
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "http"),
    ]);
    prepare_request(
        &mut headers,
        &Forwarded {
            trusted: true,
            ..STRANGER
        },
        withheld,
    );
    let expected = [
        ("x-forwarded-for", "203.0.113.1, 10.0.0.2, 192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "api.example.com"),
    ];
    assert_eq!(headers, fields(&expected));
}

const UPGRADE_FIELDS: [(&str, &str); 3] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-key", "x"),
];

#[test]
fn a_websocket_upgrade_passes_both_ways() {
    assert!(is_websocket_upgrade(&fields(&UPGRADE_FIELDS)));
    let request = passed(&UPGRADE_FIELDS);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "x"),
    ] {
        assert!(
            request.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
    let answer = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "y"),
    ];
    assert_eq!(returned(&answer, true).len(), 3);
    assert_eq!(
        returned(&answer, false),
        owned(&[("sec-websocket-accept", "y")])
    );
}

#[test]
fn an_upgrade_to_anything_else_is_none() {
    for missing in 0..3 {
        let mut some = UPGRADE_FIELDS.to_vec();
        some.remove(missing);
        assert!(!is_websocket_upgrade(&fields(&some)), "{missing}");
    }
    assert!(!is_websocket_upgrade(&fields(&[
        ("connection", "upgrade"),
        ("upgrade", "h2c")
    ])));
}

#[test]
fn what_is_the_proxys_own_or_for_one_connection_never_comes_back() {
    let sent = [
        ("content-type", "text/plain"),
        ("own-charge", "0"),
        ("own-charge", "1"),
        ("alt-svc", "h3=\":443\""),
        ("connection", "close, x-internal"),
        ("x-internal", "x"),
        ("trailer", "grpc-status"),
    ];
    let expected = owned(&[("content-type", "text/plain"), ("trailer", "grpc-status")]);
    assert_eq!(returned(&sent, false), expected);
}

#[test]
fn requests_that_can_be_cut_in_two_ways_are_refused() {
    let check = |sent: &[(&'static str, &'static str)]| check_framing(&fields(sent));
    let (te, cl) = ("transfer-encoding", "content-length");
    assert_eq!(
        check(&[(te, "chunked"), (cl, "5")]),
        Err(FramingError::TwoFramings)
    );
    for lengths in [
        &[(cl, "5"), (cl, "6")][..],
        &[(cl, "5, 6")],
        &[(cl, "+5")],
        &[(cl, "")],
        &[(cl, "5x")],
    ] {
        assert_eq!(
            check(lengths),
            Err(FramingError::ContentLength),
            "{lengths:?}"
        );
    }
    for codings in [
        &[(te, "gzip, chunked")][..],
        &[(te, "chunked"), (te, "chunked")],
        &[(te, "xchunked")],
    ] {
        assert_eq!(
            check(codings),
            Err(FramingError::TransferCoding),
            "{codings:?}"
        );
    }
    assert_eq!(
        check(&[("host", "a"), ("host", "b")]),
        Err(FramingError::Host)
    );
    assert_eq!(
        check(&[("host", "a"), ("host", "a")]),
        Err(FramingError::Host)
    );
}

#[test]
fn ordinary_framing_passes() {
    let check = |sent: &[(&'static str, &'static str)]| check_framing(&fields(sent));
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(
        check(&[
            ("host", "a"),
            ("content-length", "5"),
            ("content-length", "5")
        ]),
        Ok(())
    );
    assert_eq!(check(&[("transfer-encoding", "Chunked")]), Ok(()));
}

#[test]
fn a_websocket_upgrade_has_no_body() {
    for (name, value, expected) in [
        ("content-length", "0", true),
        ("content-length", "5", false),
        ("transfer-encoding", "chunked", false),
    ] {
        let mut sent = UPGRADE_FIELDS.to_vec();
        sent.push((name, value));
        assert_eq!(
            is_websocket_upgrade(&fields(&sent)),
            expected,
            "{name}: {value}"
        );
    }
}

#[test]
fn no_cache_is_told_to_store_what_was_paid_for() {
    let mut headers = fields(&[
        ("cache-control", "public, max-age=600"),
        ("cdn-cache-control", "max-age=600"),
        ("cloudflare-cdn-cache-control", "max-age=600"),
        ("surrogate-control", "max-age=600"),
        ("x-accel-expires", "600"),
        ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ]);
    forbid_storing(&mut headers);
    let left = [
        ("cache-control", "private, no-store"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(headers, fields(&left));
}

#[test]
fn trailers_carry_nothing_that_the_head_could_not_or_that_only_the_head_may() {
    let sent = fields(&[
        ("x-checksum", "abc"),
        ("grpc-status", "0"),
        ("authorization", "Bearer x"),
        ("x-original-url", "/paid"),
        ("x-forwarded-for", "203.0.113.9"),
        ("host", "other.test"),
        ("transfer-encoding", "chunked"),
        ("own-charge", "0"),
        ("www-authenticate", "Basic"),
        ("x_original_url", "/paid"),
        ("x-note", "own money"),
    ]);
    let left = |frame: Frame<Bytes>| {
        let trailers = frame.into_trailers().unwrap();
        let names = trailers.keys().map(|name| name.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    let request = prepare_request_trailers(Frame::trailers(sent.clone()), withheld_line);
    assert_eq!(
        left(request),
        ["x-checksum", "grpc-status", "www-authenticate"]
    );
    let answer = left(prepare_response_trailers(
        Frame::trailers(sent),
        |name, _| withheld(name),
    ));
    for name in ["transfer-encoding", "own-charge"] {
        assert!(!answer.iter().any(|left| left == name), "{name}");
    }
    assert!(answer.iter().any(|left| left == "grpc-status"));
    let data = prepare_response_trailers(Frame::data(Bytes::from_static(b"bytes")), |name, _| {
        withheld(name)
    });
    assert_eq!(data.into_data().unwrap(), "bytes");
}

#[test]
fn names_that_some_servers_take_for_others_are_dropped() {
    let mut headers = fields(&[
        ("x_http_method_override", "DELETE"),
        ("x.original.url", "/paid"),
        ("x_forwarded_for", "203.0.113.9"),
        ("x-kept", "1"),
    ]);
    drop_unusual_names(&mut headers);
    assert_eq!(headers, fields(&[("x-kept", "1")]));
}

#[test]
fn where_unusual_names_are_kept_they_still_pass_no_rule() {
    let sent = [
        ("x_http_method_override", "DELETE"),
        ("x.original.url", "/paid"),
        ("x_forwarded_for", "203.0.113.9"),
        ("x_request_id", "mine"),
        ("own_money", "1"),
        ("trace_id", "abc"),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_static(value));
    }
    prepare_request(&mut headers, &STRANGER, withheld);
    for (name, _) in TOLD {
        headers.remove(name);
    }
    assert_eq!(headers, fields(&[("trace_id", "abc")]));

    let mut headers = fields(&[
        ("x_api_key", "evil"),
        ("x-api-key", "evil"),
        ("trace_id", "a"),
    ]);
    let name = HeaderName::from_static("x-api-key");
    inject(&mut headers, &[(name, HeaderValue::from_static("seller"))]);
    let expected = fields(&[("x-api-key", "seller"), ("trace_id", "a")]);
    assert_eq!(headers, expected);
}

#[test]
fn cookie_lines_become_one() {
    let sent = [
        ("cookie", "sid=abc"),
        ("cookie", "theme=dark"),
        ("cookie", "a=1; b=2"),
    ];
    assert_eq!(
        passed(&sent),
        owned(&[("cookie", "sid=abc; theme=dark; a=1; b=2")])
    );
    assert_eq!(passed(&sent[..1]), owned(&sent[..1]));
}

#[test]
fn a_request_without_a_host_tells_of_none() {
    let mut headers = fields(&[("x-forwarded-host", "bank.test")]);
    let forwarded = Forwarded {
        host: None,
        ..STRANGER
    };
    prepare_request(&mut headers, &forwarded, withheld);
    assert!(!headers.contains_key("x-forwarded-host"));
}

#[test]
fn a_length_is_told_where_the_head_may_say_so_and_is_the_upstreams_where_only_it_knows() {
    let told = |method: Method, status: StatusCode, by_upstream: Option<u16>| {
        let mut headers = HeaderMap::new();
        headers.extend(by_upstream.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        tell_length(&mut headers, &method, status, 2);
        let length = headers.get(CONTENT_LENGTH)?;
        length.to_str().unwrap().parse::<u16>().ok()
    };
    let (get, head) = (Method::GET, Method::HEAD);
    assert_eq!(told(get.clone(), StatusCode::OK, None), Some(2));
    assert_eq!(told(get.clone(), StatusCode::OK, Some(9)), Some(2));
    assert_eq!(told(get.clone(), StatusCode::NO_CONTENT, Some(0)), None);
    assert_eq!(told(get.clone(), StatusCode::NO_CONTENT, None), None);
    assert_eq!(told(get.clone(), StatusCode::NOT_MODIFIED, None), None);
    assert_eq!(told(get, StatusCode::NOT_MODIFIED, Some(9)), Some(9));
    assert_eq!(told(head.clone(), StatusCode::OK, None), None);
    assert_eq!(told(head.clone(), StatusCode::OK, Some(9)), Some(9));
    assert_eq!(told(head, StatusCode::NO_CONTENT, Some(9)), None);
}
