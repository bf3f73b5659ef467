//! How soon a gateway answers, and how much memory it has before anybody came.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::farebox::{PLAIN, Stage};
use super::http::call;
use super::options::Options;
use super::report::Report;
use super::traffic::chat;
use super::units::{Kib, Nanos, median};

/// The first answer has to come so soon after the process was started.
const FIRST_ANSWER_BY: Duration = Duration::from_millis(200);
const IDLE_AT_MOST: Kib = Kib(30 * 1_024);
/// Until memory is looked at.
const REST: Duration = Duration::from_secs(1);

pub(crate) fn measure(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let (mut first_answers, mut idle) = (Vec::new(), Kib::default());
    for start in 0..options.starts {
        let started_at = Instant::now();
        let mut gateway = stage.start(&format!("start-{start}"))?;
        call(gateway.address, &chat(PLAIN, &[]))?.expect(200)?;
        first_answers.push(Nanos::from(started_at.elapsed()).0);
        std::thread::sleep(REST);
        idle = idle.max(gateway.running.rss()?);
        gateway.running.stop()?;
    }
    report.raw(
        "first_answer_ns",
        first_answers.iter().map(|&nanos| nanos.into()).collect(),
    );
    let seen = Nanos(median(first_answers));
    report.demand(
        "start to first answer, new store",
        format!("{} ms", seen.0 / 1_000_000),
        "≤ 200 ms",
        seen <= Nanos::from(FIRST_ANSWER_BY),
    );
    report.demand_at_most("idle RSS", idle, IDLE_AT_MOST);
    Ok(())
}
