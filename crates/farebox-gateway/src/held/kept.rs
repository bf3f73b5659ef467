//! A request and an answer as bytes: what outlives the client and the process while a payment is
//! held.
//!
//! The form is private to this file and read only from our own store. Each text is preceded by its
//! length; a version stands in front, so that a later Farebox refuses what it would misread.

use std::net::IpAddr;

use bytes::Bytes;
use farebox_http::replay::Asked;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

const VERSION: u8 = 2;

/// Why stored bytes are no request or answer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes of a held call cannot be read")]
pub(crate) struct Unreadable;

/// A request that waits for its payment.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct KeptRequest {
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Who sent it: the last address, and the client as far as trusted proxies tell.
    pub(crate) peer: IpAddr,
    pub(crate) client: IpAddr,
}

/// A whole answer that waits for its client.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct KeptAnswer {
    /// What it is an answer to, beside what the sale knows of its request.
    pub(crate) asked: Asked,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl KeptRequest {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(self.body.len());
        out.text(self.method.as_str().as_bytes());
        out.text(self.host.as_bytes());
        out.text(self.path.as_bytes());
        out.flag(self.query.is_some());
        out.text(self.query.as_deref().unwrap_or_default().as_bytes());
        out.text(self.peer.to_string().as_bytes());
        out.text(self.client.to_string().as_bytes());
        out.headers(&self.headers);
        out.text(&self.body);
        out.0
    }

    pub(crate) fn parse(bytes: Bytes) -> Result<Self, Unreadable> {
        let mut input = Cursor::open(bytes)?;
        let method = Method::from_bytes(&input.text()?).map_err(|_| Unreadable)?;
        let (host, path) = (input.string()?, input.string()?);
        let has_query = input.flag()?;
        let query = input.string()?;
        let request = Self {
            method,
            host,
            path,
            query: has_query.then_some(query),
            peer: input.address()?,
            client: input.address()?,
            headers: input.headers()?,
            body: input.text()?,
        };
        input.end(request)
    }
}

impl KeptAnswer {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(self.body.len());
        out.headers(self.asked.fields());
        out.0.extend_from_slice(&self.status.as_u16().to_be_bytes());
        out.headers(&self.headers);
        out.text(&self.body);
        out.0
    }

    pub(crate) fn parse(bytes: Bytes) -> Result<Self, Unreadable> {
        let mut input = Cursor::open(bytes)?;
        let asked = Asked::from_fields(input.headers()?);
        let status = u16::from_be_bytes([input.byte()?, input.byte()?]);
        let answer = Self {
            asked,
            status: StatusCode::from_u16(status).map_err(|_| Unreadable)?,
            headers: input.headers()?,
            body: input.text()?,
        };
        input.end(answer)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(body: usize) -> Self {
        let mut bytes = Vec::with_capacity(body + 1024);
        bytes.push(VERSION);
        Self(bytes)
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&count.to_be_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }

    fn headers(&mut self, headers: &HeaderMap) {
        self.count(headers.len());
        for (name, value) in headers {
            self.text(name.as_str().as_bytes());
            self.text(value.as_bytes());
        }
    }
}

struct Cursor(Bytes);

impl Cursor {
    fn open(bytes: Bytes) -> Result<Self, Unreadable> {
        let mut input = Self(bytes);
        if input.byte()? == VERSION {
            Ok(input)
        } else {
            Err(Unreadable)
        }
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Unreadable> {
        if count > self.0.len() {
            return Err(Unreadable);
        }
        Ok(self.0.split_to(count))
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn flag(&mut self) -> Result<bool, Unreadable> {
        Ok(self.byte()? != 0)
    }

    fn count(&mut self) -> Result<usize, Unreadable> {
        let bytes = self.take(4)?;
        let count = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        usize::try_from(count).map_err(|_| Unreadable)
    }

    fn text(&mut self) -> Result<Bytes, Unreadable> {
        let length = self.count()?;
        self.take(length)
    }

    fn string(&mut self) -> Result<String, Unreadable> {
        String::from_utf8(self.text()?.to_vec()).map_err(|_| Unreadable)
    }

    fn address(&mut self) -> Result<IpAddr, Unreadable> {
        self.string()?.parse().map_err(|_| Unreadable)
    }

    fn headers(&mut self) -> Result<HeaderMap, Unreadable> {
        let count = self.count()?;
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.text()?).map_err(|_| Unreadable)?;
            let value = HeaderValue::from_maybe_shared(self.text()?).map_err(|_| Unreadable)?;
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn end<T>(self, read: T) -> Result<T, Unreadable> {
        if self.0.is_empty() {
            Ok(read)
        } else {
            Err(Unreadable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        let odd = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        headers.append("x-odd", odd);
        headers
    }

    fn request(query: Option<&str>) -> KeptRequest {
        KeptRequest {
            method: Method::POST,
            host: "api.example.com".to_owned(),
            path: "/v1/chat".to_owned(),
            query: query.map(str::to_owned),
            headers: headers(),
            body: Bytes::from_static(b"{\0\xff}"),
            peer: "::1".parse().unwrap(),
            client: "192.0.2.7".parse().unwrap(),
        }
    }

    #[test]
    fn a_request_is_read_back_as_it_was() {
        for query in [None, Some(""), Some("a=1&b=%20")] {
            let request = request(query);
            let bytes = Bytes::from(request.to_bytes());
            assert_eq!(KeptRequest::parse(bytes), Ok(request));
        }
    }

    #[test]
    fn an_answer_is_read_back_as_it_was() {
        let answer = KeptAnswer {
            asked: Asked::of(&headers()),
            status: StatusCode::CREATED,
            headers: headers(),
            body: Bytes::from_static(b"<p>paid</p>"),
        };
        let bytes = Bytes::from(answer.to_bytes());
        assert_eq!(KeptAnswer::parse(bytes), Ok(answer));
    }

    #[test]
    fn cut_lengthened_and_foreign_bytes_are_refused() {
        let whole = request(Some("a=1")).to_bytes();
        for end in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..end]);
            assert_eq!(KeptRequest::parse(cut), Err(Unreadable));
        }
        let longer = [whole.as_slice(), b"!"].concat();
        assert_eq!(KeptRequest::parse(longer.into()), Err(Unreadable));
        let mut other = whole;
        other[0] = VERSION + 1;
        assert_eq!(KeptRequest::parse(other.into()), Err(Unreadable));
    }
}
