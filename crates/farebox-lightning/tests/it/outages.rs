//! Providers that are down, slow or overwhelmed: temporary, each of them.

use std::sync::Arc;
use std::time::Duration;

use farebox_http::client::CallError;
use farebox_lightning::lnurl::LightningAddress;
use farebox_lightning::{CreateInvoice, CreatedInvoice, NodeError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::provider::{Provider, Reply, request};

fn temporary(result: Result<CreatedInvoice, NodeError>) -> NodeError {
    let error = result.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    error
}

async fn impatiently(provider: &Provider) -> Result<CreatedInvoice, NodeError> {
    let mut options = provider.options();
    options.call_timeout = Duration::from_millis(200);
    LightningAddress::new(options)
        .create_invoice(request(2000))
        .await
}

#[tokio::test]
async fn a_provider_that_says_nothing_times_out() {
    let silent = Provider::start(|_| Reply::Silence).await;
    assert!(matches!(
        temporary(impatiently(&silent).await),
        NodeError::Call(CallError::TimedOut { .. })
    ));
    let silent = Provider::calling_back(|_| Reply::Silence).await;
    assert!(matches!(
        temporary(impatiently(&silent).await),
        NodeError::Call(CallError::TimedOut { .. })
    ));
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let slow = Provider::calling_back(|_| Reply::Trickle).await;
    assert!(matches!(
        temporary(impatiently(&slow).await),
        NodeError::Call(CallError::TimedOut { .. })
    ));
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_the_error_says_why() {
    let provider = Provider::honest().await;
    let mut options = provider.options();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    options.address = format!("me@{closed}").parse().unwrap();
    options.allowed = farebox_http::client::AllowedHosts::new(vec![closed.parse().unwrap()]);
    let error = temporary(
        LightningAddress::new(options)
            .create_invoice(request(2000))
            .await,
    );
    assert!(matches!(
        error,
        NodeError::Call(CallError::NotConnected { .. })
    ));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_provider_in_trouble_is_unavailable() {
    for status in [429, 500, 502, 503] {
        let troubled = move || Reply::Raw {
            status,
            headers: vec![],
            body: b"oops".into(),
        };
        let provider = Provider::start(move |_| troubled()).await;
        let error = temporary(provider.invoice().await);
        assert!(matches!(error, NodeError::Unavailable { status: told, .. } if told == status));
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let silent = Provider::start(|_| Reply::Silence).await;
    let mut options = silent.options();
    options.call_timeout = Duration::from_secs(1);
    let backend = Arc::new(LightningAddress::new(options));
    let mut calls = JoinSet::new();
    for _ in 0..80 {
        let backend = Arc::clone(&backend);
        calls.spawn(async move { backend.create_invoice(request(2000)).await });
    }
    let errors: Vec<_> = calls.join_all().await.into_iter().map(temporary).collect();
    let busy = errors
        .iter()
        .filter(|error| matches!(error, NodeError::Call(CallError::Busy { .. })))
        .count();
    assert_eq!(busy, 16);
    assert_eq!(silent.seen("/.well-known/lnurlp/me").len(), 1);
}
