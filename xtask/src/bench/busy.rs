//! Turns of the closed loop: how many requests go through, and what each costs the process that serves it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::books::Books;
use super::closed_loop::{self, Tally, Until};
use super::percentile::Percentiles;
use super::proc::{self, Running};
use super::report::Report;
use super::rounds::{self, Column};
use super::traffic::Traffic;
use super::units::{Nanos, Ratio, thousands};

/// After a turn, for what a process does about its requests afterwards: log lines, settlements.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(300);
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// Somebody who is kept busy.
pub(crate) struct Busy<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) process: &'a Running,
    /// The node behind it, whose CPU is told apart.
    pub(crate) node: Option<u32>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) connections: usize,
    pub(crate) expected: Expected,
    /// The route that earns so many msat with each answer.
    pub(crate) earns: Option<(&'static str, u64)>,
}

/// Which answers are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Status(u16),
    /// Those with an invoice in them, and only they share the CPU.
    Invoice,
}

/// What one turn showed.
#[derive(Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) requests_per_second: u64,
    pub(crate) invoices_per_second: u64,
    /// Of each request.
    pub(crate) cpu: Nanos,
    pub(crate) node_cpu: Nanos,
    pub(crate) latency: Percentiles,
    /// Other answers than the expected ones, and connections that broke.
    pub(crate) strays: u64,
}

pub(crate) type Course<'a> = rounds::Course<Busy<'a>, Turn>;

impl Busy<'_> {
    /// Keeps it busy for so long, and enters into the books what that earns.
    pub(crate) fn ask(&self, length: Duration, books: &mut Books) -> Result<Tally> {
        let until = Until::Time(length);
        let tally = closed_loop::run(self.to, &self.traffic, self.connections, until)?;
        if let Some((route, msat)) = self.earns {
            books.add(route, tally.count(200) * msat);
        }
        Ok(tally)
    }

    pub(crate) fn turn(&self, length: Duration, books: &mut Books) -> Result<Turn> {
        let (before, node_before) = (self.process.cpu()?, self.node_cpu()?);
        let tally = self.ask(length, books)?;
        std::thread::sleep(AFTERMATH);
        let (good, shared_by) = match self.expected {
            Expected::Status(status) => (tally.count(status), tally.requests()),
            Expected::Invoice => (tally.invoices, tally.invoices),
        };
        let each = |now: Nanos, before: Nanos| {
            let spent = now.0.saturating_sub(before.0);
            Nanos(spent.checked_div(shared_by).unwrap_or(0))
        };
        Ok(Turn {
            requests_per_second: tally.per_second(tally.requests()),
            invoices_per_second: tally.per_second(tally.invoices),
            cpu: each(self.process.cpu()?, before),
            node_cpu: each(self.node_cpu()?, node_before),
            strays: tally.requests() - good + tally.broken,
            latency: tally.latencies.percentiles(),
        })
    }

    /// CPU time of the node so far; zero where there is none, or it lives in the process.
    fn node_cpu(&self) -> Result<Nanos> {
        self.node.map_or(Ok(Nanos(0)), proc::cpu)
    }
}

/// Keeps one of them busy so that a profiler has something to see.
pub(crate) fn load(
    course: &Course<'_>,
    count: u32,
    length: Duration,
    report: &Report,
) -> Result<()> {
    let pid = course.what.process.pid();
    report.progress(&format!(
        "{}: perf record -F 999 -g -p {pid} -- sleep 10",
        course.name
    ));
    for _ in 0..count {
        let turn = course.what.turn(length, &mut Books::default())?;
        report.progress(&turn.to_string());
    }
    Ok(())
}

/// Requests for the same CPU, in parts of those of `base`.
pub(crate) fn per_cpu(course: &Course<'_>, base: &Course<'_>) -> Ratio {
    base.ratio(course, |turn| turn.cpu.0)
}

/// Shows all of them next to the first, which is nginx.
pub(crate) fn tell(title: &str, courses: &[Course<'_>], report: &mut Report) {
    let nginx = &courses[0];
    let columns: [Column<'_, Course<'_>>; 6] = [
        ("req/s", &|it| {
            thousands(it.median(|turn| turn.requests_per_second))
        }),
        ("÷ nginx", &|it| {
            it.ratio(nginx, |turn| turn.requests_per_second).to_string()
        }),
        ("CPU/req", &|it| it.nanos(|turn| turn.cpu).to_string()),
        ("per CPU ÷ nginx", &|it| per_cpu(it, nginx).to_string()),
        ("p50", &|it| it.nanos(|turn| turn.latency.p50).to_string()),
        ("p99", &|it| it.nanos(|turn| turn.latency.p99).to_string()),
    ];
    rounds::tell(title, courses, &columns, report);
    for course in courses {
        report.watch_p50(
            &course.name,
            course.turns.iter().map(|turn| turn.latency.p50),
        );
        let strays = course.sum(|turn| turn.strays);
        let figure = format!("{title}, {}: other answers than expected", course.name);
        report.demand_none_of(&figure, strays);
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, cpu, strays) = (thousands(self.requests_per_second), self.cpu, self.strays);
        let Percentiles { p50, p99, .. } = self.latency;
        write!(
            f,
            "{rate} req/s, CPU {cpu}/req, p50 {p50}, p99 {p99}, {strays} strays"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::bench::http::tests::serve;
    use crate::bench::traffic::chat;

    fn turn(status: &'static str, expected: Expected) -> (Turn, Books) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Running::new(child, "TERM");
        let busy = Busy {
            to: serve(status),
            process: &process,
            node: Some(process.pid()),
            traffic: Arc::new(Traffic::same(chat("/", &[]))),
            connections: 3,
            expected,
            earns: Some(("/debit", 2)),
        };
        let mut books = Books::default();
        let turn = busy.turn(Duration::from_millis(50), &mut books).unwrap();
        (turn, books)
    }

    #[test]
    fn answers_that_earn_are_in_the_books() {
        let (turn, books) = turn("200 OK", Expected::Status(200));
        assert!(turn.strays == 0 && turn.requests_per_second > 0, "{turn}");
        assert!(books.owed() > 0 && books.owed() % 2 == 0);
        assert_eq!((turn.cpu, turn.invoices_per_second), (Nanos(0), 0));
    }

    #[test]
    fn other_answers_are_strays_and_earn_nothing() {
        let (seen, books) = turn("402 Payment Required", Expected::Status(200));
        assert!(seen.strays > 0 && books.owed() == 0, "{seen}");
        let (seen, _) = turn("402 Payment Required", Expected::Invoice);
        assert_eq!(seen.strays, 0);
        assert_eq!(seen.invoices_per_second, seen.requests_per_second);
    }
}
