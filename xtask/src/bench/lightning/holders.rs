//! What people who hold a token notice of ten times as many challenges as there may be.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{DEFAULT_LIMIT, Nodes, Pair};
use crate::bench::farebox::{PASS, SINGLE, Stage};
use crate::bench::open_loop::{self, Answers, CONNECTIONS};
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::report::Report;
use crate::bench::throughput::paid;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Nanos, Ratio, median, thousands};

/// Calls a second of those who have paid.
const CALLS: u32 = 500;
/// Challenges a second that are asked for: ten times [`DEFAULT_LIMIT`].
const FLOOD: u32 = 1_000;
/// The flood begins so long before the calls, and lasts so much longer.
const AROUND: Duration = Duration::from_millis(500);
/// How much longer the slowest calls may take in the flood, with the mock node.
const AT_MOST: Ratio = Ratio(1_500);

struct Target<'a> {
    pair: &'a Pair<'a>,
    calls: Arc<Traffic>,
    flood: Arc<Traffic>,
    turns: Vec<Turn>,
}

/// The same calls twice, back to back.
struct Turn {
    quiet: Percentiles,
    flooded: Percentiles,
    bad: u64,
}

pub(super) fn measure(
    stage: &Stage<'_>,
    nodes: &Nodes<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let pairs = nodes.pairs(stage, "holders", DEFAULT_LIMIT)?;
    let mut targets = pairs.iter().map(Target::new).collect::<Result<Vec<_>>>()?;
    for target in &targets {
        target.call(AROUND)?;
    }
    for round in 0..options.rounds {
        for target in &mut targets {
            let turn = target.take_turn(round, options.turn)?;
            target.turns.push(turn);
        }
        let (round, rounds) = (round + 1, options.rounds);
        report.progress(&format!("holders in a flood: round {round} of {rounds}"));
    }
    tell(&targets, report);
    drop(targets);
    for pair in pairs {
        pair.gateway.stop_and_verify(report)?;
    }
    Ok(())
}

impl<'a> Target<'a> {
    fn new(pair: &'a Pair<'a>) -> Result<Self> {
        let tokens: Vec<String> = (0..CONNECTIONS)
            .map(|_| pair.buy(PASS))
            .collect::<Result<_>>()
            .with_context(|| format!("buying with {}", pair.name))?;
        Ok(Self {
            pair,
            calls: Arc::new(paid(PASS, &tokens)),
            flood: Arc::new(Traffic::strangers(SINGLE)),
            turns: Vec::new(),
        })
    }

    fn call(&self, length: Duration) -> Result<Answers> {
        open_loop::run(self.pair.gateway.address, &self.calls, CALLS, length, 200)
    }

    /// Every second round the other way round, so that a machine that grows slower favours nobody.
    fn take_turn(&self, round: u32, length: Duration) -> Result<Turn> {
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
        let (to, flood) = (self.pair.gateway.address, Arc::clone(&self.flood));
        let flooding =
            std::thread::spawn(move || open_loop::run(to, &flood, FLOOD, length + AROUND * 2, 402));
        std::thread::sleep(AROUND);
        let answers = self.call(length);
        let Ok(flooded) = flooding.join() else {
            bail!("a generator thread panicked")
        };
        // Whether these have an invoice in them or not, they are answers.
        let flooded = flooded?;
        if flooded.good == 0 {
            bail!("the flood did not arrive");
        }
        answers
    }

    fn median(&self, of: impl Fn(&Turn) -> Nanos) -> Nanos {
        Nanos(median(self.turns.iter().map(|turn| of(turn).0)))
    }

    fn slowed(&self) -> Ratio {
        let of = |turn: &Turn| Ratio::of(turn.flooded.p99.0, turn.quiet.p99.0).0;
        Ratio(median(self.turns.iter().map(of)))
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.pair.name.to_owned(),
            self.median(|turn| turn.quiet.p50).to_string(),
            self.median(|turn| turn.quiet.p99).to_string(),
            self.median(|turn| turn.flooded.p50).to_string(),
            self.median(|turn| turn.flooded.p99).to_string(),
            self.slowed().to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        let of = |seen: &Percentiles| json!({ "p50_ns": seen.p50.0, "p99_ns": seen.p99.0 });
        let turn = |turn: &Turn| json!({ "quiet": of(&turn.quiet), "flooded": of(&turn.flooded), "bad": turn.bad });
        let turns: Vec<Value> = self.turns.iter().map(turn).collect();
        json!({ "target": self.pair.name, "turns": turns })
    }
}

fn tell(targets: &[Target<'_>], report: &mut Report) {
    let title = format!("paid calls, {CALLS}/s");
    let heads = [
        title.as_str(),
        "p50",
        "p99",
        "p50 in the flood",
        "p99 in the flood",
        "p99, ratio",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    table.extend(targets.iter().map(Target::row));
    report.table(table);
    report.raw("holders", targets.iter().map(Target::to_json).collect());
    for target in targets {
        let bad: u64 = target.turns.iter().map(|turn| turn.bad).sum();
        let figure = format!(
            "paid calls with {}: other answers than 200",
            target.pair.name
        );
        report.demand(&figure, &thousands(bad), "none", bad == 0);
        if target.pair.node.is_none() {
            let slowed = target.slowed();
            report.demand(
                "p99 of paid calls in ten times the allowed challenges",
                &format!("{slowed} of that without"),
                &format!("≤ {AT_MOST}"),
                slowed <= AT_MOST,
            );
        }
    }
}
