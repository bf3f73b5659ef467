//! Challenges with a fresh invoice each: how many, how long one takes, what it costs whom.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{NO_LIMIT, Nodes, Pair};
use crate::bench::closed_loop::{self, Until};
use crate::bench::farebox::{SINGLE, Stage};
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::report::Report;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Nanos, median, thousands};

/// One client at a time shows how long a challenge takes, several how many there can be.
const CROWDS: [usize; 2] = [1, 16];
/// The largest of these, whose turns say what a challenge costs.
const BUSY: usize = 1;
/// What the gateway may spend on one challenge with LND.
const CPU_AT_MOST: Nanos = Nanos(150_000);
/// After a turn, for what both processes do about it afterwards.
const AFTERMATH: Duration = Duration::from_millis(300);
const WARM_UP: Duration = Duration::from_millis(500);

/// Somebody whose turn comes in every round.
struct Target<'a> {
    pair: &'a Pair<'a>,
    connections: usize,
    traffic: Arc<Traffic>,
    turns: Vec<Turn>,
}

struct Turn {
    per_second: u64,
    latency: Percentiles,
    gateway: Nanos,
    node: Nanos,
    /// Answers without an invoice, and broken connections.
    strays: u64,
}

pub(super) fn measure(
    stage: &Stage<'_>,
    nodes: &Nodes<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let pairs = nodes.pairs(stage, "challenges", NO_LIMIT)?;
    let mut targets = Vec::new();
    for pair in &pairs {
        let traffic = Arc::new(Traffic::strangers(SINGLE));
        targets.extend(CROWDS.map(|connections| Target {
            pair,
            connections,
            traffic: Arc::clone(&traffic),
            turns: Vec::new(),
        }));
    }
    for target in &targets {
        target.ask(Until::Time(WARM_UP))?;
    }
    for round in 0..options.rounds {
        for target in &mut targets {
            let turn = target.take_turn(options)?;
            target.turns.push(turn);
        }
        let (round, rounds) = (round + 1, options.rounds);
        report.progress(&format!("challenges: round {round} of {rounds}"));
    }
    tell(&targets, report);
    drop(targets);
    for pair in pairs {
        pair.gateway.stop_and_verify(report)?;
    }
    Ok(())
}

impl Target<'_> {
    fn ask(&self, until: Until) -> Result<closed_loop::Tally> {
        let to = self.pair.gateway.address;
        closed_loop::run(to, &self.traffic, self.connections, until)
    }

    fn take_turn(&self, options: &Options) -> Result<Turn> {
        let gateway = &self.pair.gateway.running;
        let (gateway_before, node_before) = (gateway.cpu()?, self.pair.node_cpu()?);
        let tally = self.ask(Until::Time(options.turn))?;
        std::thread::sleep(AFTERMATH);
        let each = |now: Nanos, before: Nanos| {
            let spent = now.0.saturating_sub(before.0);
            Nanos(spent.checked_div(tally.invoices).unwrap_or(0))
        };
        Ok(Turn {
            per_second: tally.per_second(tally.invoices),
            gateway: each(gateway.cpu()?, gateway_before),
            node: each(self.pair.node_cpu()?, node_before),
            strays: tally.requests() - tally.invoices + tally.broken,
            latency: tally.latencies.percentiles(),
        })
    }

    fn name(&self) -> String {
        let (node, connections) = (self.pair.name, self.connections);
        format!("{node}, {connections} at a time")
    }

    fn median(&self, of: impl Fn(&Turn) -> Nanos) -> Nanos {
        Nanos(median(self.turns.iter().map(|turn| of(turn).0)))
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name(),
            thousands(median(self.turns.iter().map(|turn| turn.per_second))),
            self.median(|turn| turn.latency.p50).to_string(),
            self.median(|turn| turn.latency.p99).to_string(),
            self.median(|turn| turn.gateway).to_string(),
            self.median(|turn| turn.node).to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        let turn = |turn: &Turn| {
            json!({
                "invoices_per_second": turn.per_second, "p50_ns": turn.latency.p50.0,
                "p99_ns": turn.latency.p99.0, "gateway_cpu_ns": turn.gateway.0,
                "node_cpu_ns": turn.node.0, "strays": turn.strays,
            })
        };
        json!({ "target": self.name(), "turns": self.turns.iter().map(turn).collect::<Vec<_>>() })
    }
}

fn tell(targets: &[Target<'_>], report: &mut Report) {
    let heads = [
        "challenges",
        "per s",
        "p50",
        "p99",
        "gateway CPU",
        "node CPU",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    table.extend(targets.iter().map(Target::row));
    report.table(table);
    report.raw("challenges", targets.iter().map(Target::to_json).collect());
    for target in targets {
        let strays: u64 = target.turns.iter().map(|turn| turn.strays).sum();
        let figure = format!("challenges, {}: without an invoice", target.name());
        report.demand(&figure, &thousands(strays), "none", strays == 0);
    }
    let is_busy_lnd =
        |target: &&Target<'_>| target.pair.node.is_some() && target.connections == CROWDS[BUSY];
    if let Some(busy) = targets.iter().find(is_busy_lnd) {
        let spent = busy.median(|turn| turn.gateway);
        report.demand(
            "gateway's CPU for a challenge with LND",
            &spent.to_string(),
            &format!("≤ {CPU_AT_MOST}"),
            spent <= CPU_AT_MOST,
        );
    }
}
