//! What a hop through nginx or Farebox adds at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

use super::accounting::Books;
use super::farebox::{DEBIT, Gateway, PASS, PLAIN};
use super::nginx::Nginx;
use super::open_loop;
use super::options::Options;
use super::percentile::Percentiles;
use super::report::Report;
use super::throughput::paid;
use super::traffic::{Traffic, chat};
use super::units::{Nanos, median, thousands};

struct Target {
    name: &'static str,
    to: SocketAddr,
    traffic: Arc<Traffic>,
    turns: Vec<Percentiles>,
    bad: u64,
}

/// One of the percentiles.
type Of = fn(&Percentiles) -> Nanos;

const P50: Of = |turn| turn.p50;
const P99: Of = |turn| turn.p99;
const DIRECT: usize = 0;
const NGINX: usize = 1;
const DURABLE: usize = 4;

pub(crate) fn measure(
    options: &Options,
    upstream: SocketAddr,
    proxy: &Nginx,
    gateway: &Gateway,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    let target = |name, to, traffic| Target {
        name,
        to,
        traffic: Arc::new(traffic),
        turns: Vec::new(),
        bad: 0,
    };
    let plain = || Traffic::same(chat(PLAIN, &[]));
    let mut targets = [
        target("direct", upstream, plain()),
        target("nginx", proxy.address, plain()),
        target("plain route", gateway.address, plain()),
        target(
            "L402, time-limited",
            gateway.address,
            paid(PASS, &books.passes),
        ),
        target(
            "L402, durable debit",
            gateway.address,
            paid(DEBIT, &books.balances),
        ),
    ];
    for round in 0..options.rounds {
        for (index, target) in targets.iter_mut().enumerate() {
            let (rate, length) = (options.rate, options.turn);
            let answers = open_loop::run(target.to, &target.traffic, rate, length, 200)?;
            target.bad += answers.bad;
            target.turns.push(answers.latencies.percentiles());
            if index == DURABLE {
                books.add(answers.good);
            }
        }
        report.progress(&format!(
            "open loop: round {} of {}",
            round + 1,
            options.rounds
        ));
    }
    tell(&targets, options.rate, report);
    Ok(())
}

impl Target {
    fn median(&self, of: Of) -> Nanos {
        Nanos(median(self.turns.iter().map(|turn| of(turn).0)))
    }

    /// What a request takes longer than in the same round at `base`; nothing where it is shorter.
    fn added_to(&self, base: &Self, of: Of) -> Nanos {
        let rounds = self.turns.iter().zip(&base.turns);
        Nanos(median(
            rounds.map(|(own, base)| of(own).0.saturating_sub(of(base).0)),
        ))
    }

    fn to_json(&self) -> Value {
        let turn = |turn: &Percentiles| json!({ "p50_ns": turn.p50.0, "p99_ns": turn.p99.0 });
        let turns: Vec<Value> = self.turns.iter().map(turn).collect();
        json!({ "target": self.name, "turns": turns, "bad": self.bad })
    }
}

fn tell(targets: &[Target; 5], rate: u32, report: &mut Report) {
    let title = format!("open loop, {}/s", thousands(u64::from(rate)));
    let heads = [
        title.as_str(),
        "p50",
        "p99",
        "p50 − direct",
        "p99 − direct",
        "p50 − nginx",
        "p99 − nginx",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for target in targets {
        report.watch_p50(target.name, target.turns.iter().map(|turn| turn.p50));
        let added = |base: usize, of: Of| target.added_to(&targets[base], of).to_string();
        table.push(vec![
            target.name.to_owned(),
            target.median(P50).to_string(),
            target.median(P99).to_string(),
            added(DIRECT, P50),
            added(DIRECT, P99),
            added(NGINX, P50),
            added(NGINX, P99),
        ]);
        if target.bad > 0 {
            let figure = format!("{} at a fixed rate: other answers than 200", target.name);
            report.demand(&figure, &thousands(target.bad), "none", false);
        }
    }
    report.table(table);
    report.raw("open_loop", targets.iter().map(Target::to_json).collect());
}
