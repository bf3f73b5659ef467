//! Just enough HTTP/1.1 for a load generator: requests as bytes, answers with a `Content-Length`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A peer that says nothing for so long is broken.
const READ_AT_MOST: Duration = Duration::from_secs(30);
const READ_SIZE: usize = 16 * 1024;

/// Where an answer ends, and what it says before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes of the head, blank line included.
    pub(crate) head: usize,
    /// Bytes of head and body.
    pub(crate) total: usize,
    /// Whether the peer will close the connection.
    pub(crate) closes: bool,
}

/// Finds the head of an answer at the beginning of `bytes`, unless it is still incomplete.
pub(crate) fn find_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let status = status.ok_or_else(|| invalid("status line"))?;
    let (mut length, mut closes) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let length = length.ok_or_else(|| invalid("answer without a Content-Length"))?;
    let head = end + 4;
    Ok(Some(Head {
        status,
        head,
        total: head + length,
        closes,
    }))
}

/// A request in bytes.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| *name == "Host") {
        text += "Host: bench.test\r\n";
    }
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        let length = body.len();
        text += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    }
    text += "\r\n";
    text += body;
    text.into_bytes()
}

/// One connection with its reads and writes in the caller's thread.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_AT_MOST))?;
        stream.set_write_timeout(Some(READ_AT_MOST))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(READ_SIZE),
        })
    }

    /// Sends a request and reads the answer; its bytes stay in the buffer until the next one.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut chunk = [0; READ_SIZE];
        let mut found = None;
        loop {
            if let Some(head) = found.filter(|head: &Head| self.buffer.len() >= head.total) {
                return Ok(head);
            }
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            if found.is_none() {
                found = find_head(&self.buffer)?;
            }
        }
    }

    /// Sends a request whose answer is a stream.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// What comes next of a stream.
    pub(crate) fn read(&mut self) -> io::Result<&[u8]> {
        self.buffer.resize(READ_SIZE, 0);
        match self.stream.read(&mut self.buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(&self.buffer[..read]),
        }
    }

    /// The body of the answer that came last.
    pub(crate) fn body(&self, head: &Head) -> &[u8] {
        &self.buffer[head.head..head.total]
    }

    fn reply(&mut self, request: &[u8]) -> io::Result<Reply> {
        let Head {
            status,
            head,
            total,
            ..
        } = self.exchange(request)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = (text(&self.buffer[..head]), text(&self.buffer[head..total]));
        Ok(Reply { status, head, body })
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn call(to: SocketAddr, request: &[u8]) -> Result<Reply> {
    let mut connection = Connection::open(to).with_context(|| format!("cannot reach {to}"))?;
    connection
        .reply(request)
        .with_context(|| format!("no answer from {to}"))
}

impl Reply {
    /// Refuses any other status.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        bail!("{} instead of {status}: {}", self.status, self.body)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A server, as long as the process lives, that gives every request this status and an invoice.
    pub(crate) fn serve(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = move |connection: TcpStream| -> io::Result<()> {
            let mut reader = BufReader::new(&connection);
            loop {
                let mut length = 0;
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                reader.read_exact(&mut vec![0; length])?;
                let head = format!("HTTP/1.1 {status}\r\nX-Test: invoice=\"a\"\r\n");
                let whole = format!("{head}Content-Length: 2\r\n\r\nok");
                (&connection).write_all(whole.as_bytes())?;
            }
        };
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || answer(connection));
            }
        });
        address
    }

    #[test]
    fn a_head_is_found_once_it_is_whole() {
        let bytes =
            b"HTTP/1.1 402 Payment Required\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello";
        assert_eq!(find_head(&bytes[..40]).unwrap(), None);
        let head = find_head(bytes).unwrap().unwrap();
        assert_eq!(
            (head.status, head.total, head.closes),
            (402, bytes.len(), true)
        );
    }

    #[test]
    fn an_answer_whose_end_cannot_be_known_is_an_error() {
        assert!(find_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(find_head(b"nonsense\r\n\r\n").is_err());
    }
}
