//! Memory stays flat, whoever comes and however many. Each scenario has a gateway of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::books::TRIAL_BALANCE;
use super::closed_loop::{self, Until};
use super::crowd::{self, SlowBodies};
use super::farebox::{Gateway, PLAIN, SINGLE, Stage};
use super::http::{call, request};
use super::options::Options;
use super::proc::Running;
use super::report::Report;
use super::traffic::Traffic;
use super::units::{Kib, thousands};

/// What may come on top once a scenario is under way: tables of fixed size and the allocator's
/// pages fill up, but nothing grows with the number of clients.
const FLAT: Kib = Kib(8 * 1_024);
/// What one open connection may take, a body on its way included.
const PER_CONNECTION: Kib = Kib(64);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn measure(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    report.progress("memory: anonymous 402s");
    anonymous_challenges(stage, options, report)?;
    report.progress("memory: idle connections");
    idle_connections(stage, options, report)?;
    report.progress("memory: slow bodies");
    slow_bodies(stage, options, report)
}

fn anonymous_challenges(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let mut gateway = rested(stage, "strangers")?;
    let traffic = Arc::new(Traffic::strangers(SINGLE));
    let (to, count, connections) = (gateway.address, options.strangers, options.connections);
    let generator = Arc::clone(&traffic);
    let load = move || closed_loop::run(to, &generator, connections, Until::Count(count));
    let (tally, curve) = watch(&gateway.running, load, || traffic.seen() * 100 / count)?;
    let what = format!("{} anonymous 402s", thousands(count));
    report.demand(
        &format!("{what}, each with an invoice"),
        thousands(tally.invoices),
        &format!("= {}", thousands(count)),
        tally.invoices == count && tally.broken == 0,
    );
    let accounts = gateway.admin(TRIAL_BALANCE)?["accounts"].as_u64();
    report.demand(
        &format!("accounts after {what}"),
        accounts.map_or_else(|| "?".to_owned(), thousands),
        "none: a 402 writes no row",
        accounts == Some(0),
    );
    curve.judge(&what, 10, report);
    gateway.running.stop()
}

fn idle_connections(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let mut gateway = rested(stage, "idle")?;
    let before = gateway.running.rss()?;
    let mut connections = crowd::idle(gateway.address, options.crowd)?;
    std::thread::sleep(Duration::from_secs(1));
    let (length, started_at) = (options.idle, Instant::now());
    let rest = move || {
        std::thread::sleep(length);
        Ok(())
    };
    let percent = || {
        let passed = started_at.elapsed().as_millis() * 100 / length.as_millis().max(1);
        u64::try_from(passed).unwrap_or(100)
    };
    let ((), curve) = watch(&gateway.running, rest, percent)?;
    let count = u64::try_from(options.crowd)?;
    let what = format!("{} idle connections", thousands(count));
    curve.judge(&what, 0, report);
    curve.judge_each(&what, before, count, report);
    let alive = crowd::still_answered(&mut connections);
    report.demand(
        &format!("{what}, answered again"),
        thousands(alive),
        &format!("= {}", thousands(count)),
        alive == count,
    );
    drop(connections);
    gateway.running.stop()
}

fn slow_bodies(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let mut gateway = rested(stage, "slow")?;
    let before = gateway.running.rss()?;
    let (to, crowd, length) = (gateway.address, options.crowd, options.slow);
    let bodies = Arc::new(SlowBodies::new(to, SINGLE, crowd, length));
    let sender = Arc::clone(&bodies);
    let (statuses, curve) = watch(&gateway.running, move || sender.send(), || bodies.percent())?;
    let count = u64::try_from(options.crowd)?;
    let what = format!("{} unpaid slow 1 MB bodies", thousands(count));
    let seen = |(status, count): (&u16, &u64)| match status {
        0 => format!("{} broken off", thousands(*count)),
        _ => format!("{} × {status}", thousands(*count)),
    };
    report.demand(
        &format!("{what}, answers"),
        statuses.iter().map(seen).collect::<Vec<_>>().join(", "),
        &format!("{} × 402", thousands(count)),
        statuses.get(&402) == Some(&count),
    );
    curve.judge(&what, 25, report);
    curve.judge_each(&what, before, count, report);
    gateway.running.stop()
}

/// A new gateway that has served a request and made a challenge.
fn rested(stage: &Stage<'_>, name: &str) -> Result<Gateway> {
    let gateway = stage.start(name)?;
    call(gateway.address, &request("GET", PLAIN, &[], ""))?.expect(200)?;
    call(gateway.address, &request("GET", SINGLE, &[], ""))?.expect(402)?;
    std::thread::sleep(Duration::from_millis(500));
    Ok(gateway)
}

/// Resident memory over the course of a scenario: percent done, and how much.
pub(crate) struct Curve(Vec<(u64, Kib)>);

/// Looks at the memory of `process` while `work` is done.
pub(crate) fn watch<T: Send + 'static>(
    process: &Running,
    work: impl FnOnce() -> Result<T> + Send + 'static,
    percent: impl Fn() -> u64,
) -> Result<(T, Curve)> {
    let done = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&done);
    let worker = std::thread::spawn(move || {
        let outcome = work();
        tell.store(true, Ordering::Release);
        outcome
    });
    let mut curve = Vec::new();
    while !done.load(Ordering::Acquire) && !worker.is_finished() {
        curve.push((percent(), process.rss().context("the gateway has ended")?));
        std::thread::sleep(LOOK_EVERY);
    }
    let Ok(outcome) = worker.join() else {
        bail!("a generator thread panicked")
    };
    curve.push((100, process.rss()?));
    Ok((outcome?, Curve(curve)))
}

impl Curve {
    /// The most that there was.
    pub(crate) fn peak(&self) -> Kib {
        self.0.iter().map(|(_, rss)| *rss).max().unwrap_or_default()
    }

    /// From `settled` percent on nothing may come on top.
    fn judge(&self, what: &str, settled: u64, report: &mut Report) {
        let most = |is_late: bool| {
            let part = self.0.iter();
            let part = part.filter(|(percent, _)| (*percent > settled) == is_late);
            part.map(|(_, rss)| *rss).max()
        };
        let peak = most(true).unwrap_or_default();
        let base = most(false).unwrap_or(peak);
        let (figure, demanded) = (
            format!("RSS with {what}"),
            format!("flat (+{FLAT} at most)"),
        );
        let is_flat = peak.0.saturating_sub(base.0) <= FLAT.0;
        report.demand(&figure, format!("{base} → {peak}"), &demanded, is_flat);
        let points = self.0.iter().map(|(percent, rss)| json!([percent, rss]));
        report.raw(&figure, points.collect());
    }

    /// What each of `count` connections took on top of `before`.
    fn judge_each(&self, what: &str, before: Kib, count: u64, report: &mut Report) {
        let each = self.peak().0.saturating_sub(before.0) / count.max(1);
        let (figure, most) = (format!("RSS for each of {what}"), PER_CONNECTION.0);
        let demanded = format!("≤ {most} KiB");
        report.demand(&figure, format!("{each} KiB"), &demanded, each <= most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(curve: &[(u64, u64)], settled: u64) -> usize {
        let points = curve
            .iter()
            .map(|(percent, mib)| (*percent, Kib(mib * 1_024)));
        let mut report = Report::new(Vec::new());
        Curve(points.collect()).judge("test", settled, &mut report);
        report.failures()
    }

    #[test]
    fn what_grows_while_a_scenario_is_under_way_is_not_flat() {
        assert_eq!(verdict(&[(0, 20), (10, 40), (50, 47), (100, 44)], 10), 0);
        assert_eq!(verdict(&[(0, 20), (10, 40), (50, 49), (100, 44)], 10), 1);
    }
}
