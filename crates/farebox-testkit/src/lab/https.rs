//! One HTTPS request, with blocking reads and one certificate trusted: all that a test needs to
//! talk to a node of its own machine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    StreamOwned,
};

/// Longer than any node keeps a payment waiting that a test wants to see ended.
const READ_AT_MOST: Duration = Duration::from_secs(120);
/// No answer of a node in a test comes near it.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;

pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) headers: &'a [(&'a str, String)],
    pub(super) body: &'a [u8],
}

/// Sends a request to `address` (`host:port`), which must show exactly `certificate` (a PEM file),
/// and reads the answer to its end.
pub(super) fn send(
    address: &str,
    certificate: &Path,
    request: &Request<'_>,
) -> io::Result<(u16, Vec<u8>)> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_AT_MOST))?;
    let tls = connection(certificate)?;
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(&written(address, request))?;
    read_answer(BufReader::new(stream))
}

fn connection(certificate: &Path) -> io::Result<ClientConnection> {
    let trusted = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Pinned {
        trusted,
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)
}

fn written(address: &str, request: &Request<'_>) -> Vec<u8> {
    let Request {
        method,
        target,
        headers,
        body,
    } = request;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in *headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn read_answer(mut from: impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let line = read_line(&mut from)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| invalid("status line"))?;
    let (mut length, mut is_chunked) = (None, false);
    loop {
        let line = read_line(&mut from)?.to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok(),
            Some(("transfer-encoding", value)) => is_chunked = value.trim() == "chunked",
            Some(_) => (),
            None => break,
        }
    }
    let body = if is_chunked {
        read_chunks(&mut from)?
    } else if let Some(length) = length {
        read_exactly(&mut from, length)?
    } else {
        let mut body = Vec::new();
        from.take(MAX_BODY_BYTES).read_to_end(&mut body)?;
        body
    };
    Ok((status, body))
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(|_| invalid("chunk size"))?;
        if size == 0 {
            return Ok(body);
        }
        body.extend(read_exactly(from, size)?);
        read_line(from)?;
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    if length > MAX_BODY_BYTES {
        return Err(invalid("length"));
    }
    let mut bytes = Vec::new();
    let read = from.take(length).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.take(MAX_BODY_BYTES).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}"))
}

/// Trusts one certificate, whatever it says about itself; its owner still has to prove that the key
/// is his.
#[derive(Debug)]
struct Pinned {
    trusted: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.trusted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<(u16, String)> {
        let (status, body) = read_answer(text.as_bytes())?;
        Ok((status, String::from_utf8(body).unwrap()))
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        let by_length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc";
        assert_eq!(read(by_length).unwrap(), (200, "ab".to_owned()));
        let by_chunks =
            "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(read(by_chunks).unwrap(), (404, "abc".to_owned()));
        let by_its_end = "HTTP/1.1 500 x\r\n\r\nabc";
        assert_eq!(read(by_its_end).unwrap(), (500, "abc".to_owned()));
    }

    #[test]
    fn half_an_answer_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Len",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            "what\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
