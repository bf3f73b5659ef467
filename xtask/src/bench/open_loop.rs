//! Requests at a fixed rate, whatever the answers do.
//!
//! A request that could not be sent in time because an earlier answer was still outstanding counts
//! from the moment at which it was due, so that a stall costs all that would have met it
//! (coordinated omission). The generator's own oversleeping is not the target's fault and does not
//! count. Each connection has a thread: an async timer is a millisecond coarse.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::http::Connection;
use super::percentile::{Latencies, Percentiles};
use super::report::Report;
use super::rounds::{self, Column, Course};
use super::traffic::Traffic;
use super::units::Nanos;

/// Connections that take turns where nothing else is said.
pub(crate) const CONNECTIONS: u32 = 32;
/// Before the first request is due, so that all connections are open by then.
const LEAD: Duration = Duration::from_millis(100);

/// How often somebody is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) to: SocketAddr,
    /// Requests a second, on so many connections in turn.
    pub(crate) rate: u32,
    pub(crate) connections: u32,
    pub(crate) length: Duration,
}

/// When one connection sends its requests.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) to: SocketAddr,
    pub(crate) first_at: Instant,
    pub(crate) last_by: Instant,
    /// Between two requests of one connection.
    pub(crate) interval: Duration,
}

/// One answer.
pub(crate) struct Answer {
    /// How long it took, from the moment at which its request counts.
    pub(crate) latency: Nanos,
    pub(crate) is_good: bool,
    /// Whether the peer closes the connection behind it.
    pub(crate) closes: bool,
    /// What it costs by its own words, in msat.
    pub(crate) owed: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) latencies: Latencies,
    /// As expected.
    pub(crate) good: u64,
    /// Otherwise, or none.
    pub(crate) bad: u64,
    pub(crate) owed: u64,
}

/// What one turn showed.
#[derive(Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) latency: Percentiles,
    pub(crate) bad: u64,
}

/// Sends requests at this pace. `exchange` sends one on a connection and reads its answer; it is told the moment
/// from which the request counts.
pub(crate) fn run<E>(pace: Pace, traffic: &Arc<Traffic>, exchange: E) -> Result<Answers>
where
    E: Fn(&mut Connection, &[u8], Instant) -> io::Result<Answer> + Copy + Send + 'static,
{
    let start_at = Instant::now() + LEAD;
    let step = Duration::from_secs(1) / pace.rate.max(1);
    let threads: Vec<_> = (0..pace.connections)
        .map(|connection| {
            let schedule = Schedule {
                to: pace.to,
                first_at: start_at + step * connection,
                last_by: start_at + pace.length,
                interval: step * pace.connections,
            };
            let traffic = Arc::clone(traffic);
            std::thread::spawn(move || {
                drive(schedule, &traffic, usize::try_from(connection)?, exchange)
            })
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
        answers.owed += part.owed;
    }
    Ok(answers)
}

/// The requests of one connection.
pub(crate) fn drive(
    schedule: Schedule,
    traffic: &Traffic,
    number: usize,
    exchange: impl Fn(&mut Connection, &[u8], Instant) -> io::Result<Answer>,
) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut connection = Connection::open(schedule.to)?;
    let mut request = Vec::new();
    let mut due_at = schedule.first_at;
    while due_at < schedule.last_by {
        traffic.write(number, &mut request);
        let began_at = wait_until(due_at);
        let answer = exchange(&mut connection, &request, began_at);
        let keeps = answer.as_ref().is_ok_and(|answer| !answer.closes);
        answers.add(answer.ok());
        if !keeps {
            connection = Connection::open(schedule.to)?;
        }
        due_at += schedule.interval;
    }
    Ok(answers)
}

/// Reads one whole answer, which is good with this status.
pub(crate) fn whole(
    expected: u16,
) -> impl Fn(&mut Connection, &[u8], Instant) -> io::Result<Answer> + Copy + Send + 'static {
    move |connection, request, began_at| {
        let head = connection.exchange(request)?;
        Ok(Answer {
            latency: began_at.elapsed().into(),
            is_good: head.status == expected,
            closes: head.closes,
            owed: 0,
        })
    }
}

/// The moment from which the request counts.
fn wait_until(due_at: Instant) -> Instant {
    let early_by = due_at.saturating_duration_since(Instant::now());
    if early_by.is_zero() {
        return due_at;
    }
    std::thread::sleep(early_by);
    Instant::now()
}

impl Answers {
    fn add(&mut self, answer: Option<Answer>) {
        let Some(answer) = answer else {
            self.bad += 1;
            return;
        };
        self.latencies.add(answer.latency);
        self.owed += answer.owed;
        if answer.is_good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
    }

    pub(crate) fn turn(self) -> Turn {
        Turn {
            bad: self.bad,
            latency: self.latencies.percentiles(),
        }
    }
}

/// Shows what comes on top of each of the first `bases` courses, in the same round.
pub(crate) fn tell<W>(title: &str, courses: &[Course<W, Turn>], bases: usize, report: &mut Report) {
    type Cell<'a, W> = Box<dyn Fn(&Course<W, Turn>) -> String + 'a>;
    let mut columns: Vec<(String, Cell<'_, W>)> = Vec::new();
    let p50: fn(&Turn) -> Nanos = |turn| turn.latency.p50;
    let percentiles = [("p50", p50), ("p99", |turn| turn.latency.p99)];
    for (name, of) in percentiles {
        columns.push((
            name.to_owned(),
            Box::new(move |it| it.nanos(of).to_string()),
        ));
    }
    for base in &courses[..bases] {
        for (name, of) in percentiles {
            let added = move |it: &Course<W, Turn>| it.above(base, of).to_string();
            columns.push((format!("{name} − {}", base.name), Box::new(added)));
        }
    }
    let columns: Vec<Column<'_, Course<W, Turn>>> = columns
        .iter()
        .map(|(head, cell)| (head.as_str(), &**cell as _))
        .collect();
    rounds::tell(title, courses, &columns, report);
    for course in courses {
        report.watch_p50(
            &course.name,
            course.turns.iter().map(|turn| turn.latency.p50),
        );
        let figure = format!("{title}, {}: other answers than expected", course.name);
        report.demand_none_of(&figure, course.sum(|turn| turn.bad));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::http::tests::serve;
    use crate::bench::traffic::chat;

    #[test]
    fn as_many_requests_are_sent_as_the_pace_says() {
        let pace = Pace {
            to: serve("200 OK"),
            rate: 200,
            connections: 4,
            length: Duration::from_millis(100),
        };
        let traffic = Arc::new(Traffic::same(chat("/", &[])));
        let answers = run(pace, &traffic, whole(200)).unwrap();
        assert_eq!((answers.good, answers.bad), (20, 0));
        let answers = run(pace, &traffic, whole(402)).unwrap();
        assert_eq!((answers.good, answers.turn().bad), (0, 20));
    }

    #[test]
    fn an_answer_that_stalls_costs_all_requests_that_would_have_met_it() {
        let now = Instant::now();
        let schedule = Schedule {
            to: serve("200 OK"),
            first_at: now,
            last_by: now + Duration::from_millis(30),
            interval: Duration::from_millis(10),
        };
        let traffic = Traffic::same(chat("/", &[]));
        let stalls = |connection: &mut Connection, request: &[u8], began_at| {
            std::thread::sleep(Duration::from_millis(40));
            whole(200)(connection, request, began_at)
        };
        let answers = drive(schedule, &traffic, 0, stalls).unwrap();
        let seen = answers.latencies.percentiles();
        assert_eq!(answers.good, 3);
        // The third was due after 20 ms and was answered after 120.
        assert!(
            seen.max >= Nanos(95_000_000) && seen.p50 >= Nanos(65_000_000),
            "{seen:?}"
        );
    }
}
