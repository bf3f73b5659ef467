//! As many requests as go through: each connection sends the next one when it has its answer.
//!
//! Unlike wrk, this generator lets every request finish and counts every status, so that what was
//! served can be compared with what was charged.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::{Head, find_head};
use super::percentile::Latencies;
use super::traffic::Traffic;
use super::units::Nanos;

/// Threads of the generator.
const THREADS: usize = 2;
/// Connections that may break before the measurement is given up.
const BREAKS_AT_MOST: u64 = 1_000;
const BUFFER_BYTES: usize = 16 * 1024;
const INVOICE: &[u8] = b"invoice=\"";

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Time(Duration),
    Count(u64),
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers with an invoice in them.
    pub(crate) invoices: u64,
    /// Connections that broke.
    pub(crate) broken: u64,
    pub(crate) latencies: Latencies,
    pub(crate) elapsed: Duration,
}

struct Course {
    to: SocketAddr,
    traffic: Arc<Traffic>,
    connections: usize,
    stop_at: Option<Instant>,
    tickets: AtomicU64,
}

/// Keeps `to` busy on so many connections.
pub(crate) fn run(
    to: SocketAddr,
    traffic: &Arc<Traffic>,
    connections: usize,
    until: Until,
) -> Result<Tally> {
    let started_at = Instant::now();
    let (stop_at, tickets) = match until {
        Until::Time(length) => (Some(started_at + length), u64::MAX),
        Until::Count(count) => (None, count),
    };
    let tickets = AtomicU64::new(tickets);
    let course = Arc::new(Course {
        to,
        traffic: Arc::clone(traffic),
        connections,
        stop_at,
        tickets,
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let course = Arc::clone(&course);
            std::thread::spawn(move || drive_all(&course, thread))
        })
        .collect();
    let mut tally = Tally::default();
    for thread in threads {
        let Ok(part) = thread.join() else {
            bail!("a generator thread panicked")
        };
        tally.merge(part?);
    }
    tally.elapsed = started_at.elapsed();
    Ok(tally)
}

/// The share of one thread: every [`THREADS`]th connection.
fn drive_all(course: &Arc<Course>, thread: usize) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for connection in (thread..course.connections).step_by(THREADS) {
            connections.spawn(drive(Arc::clone(course), connection));
        }
        let mut tally = Tally::default();
        while let Some(part) = connections.join_next().await {
            tally.merge(part??);
        }
        Ok(tally)
    })
}

/// One connection after another, until the course is over.
async fn drive(course: Arc<Course>, connection: usize) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let stream = TcpStream::connect(course.to).await;
        let mut stream = stream.with_context(|| format!("cannot reach {}", course.to))?;
        stream.set_nodelay(true)?;
        match exchange_all(&course, connection, &mut stream, &mut tally).await {
            Ok(true) => return Ok(tally),
            Ok(false) => (),
            Err(error) if tally.broken >= BREAKS_AT_MOST => return Err(error.into()),
            Err(_) => tally.broken += 1,
        }
    }
}

/// Whether the course is over; otherwise the peer closed the connection.
async fn exchange_all(
    course: &Course,
    connection: usize,
    stream: &mut TcpStream,
    tally: &mut Tally,
) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut answer = Vec::with_capacity(BUFFER_BYTES);
    while course.goes_on() {
        course.traffic.write(connection, &mut request);
        let began_at = Instant::now();
        stream.write_all(&request).await?;
        let head = read_answer(stream, &mut answer).await?;
        tally.add(head, &answer, began_at.elapsed().into());
        if head.closes {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Head> {
    answer.clear();
    let mut found = None;
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if found.is_none() {
            found = find_head(answer)?;
        }
        match found {
            Some(head) if answer.len() >= head.total => return Ok(head),
            _ => (),
        }
    }
}

impl Course {
    fn goes_on(&self) -> bool {
        match self.stop_at {
            Some(stop_at) => Instant::now() < stop_at,
            None => {
                let take = |left: u64| left.checked_sub(1);
                self.tickets
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
            }
        }
    }
}

impl Tally {
    fn add(&mut self, head: Head, answer: &[u8], latency: Nanos) {
        *self.statuses.entry(head.status).or_default() += 1;
        self.latencies.add(latency);
        let has_invoice = || {
            answer[..head.head]
                .windows(INVOICE.len())
                .any(|at| at == INVOICE)
        };
        if head.status == 402 && has_invoice() {
            self.invoices += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.invoices += other.invoices;
        self.broken += other.broken;
        self.latencies.append(other.latencies);
    }

    /// How many answers had this status.
    pub(crate) fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Of `count` in the time that was measured.
    pub(crate) fn per_second(&self, count: u64) -> u64 {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        (count * 1_000).checked_div(millis).unwrap_or(0)
    }
}
