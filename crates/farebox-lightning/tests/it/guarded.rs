//! The guard, seen from outside: what is inside is not called unless it is listed.

use std::sync::Arc;
use std::time::Duration;

use farebox_http::client::{AllowedHosts, CallError, FetchLimits, GuardedClient};
use farebox_lightning::lnurl::{LightningAddress, LightningAddressOptions};
use farebox_lightning::{CreateInvoice, NodeError};
use http::Uri;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::provider::{Ask, Desk, Provider, clock, request, serve};

const LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(5),
    body: 65_536,
};

fn url(text: &str) -> Uri {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_inner_host_is_not_called() {
    let client = GuardedClient::new(AllowedHosts::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
    ] {
        let error = client
            .get(&url(&format!("https://{host}:{port}/")), LIMITS)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Blocked { host: told } if *told == format!("{host}:{port}")),
            "{error}"
        );
        assert!(!error.is_temporary());
    }
    let knocked = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(knocked.is_err(), "something connected");
}

#[tokio::test]
async fn plain_http_is_not_called() {
    let provider = Provider::honest().await;
    let client = GuardedClient::new(AllowedHosts::default());
    for host in ["example.com", &provider.address.to_string()] {
        let refused = client.get(&url(&format!("http://{host}/")), LIMITS).await;
        assert!(matches!(refused, Err(CallError::Url { .. })));
    }
    assert_eq!(provider.seen("/"), [""; 0]);
}

#[tokio::test]
async fn a_listed_provider_cannot_send_us_to_another_inner_host() {
    let victim = Provider::honest().await;
    for callback in [
        format!("http://{}/cb", victim.address),
        format!("http://localhost:{}/cb", victim.address.port()),
    ] {
        let provider = Provider::stating("callback", json!(callback)).await;
        let error = provider.invoice().await.unwrap_err();
        assert!(
            matches!(error, NodeError::Call(CallError::Url { .. })),
            "{error}"
        );
    }
    for callback in [
        format!("https://{}/cb", victim.address),
        format!("https://localhost:{}/cb", victim.address.port()),
    ] {
        let provider = Provider::stating("callback", json!(callback)).await;
        let error = provider.invoice().await.unwrap_err();
        assert!(
            matches!(error, NodeError::Call(CallError::Blocked { .. })),
            "{error}"
        );
    }
    assert_eq!(victim.seen("/cb"), [""; 0]);
}

#[tokio::test]
async fn an_address_inside_is_blocked_unless_listed() {
    let provider = Provider::honest().await;
    let address = format!("me@localhost:{}", provider.address.port());
    let mut options = LightningAddressOptions::new(address.parse().unwrap(), clock());
    let refused = LightningAddress::new(options.clone())
        .create_invoice(request(2000))
        .await;
    assert!(matches!(
        refused,
        Err(NodeError::Call(CallError::Blocked { .. }))
    ));
    let listed = [
        format!("localhost:{}", provider.address.port()),
        provider.address.to_string(),
    ];
    options.allowed = AllowedHosts::new(listed.iter().map(|host| host.parse().unwrap()).collect());
    assert!(
        LightningAddress::new(options)
            .create_invoice(request(2000))
            .await
            .is_ok()
    );
}

/// An honest provider behind TLS for `localhost`, and the roots that trust it.
async fn tls_provider() -> (u16, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let base = format!("https://localhost:{port}");
    let desk = Desk {
        base,
        seen: Arc::default(),
        script: Arc::new(Ask::honest),
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, desk) = (acceptor.clone(), desk.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, desk).await;
                }
            });
        }
    });
    (port, roots)
}

#[tokio::test]
async fn an_invoice_comes_over_tls_from_a_provider_we_trust() {
    let (port, roots) = tls_provider().await;
    let address = format!("me@localhost:{port}").parse().unwrap();
    let mut options = LightningAddressOptions::new(address, clock());
    options.allowed = AllowedHosts::new(vec![format!("https://localhost:{port}").parse().unwrap()]);
    let client = GuardedClient::with_roots(options.allowed.clone(), roots);
    let trusting = LightningAddress::with_client(options.clone(), client);
    trusting.create_invoice(request(2000)).await.unwrap();

    let stranger = LightningAddress::new(options)
        .create_invoice(request(2000))
        .await;
    let error = stranger.unwrap_err();
    assert!(matches!(
        error,
        NodeError::Call(CallError::NotConnected { .. })
    ));
    assert!(error.to_string().contains("certificate"), "{error}");
}
