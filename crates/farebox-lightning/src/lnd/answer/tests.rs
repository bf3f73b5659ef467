use super::*;

fn denial(http: u16, body: &str) -> Denial {
    let answer = crate::answer::recorded(http, body);
    check(&answer).unwrap_err()
}

#[test]
fn refusals_are_told_apart_as_lnd_writes_them() {
    let missing = [
        (
            404,
            r#"{"code":5,"message":"unable to locate invoice","details":[]}"#,
        ),
        (
            500,
            r#"{"code":2,"message":"unable to locate invoice","details":[]}"#,
        ),
        (
            404,
            r#"{"error":{"code":5,"message":"payment isn't initiated","details":[]}}"#,
        ),
    ];
    for (http, body) in missing {
        assert!(matches!(denial(http, body), Denial::NotFound(_)), "{body}");
    }
    let there = [
        (
            409,
            r#"{"error":{"code":6,"message":"invoice is already paid","details":[]}}"#,
        ),
        (
            500,
            r#"{"code":2,"message":"payment is in transition","details":[]}"#,
        ),
    ];
    for (http, body) in there {
        assert!(matches!(denial(http, body), Denial::Exists(_)), "{body}");
    }
    let refused = r#"{"error":{"code":2,"message":"invalid bech32 string length 1","details":[]}}"#;
    assert!(matches!(
        denial(500, refused),
        Denial::Refused(NodeError::Refused { reason, .. }) if reason.contains("bech32")
    ));
}

#[test]
fn a_credential_that_does_not_fit_is_forbidden_whatever_the_status() {
    for message in [
        "permission denied",
        "expected 1 macaroon, got 0",
        "unmarshal v2: varint value extends past end of buffer",
        "verification failed: signature mismatch after caveat verification",
        "cannot get macaroon: root key with id 1 doesn't exist",
    ] {
        let body = format!(r#"{{"code":2,"message":"{message}","details":[]}}"#);
        let error = NodeError::from(denial(500, &body));
        assert!(matches!(error, NodeError::Forbidden { .. }), "{message}");
    }
}

#[test]
fn a_node_that_is_not_ready_is_unavailable_and_has_decided_nothing() {
    for (http, code, message) in [
        (500, 2, "waiting to start, RPC services not available"),
        (500, 2, "wallet locked, unlock it to enable full RPC access"),
        (
            500,
            2,
            "the RPC server is in the process of starting up, but not yet ready to accept calls",
        ),
        (500, 2, "router server shutting down"),
        (
            503,
            14,
            "connection error: desc = \\\"transport: Error while dialing\\\"",
        ),
        (501, 12, "unknown service routerrpc.Router"),
        (504, 4, "context deadline exceeded"),
    ] {
        let body = format!(r#"{{"code":{code},"message":"{message}","details":[]}}"#);
        let denial = denial(http, &body);
        assert!(
            matches!(denial, Denial::Failed(NodeError::Unavailable { .. })),
            "{message}: {denial:?}"
        );
    }
}

#[test]
fn a_path_that_is_not_there_says_nothing_about_an_invoice() {
    let body = r#"{"code":5,"message":"Not Found","details":[]}"#;
    assert!(matches!(denial(404, body), Denial::Failed(_)));
    for (http, body) in [(404, "<html>nginx</html>"), (502, ""), (418, "{}")] {
        assert!(matches!(denial(http, body), Denial::Failed(_)), "{body}");
    }
}
