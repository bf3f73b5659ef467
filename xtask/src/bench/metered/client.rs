//! Many clients that each read one stream, and look at every chunk.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::shop::Used;
use super::sse::{Answer, Event};
use super::upstream::Clock;
use crate::bench::percentile::Latencies;
use crate::bench::traffic::Traffic;
use crate::bench::units::Nanos;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 8 * 1024;
/// How much longer than planned a stream may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) to: SocketAddr,
    pub(super) traffic: Arc<Traffic>,
    pub(super) streams: usize,
    /// Chunks of each stream, by which the requests ask for them.
    pub(super) chunks: u32,
    /// The streams begin one after another in this time.
    pub(super) ramp: Duration,
    /// How long each of them takes by its schedule.
    pub(super) length: Duration,
    /// Whether the gateway has to tell the cost.
    pub(super) is_sold: bool,
    pub(super) clock: Clock,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Between two chunks of a stream, as the client gets them.
    pub(super) gaps: Latencies,
    /// From the upstream's write to the client's read.
    pub(super) delays: Latencies,
    /// Chunks that came, in their order and once.
    pub(super) chunks: u64,
    /// Chunks that did not, or otherwise.
    pub(super) faults: u64,
    /// Answers that told no usage, or a cost that is not theirs, or whose end did not come.
    pub(super) untold: u64,
    /// What was served costs, in msat.
    pub(super) owed: u64,
    /// Why streams failed, one reason each.
    pub(super) reasons: Vec<String>,
}

/// One client's view of its stream.
#[derive(Debug, Default)]
struct Reader {
    tally: Tally,
    next: u32,
    last_at: Option<u64>,
    used: Option<Used>,
    told: Option<u64>,
    is_done: bool,
}

/// Reads all streams to their ends, in this thread.
pub(super) fn run(load: &Load) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (load, started_at) = (Arc::new(load.clone()), Instant::now());
        let mut clients = JoinSet::new();
        for number in 0..load.streams {
            clients.spawn(one(Arc::clone(&load), started_at, number));
        }
        let mut tally = Tally::default();
        while let Some(part) = clients.join_next().await {
            tally.merge(part?);
        }
        Ok(tally)
    })
}

async fn one(load: Arc<Load>, started_at: Instant, number: usize) -> Tally {
    let streams = u32::try_from(load.streams).unwrap_or(u32::MAX).max(1);
    let place = u32::try_from(number).unwrap_or(u32::MAX);
    sleep_until((started_at + load.ramp / streams * place).into()).await;
    let mut reader = Reader::default();
    let patience = load.length + PATIENCE;
    let outcome = timeout(patience, reader.read_all(&load, number)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if let Err(error) = outcome {
        reader.tally.reasons.push(error.to_string());
    }
    reader.end(&load)
}

impl Reader {
    async fn read_all(&mut self, load: &Load, number: usize) -> io::Result<()> {
        let mut stream = TcpStream::connect(load.to).await?;
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        load.traffic.write(number, &mut request);
        stream.write_all(&request).await?;
        let (mut answer, mut buffer) = (Answer::default(), vec![0; BUFFER_BYTES]);
        while !answer.is_over() {
            let read = stream.read(&mut buffer).await?;
            let now = load.clock.now();
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.push(&buffer[..read])?;
            while let Some(event) = answer.next_event() {
                self.take(event, now);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event, now: u64) {
        match event {
            Event::Content { number, sent_at } => self.take_content(number, sent_at, now),
            Event::Usage { used, told } => (self.used, self.told) = (Some(used), told),
            Event::Done => self.is_done = true,
            Event::Other => (),
        }
    }

    fn take_content(&mut self, number: u32, sent_at: u64, now: u64) {
        if number != self.next {
            self.tally.faults += 1;
            return;
        }
        self.next += 1;
        self.tally.chunks += 1;
        self.tally.delays.add(Nanos(now.saturating_sub(sent_at)));
        if let Some(last_at) = self.last_at.replace(now) {
            self.tally.gaps.add(Nanos(now.saturating_sub(last_at)));
        }
    }

    /// What was missing at the end is a fault, and an answer whose cost nobody can tell too.
    fn end(mut self, load: &Load) -> Tally {
        self.tally.faults += u64::from(load.chunks.saturating_sub(self.next));
        let cost = self.used.map(Used::cost);
        let is_told = cost.is_some() && (!load.is_sold || self.told == cost);
        if !is_told || !self.is_done {
            self.tally.untold += 1;
        }
        if load.is_sold {
            self.tally.owed = cost.unwrap_or(0);
        }
        self.tally
    }
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.gaps.append(other.gaps);
        self.delays.append(other.delays);
        self.chunks += other.chunks;
        self.faults += other.faults;
        self.untold += other.untold;
        self.owed += other.owed;
        self.reasons.extend(other.reasons);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metered::shop::{PACED, stream_request};
    use crate::bench::metered::upstream::Upstream;

    #[test]
    fn every_chunk_of_every_stream_is_seen_once_and_in_order() {
        let upstream = Upstream::start().unwrap();
        upstream.set_rate(1_000);
        let load = Load {
            to: upstream.address,
            traffic: Arc::new(Traffic::same(stream_request(PACED, "", 5))),
            streams: 3,
            chunks: 5,
            ramp: Duration::from_millis(10),
            length: Duration::from_millis(10),
            is_sold: false,
            clock: upstream.clock,
        };
        let tally = run(&load).unwrap();
        assert_eq!((tally.chunks, tally.faults, tally.untold), (15, 0, 0));
        assert!(tally.reasons.is_empty(), "{:?}", tally.reasons);
        // A gateway would have to say what it costs, which this upstream does not.
        let sold = Load {
            is_sold: true,
            chunks: 6,
            ..load
        };
        let tally = run(&sold).unwrap();
        assert_eq!((tally.chunks, tally.faults, tally.untold), (15, 3, 3));
    }
}
