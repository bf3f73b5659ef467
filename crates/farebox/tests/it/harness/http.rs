//! Requests spelled byte for byte, and answers as they stood on the wire.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Connection, Token};

/// A request; nothing is added to it but `Host`, and `Content-Length` where there is a body.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer, its body decoded from chunks and read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Call {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self {
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("POST", target)
        }
    }

    /// The opening of a WebSocket (RFC 6455 section 4.1).
    pub(crate) fn websocket(target: &str) -> Self {
        Self::get(target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// One more field line, exactly as given; may be repeated.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Paid with `token`.
    pub(crate) fn with(self, token: &Token) -> Self {
        self.header("Authorization", &token.authorization())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// The request line and header section, with the empty line at the end.
    pub(crate) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("host") {
            head.push_str("Host: gateway.test\r\n");
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let length_is_said = self.has("content-length") || self.has("transfer-encoding");
        if !self.body.is_empty() && !length_is_said {
            write!(head, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        head + "\r\n"
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub(crate) fn try_send(&self, to: SocketAddr) -> io::Result<Reply> {
        let mut connection = Connection::open(to)?;
        connection.send(self)?;
        connection.read_reply(&self.method)
    }

    /// Like [`Self::try_send`], for answers that must arrive whole.
    pub(crate) fn send(&self, to: SocketAddr) -> Reply {
        self.try_send(to)
            .unwrap_or_else(|e| panic!("{} {}: {e}", self.method, self.target))
    }
}

impl Reply {
    /// All values of the field `name` (in lower case), in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of the field `name` (in lower case).
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is repeated: {values:?}");
        values.first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|e| panic!("{e} in a {} answer: {}", self.status, self.text()))
    }

    /// Fails with the answer's text unless the status is `status`.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}
