//! One WebSocket to one relay: connecting, TLS included, within a limit, and nothing larger than a
//! limit is read or kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::uri::RelayUrl;

/// The largest message that is read, in bytes. NIP-47 wants relays to carry 64 KiB, which NIP-44
/// and JSON make longer by half.
pub(super) const MAX_MESSAGE: usize = 256 * 1024;

/// The name, TCP, TLS and the WebSocket handshake together.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("no connection within {CONNECT_WITHIN:?}")]
    TooSlow,
    #[error("the connection was not made")]
    Connect(#[source] io::Error),
    #[error("its name is no name for TLS")]
    Name(#[source] rustls::pki_types::InvalidDnsNameError),
    #[error("it does not speak as a relay")]
    WebSocket(#[source] Box<tungstenite::Error>),
    #[error("it closed the connection")]
    Closed,
    #[error("it has been silent for too long")]
    Silent,
    #[error("it refuses our subscription")]
    Refused,
    #[error("it sends what is not a relay's or is forged")]
    Misbehaved,
}

impl From<tungstenite::Error> for RelayError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// Connects to a relay.
pub(super) async fn connect(
    relay: &RelayUrl,
    tls: &Arc<ClientConfig>,
) -> Result<Socket, RelayError> {
    tokio::time::timeout(CONNECT_WITHIN, open(relay, tls))
        .await
        .unwrap_or(Err(RelayError::TooSlow))
}

async fn open(relay: &RelayUrl, tls: &Arc<ClientConfig>) -> Result<Socket, RelayError> {
    let tcp = TcpStream::connect((relay.name(), relay.port))
        .await
        .map_err(RelayError::Connect)?;
    tcp.set_nodelay(true).map_err(RelayError::Connect)?;
    let stream: Box<dyn Stream> = if relay.tls {
        Box::new(handshake(relay, tls, tcp).await?)
    } else {
        Box::new(tcp)
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .max_write_buffer_size(MAX_MESSAGE);
    let opened =
        tokio_tungstenite::client_async_with_config(&relay.uri, stream, Some(config)).await?;
    Ok(opened.0)
}

async fn handshake(
    relay: &RelayUrl,
    tls: &Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, RelayError> {
    let name = ServerName::try_from(relay.name().to_owned()).map_err(RelayError::Name)?;
    TlsConnector::from(Arc::clone(tls))
        .connect(name, tcp)
        .await
        .map_err(RelayError::Connect)
}

/// A connection with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
