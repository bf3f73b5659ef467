//! A connection whose other side has stopped reading, or has not begun to speak, is cut, so that
//! nobody can keep answers, permits, memory and places by doing nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Silence;

/// How every HTTP/2 connection begins (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails when a write makes no progress for too long, or when the other side has
/// not said in time which HTTP version it speaks.
pub struct StallGuard<C> {
    connection: C,
    silence: Silence,
    greeting: Option<Greeting>,
}

/// The first bytes, while they do not tell the version: hyper waits for those without a limit, and
/// watches the time itself only afterwards.
struct Greeting {
    silence: Silence,
    matched: usize,
}

impl Greeting {
    /// Whether the version is known with these bytes.
    fn ends_with(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.matched..];
        self.matched += bytes.len().min(rest.len());
        !rest.starts_with(bytes) || self.matched == PREFACE.len()
    }
}

impl<C> StallGuard<C> {
    /// Guards `connection`: a write may stall for `limit`, the greeting may take `greeting`.
    pub const fn new(connection: C, limit: Duration, greeting: Duration) -> Self {
        Self {
            connection,
            silence: Silence::new(limit),
            greeting: Some(Greeting {
                silence: Silence::new(greeting),
                matched: 0,
            }),
        }
    }

    fn watch<T>(
        silence: &mut Silence,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            silence.broken();
            return polled;
        }
        silence
            .poll_exceeded(cx)
            .map(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for StallGuard<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.connection).poll_read(cx, buf);
        let Some(greeting) = &mut this.greeting else {
            return polled;
        };
        if polled.is_pending() {
            return greeting
                .silence
                .poll_exceeded(cx)
                .map(|_| Err(io::ErrorKind::TimedOut.into()));
        }
        if greeting.ends_with(&buf.filled()[before..]) {
            this.greeting = None;
        }
        polled
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for StallGuard<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.connection).poll_write(cx, buf);
        Self::watch(&mut this.silence, cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS keeps what it could not write yet.
        let this = &mut *self;
        let polled = Pin::new(&mut this.connection).poll_flush(cx);
        Self::watch(&mut this.silence, cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.connection).poll_shutdown(cx);
        Self::watch(&mut this.silence, cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.connection).poll_write_vectored(cx, bufs);
        Self::watch(&mut this.silence, cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const LIMIT: Duration = Duration::from_secs(10);

    /// What a read gives after the other side has sent `sent` and says nothing more for an hour.
    async fn read_after(sent: &[u8]) -> io::Result<usize> {
        let (mut client, server) = duplex(64);
        let mut server = StallGuard::new(server, LIMIT, LIMIT);
        client.write_all(sent).await.unwrap();
        let mut read = vec![0; sent.len()];
        server.read_exact(&mut read).await.unwrap();
        let hour = Duration::from_secs(3600);
        tokio::time::timeout(hour, server.read(&mut [0; 8])).await?
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_never_says_which_version_it_speaks_is_cut() {
        for silent in [&b""[..], b"P", &PREFACE[..23]] {
            let start = tokio::time::Instant::now();
            let error = read_after(silent).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs(), "{silent:?}");
        }
    }

    /// Takes everything, and keeps it to itself, as TLS does.
    struct Hoarder(DuplexStream);

    impl AsyncRead for Hoarder {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Hoarder {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_back_beneath_us_does_not_wait_for_ever() {
        let (_client, server) = duplex(64);
        let mut server = StallGuard::new(Hoarder(server), LIMIT, LIMIT);
        server.write_all(b"the last of it").await.unwrap();
        let error = server.flush().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = server.shutdown().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_begun_to_speak_is_left_to_its_version() {
        for spoken in [&b"G"[..], b"PUT", PREFACE, b"PRI * HTTP/1.1"] {
            let start = tokio::time::Instant::now();
            read_after(spoken).await.unwrap_err();
            assert_eq!(start.elapsed().as_secs(), 3600, "{spoken:?}");
        }
    }
}
