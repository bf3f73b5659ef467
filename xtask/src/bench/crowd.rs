//! Very many connections that do very little.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::farebox::PLAIN;
use super::http::{Connection, find_head, request};
use super::traffic::stranger;

/// Bytes of one slow body, and of what is sent of it at once.
const BODY: usize = 1_024 * 1_024;
const PIECE: usize = 16 * 1_024;
const PIECES: u32 = 64;
/// Connections that are being made at one time: fewer than a listener queues.
const CONNECTING: usize = 128;

/// Opens connections that have had one answer and now wait for their owner's next idea.
pub(crate) fn idle(to: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    let ask = request("GET", PLAIN, &[], "");
    let open = |number: usize| {
        let mut connection = Connection::open(to)?;
        connection.exchange(&ask)?;
        let opened: io::Result<Connection> = Ok(connection);
        opened.with_context(|| format!("idle connection {number}; see `ulimit -n`"))
    };
    (0..count).map(open).collect()
}

/// How many of them still get an answer.
pub(crate) fn still_answered(connections: &mut [Connection]) -> u64 {
    let ask = request("GET", PLAIN, &[], "");
    let answered = |connection: &mut Connection| connection.exchange(&ask).is_ok();
    connections
        .iter_mut()
        .map(|it| u64::from(answered(it)))
        .sum()
}

/// Clients that have not paid and take their time with a body of 1 MB.
#[derive(Debug)]
pub(crate) struct SlowBodies {
    to: SocketAddr,
    path: &'static str,
    count: usize,
    length: Duration,
    sent: AtomicU64,
}

impl SlowBodies {
    pub(crate) const fn new(
        to: SocketAddr,
        path: &'static str,
        count: usize,
        length: Duration,
    ) -> Self {
        Self {
            to,
            path,
            count,
            length,
            sent: AtomicU64::new(0),
        }
    }

    /// How much of all the bodies has been sent.
    pub(crate) fn percent(&self) -> u64 {
        let pieces = u64::try_from(self.count)
            .unwrap_or(u64::MAX)
            .saturating_mul(PIECES.into());
        (self.sent.load(Ordering::Relaxed) * 100)
            .checked_div(pieces)
            .unwrap_or(100)
    }

    /// Sends them all at the same time; gives the answers by status, 0 for none.
    pub(crate) fn send(self: &Arc<Self>) -> Result<BTreeMap<u16, u64>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let connecting = Arc::new(Semaphore::new(CONNECTING));
            let mut clients = JoinSet::new();
            for number in 0..self.count {
                let (bodies, turn) = (Arc::clone(self), Arc::clone(&connecting));
                clients.spawn(async move { bodies.send_one(number, &turn).await.unwrap_or(0) });
            }
            let mut statuses = BTreeMap::new();
            while let Some(status) = clients.join_next().await {
                *statuses.entry(status?).or_default() += 1;
            }
            Ok(statuses)
        })
    }

    async fn send_one(&self, number: usize, connecting: &Semaphore) -> Result<u16> {
        let turn = connecting.acquire().await?;
        let mut stream = TcpStream::connect(self.to).await?;
        stream.write_all(&self.head(number)?).await?;
        drop(turn);
        let started_at = Instant::now();
        for piece in 0..PIECES {
            sleep_until(started_at + self.length * piece / PIECES).await;
            stream.write_all(&[b'z'; PIECE]).await?;
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        let mut answer = Vec::new();
        while stream.read_buf(&mut answer).await? > 0 {
            if let Some(head) = find_head(&answer)? {
                return Ok(head.status);
            }
        }
        Ok(0)
    }

    /// Each from a prefix of its own, so that none is past the limit.
    fn head(&self, number: usize) -> Result<Vec<u8>> {
        let (path, client) = (self.path, stranger(u32::try_from(number)?));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: bench.test\r\nX-Forwarded-For: {client}\r\n\
             Content-Length: {BODY}\r\n\r\n"
        );
        Ok(head.into_bytes())
    }
}
