//! An upgraded connection, WebSocket above all: bytes both ways until one side ends.
//!
//! Paid once, at the upgrade. A tunnel counts as an open connection for the drain and is cut when
//! the drain's limit is reached, or when what paid for it is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::drain::DrainSignal;

/// How much a tunnel has carried so far, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    from_client: AtomicU64,
    to_client: AtomicU64,
}

impl Traffic {
    /// From the client.
    pub fn from_client(&self) -> u64 {
        self.from_client.load(Ordering::Relaxed)
    }

    /// To the client.
    pub fn to_client(&self) -> u64 {
        self.to_client.load(Ordering::Relaxed)
    }
}

/// Joins both sides in a task of this worker until `over`. The task keeps `kept` for as long as the
/// tunnel lasts.
pub fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
    drain: DrainSignal,
    traffic: Arc<Traffic>,
    over: impl Future<Output = ()> + Send + 'static,
    kept: impl Send + 'static,
) {
    let open = drain.enter();
    tokio::spawn(async move {
        let kept = (open, kept);
        let sides = tokio::try_join!(client, upstream);
        if let Ok((client, upstream)) = sides {
            let client = Counted {
                connection: TokioIo::new(client),
                traffic,
            };
            tokio::select! {
                () = copy(client, upstream) => {}
                () = over => {}
                () = drain.cut() => {}
            }
        }
        drop(kept);
    });
}

async fn copy(mut client: Counted, upstream: Upgraded) {
    let mut upstream = TokioIo::new(upstream);
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}

/// The client's side, which counts.
struct Counted {
    connection: TokioIo<Upgraded>,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        self.traffic.from_client.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.connection).poll_write(cx, buf))?;
        let more = written as u64;
        self.traffic.to_client.fetch_add(more, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
