//! Calling the operator's own node: what is trusted, what is bounded, what is said when it fails.

use std::sync::Arc;
use std::time::Duration;

use farebox_http::client::{CallError, EndpointError, Trust};
use farebox_lightning::lnd::Lnd;
use farebox_lightning::{AnswerFault, CreateInvoice, CreatedInvoice, NodeError};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::lnd_fake::{FakeNode, Reply, Then, base64, refusal};
use crate::provider::request;

async fn invoice(lnd: &Lnd) -> Result<CreatedInvoice, NodeError> {
    lnd.create_invoice(request(2000)).await
}

async fn refused(reply: fn() -> Reply) -> NodeError {
    let node = FakeNode::start(move |_| reply()).await;
    invoice(&node.impatient()).await.unwrap_err()
}

#[tokio::test]
async fn a_pinned_certificate_is_good_whatever_name_it_carries() {
    let node = FakeNode::honest().await;
    assert!(invoice(&node.lnd()).await.is_ok());
}

#[tokio::test]
async fn another_certificate_is_not_connected_to_and_sees_no_credential() {
    let node = FakeNode::honest().await;
    let other = FakeNode::honest().await;
    let mut options = node.options();
    for (trust, reason) in [
        (
            Trust::Pinned(vec![other.certificate().unwrap().clone()]),
            "pinned",
        ),
        (Trust::Web, "certificate"),
    ] {
        options.trust = trust;
        let lnd = Lnd::new(options.clone()).unwrap();
        let error = invoice(&lnd).await.unwrap_err();
        assert!(
            matches!(error, NodeError::Call(CallError::NotConnected { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.is_certain_refusal() && error.is_temporary());
    }
    assert!(node.seen("/v1/invoices").is_empty());
}

#[tokio::test]
async fn a_certificate_file_is_read_and_other_text_refused() {
    let made = rcgen::generate_simple_self_signed(["node".to_owned()]).unwrap();
    let pinned = Trust::Pinned(vec![made.cert.der().clone()]);
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64(made.cert.der())
    );
    assert_eq!(Trust::pinned_pem(pem.as_bytes()), Ok(pinned));
    for text in [
        "",
        "secret",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(
            Trust::pinned_pem(text.as_bytes()),
            Err(EndpointError::NoCertificate)
        );
    }
    let node = FakeNode::honest().await;
    let mut options = node.options();
    options.trust = Trust::Pinned(vec![]);
    assert_eq!(Lnd::new(options).err(), Some(EndpointError::NoCertificate));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = refused(|| Reply::Raw {
        status: 307,
        headers: vec![("location", "/v1/other".to_owned())],
        body: vec![],
    })
    .await;
    assert!(matches!(
        error,
        NodeError::Call(CallError::Redirect { status: 307, .. })
    ));
}

#[tokio::test]
async fn a_node_that_says_nothing_or_never_ends_times_out() {
    for reply in [|| Reply::Silence, || Reply::Trickle] {
        let error = refused(reply).await;
        assert!(
            matches!(error, NodeError::Call(CallError::TimedOut { .. })),
            "{error}"
        );
        assert!(error.is_temporary() && !error.is_certain_refusal());
    }
}

#[tokio::test]
async fn a_gigantic_answer_is_not_read_to_its_end() {
    let error = refused(|| Reply::Flood).await;
    assert!(matches!(
        error,
        NodeError::Call(CallError::TooLarge { limit, .. }) if limit == 1024 * 1024
    ));
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_the_outcome_open() {
    let error = refused(|| Reply::Lines(vec![json!({"r_hash": ""})], Then::Cut)).await;
    assert!(
        matches!(error, NodeError::Call(CallError::Unreachable { .. })),
        "{error}"
    );
    assert!(error.is_temporary() && !error.is_certain_refusal());
}

#[tokio::test]
async fn garbage_is_refused_and_not_shown() {
    for body in [
        "",
        "null",
        "[]",
        "{\"payment_request\":7}",
        "<html>0123456789abcdef</html>",
    ] {
        let node = FakeNode::start(move |_| Reply::Raw {
            status: 200,
            headers: vec![],
            body: body.into(),
        })
        .await;
        let error = invoice(&node.lnd()).await.unwrap_err();
        assert!(
            matches!(
                error,
                NodeError::BadAnswer {
                    fault: AnswerFault::Json { .. },
                    ..
                }
            ),
            "{body}: {error}"
        );
        assert!(!error.to_string().contains("0123456789abcdef"));
    }
}

#[tokio::test]
async fn statuses_without_a_reason_mean_what_http_says() {
    for (status, temporary) in [
        (401, false),
        (403, false),
        (404, false),
        (429, true),
        (502, true),
    ] {
        let node = FakeNode::start(move |_| Reply::Raw {
            status,
            headers: vec![],
            body: b"oops".into(),
        })
        .await;
        let error = invoice(&node.lnd()).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{status}: {error}");
        let forbidden =
            matches!(error, NodeError::Forbidden { status: told, .. } if told == status);
        assert_eq!(forbidden, status == 401 || status == 403);
    }
}

#[tokio::test]
async fn a_closed_port_was_never_reached_and_the_error_says_why() {
    let node = FakeNode::honest().await;
    let mut options = node.options();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    options.url = format!("https://{closed}").parse().unwrap();
    let error = invoice(&Lnd::new(options).unwrap()).await.unwrap_err();
    assert!(matches!(
        error,
        NodeError::Call(CallError::NotConnected { .. })
    ));
    assert!(error.is_certain_refusal());
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let node = FakeNode::start(|_| Reply::Silence).await;
    let mut options = node.options();
    options.call_timeout = Duration::from_secs(2);
    let lnd = Arc::new(Lnd::new(options).unwrap());
    let mut calls = JoinSet::new();
    for _ in 0..140 {
        let lnd = Arc::clone(&lnd);
        calls.spawn(async move { invoice(&lnd).await.unwrap_err() });
    }
    let errors = calls.join_all().await;
    let busy = errors
        .iter()
        .filter(|error| matches!(error, NodeError::Call(CallError::Busy { limit: 128 })));
    assert_eq!(busy.count(), 12);
}

#[tokio::test]
async fn one_backend_serves_runtimes_that_come_and_go() {
    let node = FakeNode::honest().await;
    let lnd = Arc::new(node.lnd());
    for _ in 0..3 {
        let lnd = Arc::clone(&lnd);
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(invoice(&lnd)).map(|_| ())
        });
        let outcome = tokio::task::spawn_blocking(|| elsewhere.join().unwrap()).await;
        outcome.unwrap().unwrap();
    }
    assert!(invoice(&lnd).await.is_ok());
}

#[tokio::test]
async fn the_credential_goes_out_in_its_header_and_into_no_error() {
    let node = FakeNode::start(|_| Reply::Json(500, refusal(2, "permission denied"))).await;
    let error = invoice(&node.lnd()).await.unwrap_err();
    let call = &node.seen("/v1/invoices")[0];
    let sent = call.headers["grpc-metadata-macaroon"].to_str().unwrap();
    assert!(sent.starts_with("0202"), "{sent}");
    assert!(matches!(error, NodeError::Forbidden { .. }));
    assert!(!format!("{error} {error:?}").contains(&sent[..16]));
}
