//! Requests at a fixed rate, whatever the answers do.
//!
//! A request that could not be sent in time because an earlier answer was still outstanding counts
//! from the moment at which it was due, so that a stall costs all that would have met it
//! (coordinated omission). The generator's own oversleeping is not the target's fault and does not
//! count. Each connection has a thread: an async timer is a millisecond coarse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::http::Connection;
use super::percentile::Latencies;
use super::traffic::Traffic;

/// Connections that take turns.
pub(crate) const CONNECTIONS: u32 = 32;
/// Before the first request is due, so that all connections are open by then.
const LEAD: Duration = Duration::from_millis(100);

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) latencies: Latencies,
    /// With the expected status.
    pub(crate) good: u64,
    /// With another one, or none.
    pub(crate) bad: u64,
}

#[derive(Clone, Copy)]
struct Schedule {
    first_at: Instant,
    last_by: Instant,
    /// Between two requests of one connection.
    interval: Duration,
}

/// Sends `rate` requests per second for `length` to `to`, which should answer with `expected`.
pub(crate) fn run(
    to: SocketAddr,
    traffic: &Arc<Traffic>,
    rate: u32,
    length: Duration,
    expected: u16,
) -> Result<Answers> {
    let start_at = Instant::now() + LEAD;
    let step = Duration::from_secs(1) / rate.max(1);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let schedule = Schedule {
                first_at: start_at + step * connection,
                last_by: start_at + length,
                interval: step * CONNECTIONS,
            };
            let traffic = Arc::clone(traffic);
            std::thread::spawn(move || drive(to, &traffic, connection, schedule, expected))
        })
        .collect();
    let mut answers = Answers::default();
    for thread in threads {
        let Ok(part) = thread.join() else {
            bail!("a generator thread panicked")
        };
        let part = part?;
        answers.latencies.append(part.latencies);
        answers.good += part.good;
        answers.bad += part.bad;
    }
    Ok(answers)
}

fn drive(
    to: SocketAddr,
    traffic: &Traffic,
    number: u32,
    schedule: Schedule,
    expected: u16,
) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut connection = Connection::open(to)?;
    let mut request = Vec::new();
    let mut due_at = schedule.first_at;
    while due_at < schedule.last_by {
        traffic.write(usize::try_from(number)?, &mut request);
        let began_at = wait_until(due_at);
        let outcome = connection.exchange(&request);
        answers.latencies.add(began_at.elapsed().into());
        let keep = outcome.as_ref().is_ok_and(|head| !head.closes);
        match outcome {
            Ok(head) if head.status == expected => answers.good += 1,
            _ => answers.bad += 1,
        }
        if !keep {
            connection = Connection::open(to)?;
        }
        due_at += schedule.interval;
    }
    Ok(answers)
}

/// The moment from which the request counts.
pub(crate) fn wait_until(due_at: Instant) -> Instant {
    let early_by = due_at.saturating_duration_since(Instant::now());
    if early_by.is_zero() {
        return due_at;
    }
    std::thread::sleep(early_by);
    Instant::now()
}
