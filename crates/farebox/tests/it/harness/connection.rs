//! A plain HTTP/1.1 connection. It follows no rule that a test does not ask it to follow: halves of
//! requests, two at once, or a reader that vanishes are all one call away.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Call, Reply};

/// A peer that says nothing for so long has failed the test.
const READ_AT_MOST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to)?)
    }

    /// From an address of this machine, such as any of `127.0.0.0/8`.
    pub(crate) fn open_from(address: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect(&to.into())?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_AT_MOST))?;
        stream.set_write_timeout(Some(READ_AT_MOST))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Any bytes at all.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub(crate) fn send(&mut self, call: &Call) -> io::Result<()> {
        self.write(&[call.head().as_bytes(), &call.body].concat())
    }

    /// No more bytes will be written; answers can still be read.
    pub(crate) fn close_write(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }

    /// Whether something came that was not read.
    pub(crate) fn has_more(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        seen.is_ok()
    }

    /// Whether the peer has ended the connection, with nothing more to read.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    /// The status and header section, of the final answer or of a 101; the body is still to come.
    pub(crate) fn read_head(&mut self) -> io::Result<Reply> {
        loop {
            let line = self.read_line()?;
            let mut words = line.splitn(3, ' ');
            let status = words.nth(1).and_then(|code| code.parse().ok());
            let status = status.ok_or_else(|| invalid(&format!("status line {line:?}")))?;
            let headers = self.read_fields()?;
            if status >= 200 || status == 101 {
                return Ok(Reply {
                    status,
                    headers,
                    ..Reply::default()
                });
            }
        }
    }

    /// A whole answer to a request with `method`.
    pub(crate) fn read_reply(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.read_head()?;
        let has_no_body = method == "HEAD" || matches!(reply.status, 101 | 204 | 304);
        if has_no_body {
            return Ok(reply);
        }
        if reply.find("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk()? {
                reply.body.extend(chunk);
            }
            reply.trailers = self.read_fields()?;
        } else if let Some(length) = reply.find("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length"))?;
            reply.body = self.read_exactly(length)?;
        } else {
            self.0.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// The next chunk of a chunked body; nothing after the last one (its trailers are still to be
    /// read).
    pub(crate) fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.read_line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(|_| invalid(&format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.read_exactly(size)?;
        if self.read_line()?.is_empty() {
            Ok(Some(chunk))
        } else {
            Err(invalid("chunk end"))
        }
    }

    pub(crate) fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("field line"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}"))
}
