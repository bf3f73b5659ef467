//! Connections that close in stages. An answer may leave while the client is still sending: a refusal
//! of a long upload, or of a head that is too long. A socket that is closed with bytes nobody has read
//! is reset by the kernel, and a client that writes all of its request before it reads never sees the
//! answer. So a connection whose writing side was shut is not closed yet: what still comes is read
//! and thrown away for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much is read of a client that has its answer, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How long it may send.
const MAX_TIME: Duration = Duration::from_secs(30);
/// How long it may be silent. A drain, too, waits so long for clients that do not see that their idle
/// connection was closed.
const MAX_SILENCE: Duration = Duration::from_secs(2);
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A connection that comes back to whoever accepted it when it is dropped with its writing side shut.
pub struct Linger<C> {
    /// Nothing only once it is dropped.
    connection: Option<C>,
    is_shut: bool,
    back: Option<oneshot::Sender<C>>,
}

/// Where a connection comes back.
pub struct HalfClosed<C>(oneshot::Receiver<C>);

impl<C> Linger<C> {
    /// A connection in use, and where it comes back.
    pub fn new(connection: C) -> (Self, HalfClosed<C>) {
        let (back, returned) = oneshot::channel();
        let linger = Self {
            connection: Some(connection),
            is_shut: false,
            back: Some(back),
        };
        (linger, HalfClosed(returned))
    }

    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut C>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        C: Unpin,
    {
        match &mut self.connection {
            Some(connection) => poll(Pin::new(connection)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<C> Drop for Linger<C> {
    fn drop(&mut self) {
        if let (true, Some(connection), Some(back)) =
            (self.is_shut, self.connection.take(), self.back.take())
        {
            // Nobody takes one back that became a tunnel.
            let _ = back.send(connection);
        }
    }
}

impl<C: AsyncRead + Unpin> HalfClosed<C> {
    /// Closes the connection, if it has come back: at the latest when the other side has sent or
    /// stayed for too long.
    pub async fn close(mut self) {
        if let Ok(connection) = self.0.try_recv() {
            let _ = timeout(MAX_TIME, read_away(connection)).await;
        }
    }
}

async fn read_away<C: AsyncRead + Unpin>(mut connection: C) {
    let mut piece = Vec::new();
    let mut left = MAX_BYTES;
    while left > 0 {
        piece.clear();
        piece.reserve(PIECE_BYTES);
        match timeout(MAX_SILENCE, connection.read_buf(&mut piece)).await {
            Ok(Ok(1..)) => left = left.saturating_sub(piece.len()),
            _ => return,
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Linger<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_read(cx, buf))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Linger<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|connection| connection.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll(|connection| connection.poll_shutdown(cx)))?;
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|connection| connection.poll_write_vectored(cx, bufs))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    /// How long the closing takes, and what the other side does meanwhile.
    async fn closing<F: Future>(client: impl FnOnce(DuplexStream) -> F) -> (Duration, F::Output) {
        let (near, far) = duplex(PIECE_BYTES);
        let began = Instant::now();
        let close = async {
            let (mut server, half_closed) = Linger::new(near);
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
            drop(server);
            half_closed.close().await;
            began.elapsed()
        };
        tokio::join!(close, client(far))
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_all_before_reading_still_reads_the_answer() {
        let (took, answer) = closing(|mut client| async move {
            client.write_all(&vec![0; 1 << 20]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await;
        assert_eq!((took, answer.as_str()), (Duration::ZERO, "answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_more_and_stays_is_not_waited_for() {
        let (took, _client) = closing(|client| async move { client }).await;
        assert_eq!(took.as_secs(), MAX_SILENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_on_for_ever_is_cut_by_time_and_by_amount() {
        let (took, ()) = closing(|mut client| async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(MAX_SILENCE / 2).await;
            }
        })
        .await;
        assert_eq!(took.as_secs(), MAX_TIME.as_secs());
        let (took, sent) = closing(|mut client| async move {
            let mut sent = 0;
            while client.write_all(&[0; PIECE_BYTES]).await.is_ok() {
                sent += PIECE_BYTES;
            }
            sent
        })
        .await;
        assert!(took < MAX_TIME && sent >= MAX_BYTES, "{sent} in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_not_shut_is_closed_at_once() {
        let (near, mut far) = duplex(PIECE_BYTES);
        let (server, half_closed) = Linger::new(near);
        drop(server);
        far.write_all(b"x").await.unwrap_err();
        half_closed.close().await;
    }
}
