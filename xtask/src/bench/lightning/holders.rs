//! What people who hold a token notice of ten times as many challenges as there may be.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{DEFAULT_LIMIT, Nodes, Pair};
use crate::bench::farebox::{PASS, SINGLE, Stage};
use crate::bench::open_loop::{self, Answers, CONNECTIONS, Pace};
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::report::Report;
use crate::bench::rounds::{self, Column};
use crate::bench::throughput::paid;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Ratio, median, thousands};

/// Calls a second of those who have paid.
const CALLS: u32 = 500;
/// Challenges a second that are asked for: ten times [`DEFAULT_LIMIT`].
const FLOOD: u32 = 1_000;
/// The flood begins so long before the calls, and lasts so much longer.
const AROUND: Duration = Duration::from_millis(500);
/// How much longer the slowest calls may take in the flood, with the mock node.
const AT_MOST: Ratio = Ratio(1_500);

struct Holders<'a> {
    pair: &'a Pair<'a>,
    calls: Arc<Traffic>,
    flood: Arc<Traffic>,
}

/// The same calls twice, back to back.
#[derive(Serialize)]
struct Turn {
    quiet: Percentiles,
    flooded: Percentiles,
    bad: u64,
}

type Course<'a> = rounds::Course<Holders<'a>, Turn>;

pub(super) fn measure(
    stage: &Stage<'_>,
    nodes: &Nodes<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let pairs = nodes.pairs(stage, "holders", DEFAULT_LIMIT)?;
    let mut courses = Vec::new();
    for pair in &pairs {
        courses.push(Course::new(pair.name, Holders::new(pair)?));
    }
    for course in &courses {
        course.what.call(AROUND)?;
    }
    let turn = |holders: &Holders<'_>, round| holders.turn(round, options.turn);
    rounds::run(
        "holders in a flood",
        options.rounds,
        &mut courses,
        report,
        turn,
    )?;
    tell(&courses, report);
    drop(courses);
    for pair in pairs {
        pair.gateway.stop_and_verify(report)?;
    }
    Ok(())
}

impl<'a> Holders<'a> {
    fn new(pair: &'a Pair<'a>) -> Result<Self> {
        let tokens: Vec<String> = (0..CONNECTIONS)
            .map(|_| pair.buy(PASS))
            .collect::<Result<_>>()
            .with_context(|| format!("buying with {}", pair.name))?;
        Ok(Self {
            pair,
            calls: Arc::new(paid(PASS, &tokens)),
            flood: Arc::new(Traffic::strangers(SINGLE)),
        })
    }

    fn pace(&self, rate: u32, length: Duration) -> Pace {
        Pace {
            to: self.pair.gateway.address,
            rate,
            connections: CONNECTIONS,
            length,
        }
    }

    fn call(&self, length: Duration) -> Result<Answers> {
        open_loop::run(self.pace(CALLS, length), &self.calls, open_loop::whole(200))
    }

    /// Every second round the other way round, so that a machine that grows slower favours nobody.
    fn turn(&self, round: u32, length: Duration) -> Result<Turn> {
        let (quiet, flooded) = if round.is_multiple_of(2) {
            let quiet = self.call(length)?;
            (quiet, self.call_in_flood(length)?)
        } else {
            let flooded = self.call_in_flood(length)?;
            (self.call(length)?, flooded)
        };
        Ok(Turn {
            bad: quiet.bad + flooded.bad,
            quiet: quiet.latencies.percentiles(),
            flooded: flooded.latencies.percentiles(),
        })
    }

    fn call_in_flood(&self, length: Duration) -> Result<Answers> {
        let (pace, flood) = (
            self.pace(FLOOD, length + AROUND * 2),
            Arc::clone(&self.flood),
        );
        let flooding =
            std::thread::spawn(move || open_loop::run(pace, &flood, open_loop::whole(402)));
        std::thread::sleep(AROUND);
        let answers = self.call(length);
        let Ok(flooded) = flooding.join() else {
            bail!("a generator thread panicked")
        };
        // Whether these have an invoice in them or not, they are answers.
        if flooded?.good == 0 {
            bail!("the flood did not arrive");
        }
        answers
    }
}

/// How much longer the slowest calls take in the flood than without it.
fn slowed(course: &Course<'_>) -> Ratio {
    let of = |turn: &Turn| Ratio::of(turn.flooded.p99.0, turn.quiet.p99.0).0;
    Ratio(median(course.turns.iter().map(of)))
}

fn tell(courses: &[Course<'_>], report: &mut Report) {
    let columns: [Column<'_, Course<'_>>; 5] = [
        ("p50", &|it| it.nanos(|turn| turn.quiet.p50).to_string()),
        ("p99", &|it| it.nanos(|turn| turn.quiet.p99).to_string()),
        ("p50 in the flood", &|it| {
            it.nanos(|turn| turn.flooded.p50).to_string()
        }),
        ("p99 in the flood", &|it| {
            it.nanos(|turn| turn.flooded.p99).to_string()
        }),
        ("p99, ratio", &|it| slowed(it).to_string()),
    ];
    let title = format!("paid calls, {CALLS}/s");
    rounds::tell(&title, courses, &columns, report);
    for course in courses {
        let bad = course.sum(|turn| turn.bad);
        let figure = format!("paid calls with {}: other answers than 200", course.name);
        report.demand(&figure, thousands(bad), "none", bad == 0);
        if course.what.pair.node.is_none() {
            let (slowed, demanded) = (slowed(course), format!("≤ {AT_MOST}"));
            report.demand(
                "p99 of paid calls in ten times the allowed challenges",
                format!("{slowed} of that without"),
                &demanded,
                slowed <= AT_MOST,
            );
        }
    }
}
