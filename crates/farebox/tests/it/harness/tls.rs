//! Doors into and out of TLS: a listener that wraps or unwraps what passes, so that everything
//! else in the tests goes on speaking in clear.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate authority of one test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A port on the other side of which a connection is wrapped in TLS, or unwrapped. Dropping it
/// closes the port and everything that passes through it.
pub(crate) struct TlsDoor {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
enum Way {
    /// TLS comes in, clear text goes on.
    Unwrap(TlsAcceptor),
    /// Clear text comes in, TLS goes on.
    Wrap(TlsConnector),
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Writes its own certificate into `folder`, for those who trust it.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        std::fs::write(&file, pem("CERTIFICATE", self.0.der())).unwrap();
        file
    }

    /// Writes a certificate for `name` and its key into `folder`.
    pub(crate) fn issue(&self, name: &str, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.sign(name);
        let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert_file, pem("CERTIFICATE", certificate.der())).unwrap();
        std::fs::write(&key_file, pem("PRIVATE KEY", key.serialized_der())).unwrap();
        (cert_file, key_file)
    }

    /// A TLS server in the name of `name` in front of `behind`.
    pub(crate) fn in_front_of(&self, behind: SocketAddr, name: &str, alpn: &[&str]) -> TlsDoor {
        let (certificate, key) = self.sign(name);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        let mut config = config.unwrap();
        config.alpn_protocols = protocols(alpn);
        TlsDoor::open(behind, Way::Unwrap(TlsAcceptor::from(Arc::new(config))))
    }

    /// A port in clear before a TLS server that has a certificate of this authority.
    pub(crate) fn trusting(&self, server: SocketAddr, alpn: &[&str]) -> TlsDoor {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = protocols(alpn);
        TlsDoor::open(server, Way::Wrap(TlsConnector::from(Arc::new(config))))
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

impl TlsDoor {
    fn open(behind: SocketAddr, way: Way) -> Self {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, behind, way) => (),
                    _ = stopped => (),
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: StdListener, behind: SocketAddr, way: Way) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(pass(stream, behind, way.clone()));
    }
}

/// A handshake that fails closes the connection, which is what the tests look at.
async fn pass(here: TcpStream, behind: SocketAddr, way: Way) {
    let Ok(there) = TcpStream::connect(behind).await else {
        return;
    };
    there.set_nodelay(true).unwrap();
    match way {
        Way::Unwrap(acceptor) => {
            if let Ok(here) = acceptor.accept(here).await {
                join(here, there).await;
            }
        }
        Way::Wrap(connector) => {
            let name = ServerName::try_from("localhost").unwrap();
            if let Ok(there) = connector.connect(name, there).await {
                join(here, there).await;
            }
        }
    }
}

async fn join(mut one: impl Stream, mut other: impl Stream) {
    drop(copy_bidirectional(&mut one, &mut other).await);
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}
