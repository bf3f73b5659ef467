//! Relays that are not there, say nothing or break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farebox_core::Secret;
use farebox_http::client::{CallError, Trust};
use farebox_lightning::nwc::{Nwc, NwcError, NwcUriError};
use farebox_lightning::{CreateInvoice, NodeError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::stage::{Act, Stage};
use super::{backend, hasty, invoice, options, request};

const KEYS: &str = "b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4";
const SECRET: &str = "71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c";

fn uri(relays: &[String]) -> String {
    let relays: Vec<_> = relays
        .iter()
        .map(|relay| format!("relay={relay}"))
        .collect();
    format!(
        "nostr+walletconnect://{KEYS}?secret={SECRET}&{}",
        relays.join("&")
    )
}

async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn relays_that_are_not_there_fail_at_once_and_temporarily() {
    let backend = backend(&uri(&[closed_port().await, closed_port().await]));
    let began = Instant::now();
    let error = invoice(&backend).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::NotConnected { .. })),
        "{error:?}"
    );
    assert!(error.is_temporary() && error.is_certain_refusal());
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_relay_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("ws://{}", listener.local_addr().unwrap());
    let error = invoice(&hasty(&uri(&[silent]))).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::NotConnected { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wallet_that_says_nothing_times_out() {
    let stage = Stage::start(|_, _| vec![]).await;
    let error = invoice(&hasty(&stage.uri)).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::TimedOut { .. })),
        "{error:?}"
    );
    assert!(error.is_temporary() && !error.is_certain_refusal());
}

#[tokio::test]
async fn a_harmless_request_is_sent_again_after_a_broken_connection() {
    let heard = AtomicUsize::new(0);
    let stage = Stage::start(move |actor, asked| {
        if heard.fetch_add(1, Ordering::Relaxed) == 0 {
            return vec![Act::Close];
        }
        actor.refused(asked, "INTERNAL")
    })
    .await;
    let error = invoice(&backend(&stage.uri)).await.unwrap_err();
    assert!(matches!(error, NodeError::Refused { .. }), "{error:?}");
    let asked = stage.asked("make_invoice");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].id, asked[1].id, "the same event");
}

#[tokio::test]
async fn a_relay_that_wants_to_know_who_we_are_is_told() {
    let stage = Stage::guarded(|actor, asked| actor.refused(asked, "INTERNAL")).await;
    let error = invoice(&hasty(&stage.uri)).await.unwrap_err();
    assert!(matches!(error, NodeError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_relay_that_calls_a_repetition_refused_is_waited_for() {
    let stage = Stage::start(|actor, asked| {
        let refused = nostr::RelayMessage::ok(asked.id, false, "duplicate: have it");
        let mut acts = vec![Act::Send(nostr::JsonUtil::as_json(&refused))];
        acts.extend(actor.refused(asked, "RESTRICTED"));
        acts
    })
    .await;
    let error = invoice(&backend(&stage.uri)).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { .. }), "{error:?}");
}

/// A runtime that lives and runs nothing: its connections look alive and carry nothing.
#[test]
fn a_runtime_that_stands_still_costs_one_call() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (theatre, still, next) = (runtime(), runtime(), runtime());
    let stage = Stage::start(|actor, asked| actor.refused(asked, "INTERNAL"));
    let stage = theatre.block_on(stage);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let theatre = std::thread::spawn(move || drop(theatre.block_on(stopped)));
    let backend = hasty(&stage.uri);
    let answered = |error: &NodeError| matches!(error, NodeError::Refused { .. });
    let error = still.block_on(invoice(&backend)).unwrap_err();
    assert!(answered(&error), "{error:?}");
    let error = next.block_on(invoice(&backend)).unwrap_err();
    assert!(
        error.is_certain_refusal(),
        "it was never written: {error:?}"
    );
    let error = next.block_on(invoice(&backend)).unwrap_err();
    assert!(answered(&error), "{error:?}");
    drop((stop, still));
    theatre.join().unwrap();
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let stage = Stage::start(|_, _| vec![]).await;
    let mut patient = options(&stage.uri);
    patient.call_timeout = Duration::from_secs(2);
    let backend = Arc::new(Nwc::new(patient).unwrap());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let backend = Arc::clone(&backend);
        calls.spawn(async move { backend.create_invoice(request(2000)).await.unwrap_err() });
    }
    let errors = calls.join_all().await;
    let busy = errors
        .iter()
        .filter(|error| matches!(error, NodeError::Call(CallError::Busy { limit: 64 })));
    assert_eq!(busy.count(), 16);
}

#[test]
fn a_uri_that_is_none_is_refused_and_not_shown() {
    let relay = "wss://relay.example.com".to_owned();
    for (uri, fault) in [
        (format!("https://{KEYS}"), NwcUriError::Scheme),
        (uri(&[]), NwcUriError::NoRelay),
        (
            uri(std::slice::from_ref(&relay)).replace(SECRET, "71a8"),
            NwcUriError::Secret,
        ),
        (
            uri(&["ws://relay.example.com".to_owned()]),
            NwcUriError::PlainWs {
                host: "relay.example.com".to_owned(),
            },
        ),
    ] {
        let Err(error) = Nwc::new(options(&uri)) else {
            panic!("accepted");
        };
        assert_eq!(error, NwcError::Uri(fault));
        let told = format!("{error} {error:?} {:?}", Secret::new(uri));
        assert!(!told.contains(SECRET) && !told.contains(KEYS), "{told}");
    }
    assert!(Nwc::new(options(&uri(&[relay]))).is_ok());
}

/// A TLS server in front of a relay; gives its URL and its certificate.
async fn behind_tls(relay: String) -> (String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, relay) = (acceptor.clone(), relay.clone());
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await.ok()?;
                let mut inside = TcpStream::connect(relay).await.ok()?;
                copy_bidirectional(&mut outside, &mut inside).await.ok()
            });
        }
    });
    (format!("wss://localhost:{port}"), certificate)
}

#[tokio::test]
async fn a_relay_behind_tls_must_show_a_certificate_that_is_trusted() {
    let stage = Stage::start(|actor, asked| actor.refused(asked, "INTERNAL")).await;
    let (start, relay) = stage.uri.split_once("&relay=ws://").unwrap();
    let (url, certificate) = behind_tls(relay.to_owned()).await;
    let uri = format!("{start}&relay={url}");
    let mut trusting = options(&uri);
    trusting.trust = Trust::Pinned(vec![certificate]);
    let error = invoice(&Nwc::new(trusting).unwrap()).await.unwrap_err();
    assert!(matches!(error, NodeError::Refused { .. }), "{error:?}");
    let error = invoice(&backend(&uri)).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::NotConnected { .. })),
        "{error:?}"
    );
    assert_eq!(stage.asked("make_invoice").len(), 1);
}
