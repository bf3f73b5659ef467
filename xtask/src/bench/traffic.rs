//! What the generators send.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::http::request;

/// Bytes of the body that is posted: a small chat request.
const BODY_BYTES: usize = 1_024;
/// Strangers come from here upwards, each from a /24 of its own.
const FIRST_STRANGER: u32 = 0x1000_0000;
const NEXT_PREFIX: u32 = 0x100;

/// The requests of one measurement.
#[derive(Debug)]
pub(crate) enum Traffic {
    /// Connection by connection one of these, again and again.
    Repeated(Vec<Vec<u8>>),
    /// Every request comes from another client, as a proxy in front of the gateway tells it.
    Strangers {
        /// The path they ask for.
        path: &'static str,
        /// How many there have been.
        seen: AtomicU32,
    },
}

impl Traffic {
    /// The same request on all connections.
    pub(crate) fn same(request: Vec<u8>) -> Self {
        Self::Repeated(vec![request])
    }

    pub(crate) const fn strangers(path: &'static str) -> Self {
        Self::Strangers {
            path,
            seen: AtomicU32::new(0),
        }
    }

    /// Writes the next request of `connection` over what is in `buffer`, its previous one.
    pub(crate) fn write(&self, connection: usize, buffer: &mut Vec<u8>) {
        match self {
            Self::Repeated(requests) if buffer.is_empty() => {
                buffer.extend_from_slice(&requests[connection % requests.len()]);
            }
            Self::Repeated(_) => (),
            Self::Strangers { path, seen } => {
                buffer.clear();
                let client = stranger(seen.fetch_add(1, Ordering::Relaxed));
                let written = write!(
                    buffer,
                    "GET {path} HTTP/1.1\r\nHost: bench.test\r\nX-Forwarded-For: {client}\r\n\r\n"
                );
                debug_assert!(written.is_ok(), "a Vec takes everything");
            }
        }
    }

    /// How many strangers there have been.
    pub(crate) fn seen(&self) -> u64 {
        match self {
            Self::Repeated(_) => 0,
            Self::Strangers { seen, .. } => u64::from(seen.load(Ordering::Relaxed)),
        }
    }
}

/// The address of a client that shares its prefix with no other.
pub(crate) fn stranger(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_STRANGER.wrapping_add(number.wrapping_mul(NEXT_PREFIX)))
}

/// The request that all comparisons are made with: a POST with a body of 1 KiB.
pub(crate) fn chat(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    request("POST", path, fields, &chat_body())
}

fn chat_body() -> String {
    let (start, end) = (
        r#"{"model":"bench","messages":[{"role":"user","content":""#,
        r#""}]}"#,
    );
    let text = "x".repeat(BODY_BYTES - start.len() - end.len());
    format!("{start}{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_strangers_share_a_prefix() {
        let prefixes = [stranger(0), stranger(1), stranger(1_000_000)];
        assert_eq!(prefixes.map(|client| client.octets()[3]), [0, 0, 0]);
        assert!(prefixes[0] != prefixes[1] && prefixes[1] != prefixes[2]);
    }

    #[test]
    fn connections_keep_their_own_request() {
        let traffic = Traffic::Repeated(vec![b"one".to_vec(), b"two".to_vec()]);
        let mut buffer = Vec::new();
        traffic.write(3, &mut buffer);
        traffic.write(3, &mut buffer);
        assert_eq!(buffer, b"two");
        assert_eq!(chat_body().len(), BODY_BYTES);
    }
}
