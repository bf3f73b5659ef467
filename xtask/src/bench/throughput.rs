//! Requests per second and CPU per request, as ratios inside a round.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::accounting::Books;
use super::closed_loop::{self, Tally, Until};
use super::farebox::{DEBIT, Gateway, PASS, PLAIN, SINGLE};
use super::nginx::Nginx;
use super::options::Options;
use super::percentile::Percentiles;
use super::proc::Running;
use super::report::Report;
use super::traffic::{Traffic, chat};
use super::units::{Nanos, Ratio, median, thousands};

/// After a turn, for what a process does about its requests afterwards: log lines, settlements.
const AFTERMATH: Duration = Duration::from_millis(300);
const WARM_UP: Duration = Duration::from_millis(500);

/// Somebody whose turn comes in every round.
struct Target<'a> {
    name: &'static str,
    to: SocketAddr,
    process: &'a Running,
    traffic: Arc<Traffic>,
    expected: u16,
    turns: Vec<Turn>,
}

/// What one turn showed.
struct Turn {
    per_second: u64,
    invoices_per_second: u64,
    cpu: Nanos,
    latency: Percentiles,
    strays: u64,
}

const NGINX: usize = 0;
const FREE: usize = 1;
const TIMED: usize = 2;
const DURABLE: usize = 3;
const FRESH: usize = 4;
const SHORT: usize = 5;

/// How `--load` calls the targets.
const LOADS: [(&str, usize); 5] = [
    ("plain", FREE),
    ("pass", TIMED),
    ("debit", DURABLE),
    ("fresh", FRESH),
    ("short", SHORT),
];

/// Keeps one target busy so that a profiler has something to see.
pub(crate) fn load(
    name: &str,
    options: &Options,
    proxy: &Nginx,
    gateway: &Gateway,
    report: &Report,
) -> Result<()> {
    let Some((_, index)) = LOADS.into_iter().find(|(load, _)| *load == name) else {
        bail!(
            "no target {name:?}: {}",
            LOADS.map(|(load, _)| load).join(", ")
        )
    };
    let mut books = Books::open(gateway, options.connections)?;
    let target = &targets(proxy, gateway, &books)[index];
    let pid = target.process.pid();
    report.progress(&format!(
        "{}: perf record -F 999 -g -p {pid} -- sleep 10",
        target.name
    ));
    for _ in 0..options.rounds {
        let turn = take_turn(target, options, &mut books)?;
        let (rate, Percentiles { p50, p99, .. }) = (thousands(turn.per_second), turn.latency);
        let (cpu, strays) = (turn.cpu, turn.strays);
        report.progress(&format!(
            "{rate} req/s, CPU {cpu}/req, p50 {p50}, p99 {p99}, {strays} strays"
        ));
    }
    Ok(())
}

pub(crate) fn measure(
    options: &Options,
    proxy: &Nginx,
    gateway: &Gateway,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    let mut targets = targets(proxy, gateway, books);
    for target in &mut targets {
        let tally = closed_loop::run(
            target.to,
            &target.traffic,
            options.connections,
            Until::Time(WARM_UP),
        )?;
        count_debits(target, &tally, books);
    }
    for round in 0..options.rounds {
        // Back and forth, so that a machine that grows slower or faster favours nobody.
        let mut order: Vec<usize> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let target = &mut targets[index];
            let turn = take_turn(target, options, books)?;
            target.turns.push(turn);
        }
        report.progress(&format!(
            "closed loop: round {} of {}",
            round + 1,
            options.rounds
        ));
    }
    tell(&targets, report);
    judge(&targets, report);
    Ok(())
}

fn targets<'a>(proxy: &'a Nginx, gateway: &'a Gateway, books: &Books) -> [Target<'a>; 6] {
    let ours = |name, traffic, expected| Target {
        name,
        to: gateway.address,
        process: &gateway.running,
        traffic: Arc::new(traffic),
        expected,
        turns: Vec::new(),
    };
    let nginx = Target {
        to: proxy.address,
        process: &proxy.running,
        ..ours("nginx", Traffic::same(chat(PLAIN, &[])), 200)
    };
    [
        nginx,
        ours("plain route", Traffic::same(chat(PLAIN, &[])), 200),
        ours("L402, time-limited", paid(PASS, &books.passes), 200),
        ours("L402, durable debit", paid(DEBIT, &books.balances), 200),
        ours("402, fresh invoice", Traffic::strangers(SINGLE), 402),
        ours("402, past the limit", Traffic::same(chat(SINGLE, &[])), 402),
    ]
}

/// The request of all comparisons, with a token for each connection.
pub(crate) fn paid(path: &str, tokens: &[String]) -> Traffic {
    let request = |token: &String| chat(path, &[("Authorization", token)]);
    Traffic::Repeated(tokens.iter().map(request).collect())
}

fn take_turn(target: &Target<'_>, options: &Options, books: &mut Books) -> Result<Turn> {
    let before = target.process.cpu()?;
    let tally = closed_loop::run(
        target.to,
        &target.traffic,
        options.connections,
        Until::Time(options.turn),
    )?;
    std::thread::sleep(AFTERMATH);
    let spent = target.process.cpu()?.0 - before.0;
    count_debits(target, &tally, books);
    Ok(Turn {
        per_second: tally.per_second(tally.requests()),
        invoices_per_second: tally.per_second(tally.invoices),
        cpu: Nanos(spent.checked_div(tally.requests()).unwrap_or(0)),
        strays: tally.strays(target.expected),
        latency: tally.latencies.percentiles(),
    })
}

fn count_debits(target: &Target<'_>, tally: &Tally, books: &mut Books) {
    if target.name == "L402, durable debit" {
        books.add(tally.count(200));
    }
}

impl Target<'_> {
    fn median(&self, of: impl Fn(&Turn) -> u64) -> u64 {
        median(self.turns.iter().map(of))
    }

    /// `of` this target in parts of the same turn of `other`.
    fn ratio(&self, other: &Self, of: impl Fn(&Turn) -> u64) -> Ratio {
        let rounds = self.turns.iter().zip(&other.turns);
        Ratio(median(
            rounds.map(|(own, base)| Ratio::of(of(own), of(base)).0),
        ))
    }

    /// Requests for the same CPU, in parts of those of `base`.
    fn per_cpu(&self, base: &Self) -> Ratio {
        base.ratio(self, |turn| turn.cpu.0)
    }

    fn to_json(&self) -> Value {
        let turn = |turn: &Turn| {
            json!({
                "requests_per_second": turn.per_second, "cpu_ns_per_request": turn.cpu.0,
                "p50_ns": turn.latency.p50.0, "p99_ns": turn.latency.p99.0,
                "invoices_per_second": turn.invoices_per_second, "strays": turn.strays,
            })
        };
        json!({ "target": self.name, "turns": self.turns.iter().map(turn).collect::<Vec<_>>() })
    }
}

fn tell(targets: &[Target<'_>; 6], report: &mut Report) {
    let mut table = vec![
        [
            "closed loop",
            "req/s",
            "÷ nginx",
            "CPU/req",
            "per CPU ÷ nginx",
            "p50",
            "p99",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let nginx = &targets[NGINX];
    for target in targets {
        let p50 = Nanos(target.median(|turn| turn.latency.p50.0));
        report.watch_p50(
            target.name,
            target.turns.iter().map(|turn| turn.latency.p50),
        );
        table.push(vec![
            target.name.to_owned(),
            thousands(target.median(|turn| turn.per_second)),
            target.ratio(nginx, |turn| turn.per_second).to_string(),
            Nanos(target.median(|turn| turn.cpu.0)).to_string(),
            target.per_cpu(nginx).to_string(),
            p50.to_string(),
            Nanos(target.median(|turn| turn.latency.p99.0)).to_string(),
        ]);
    }
    report.table(table);
    report.raw("closed_loop", targets.iter().map(Target::to_json).collect());
}

fn judge(targets: &[Target<'_>; 6], report: &mut Report) {
    let [nginx, free, timed, durable, fresh, short] =
        [NGINX, FREE, TIMED, DURABLE, FRESH, SHORT].map(|index| &targets[index]);
    let mut per_cpu = |target: &Target<'_>, base: &Target<'_>, least: Ratio| {
        let (figure, seen) = (format!("{}, per CPU", target.name), target.per_cpu(base));
        let demanded = format!("≥ {least} of {}", base.name);
        report.demand(&figure, &seen.to_string(), &demanded, seen >= least);
    };
    per_cpu(free, nginx, Ratio(750));
    per_cpu(timed, nginx, Ratio(650));
    per_cpu(durable, nginx, Ratio(400));
    per_cpu(short, free, Ratio(600));
    let mut rate = |name: &str, seen: u64, least: u64| {
        let demanded = format!("≥ {}/s", thousands(least));
        report.demand(
            name,
            &format!("{}/s", thousands(seen)),
            &demanded,
            seen >= least,
        );
    };
    rate(durable.name, durable.median(|turn| turn.per_second), 15_000);
    rate(
        fresh.name,
        fresh.median(|turn| turn.invoices_per_second),
        10_000,
    );
    for target in targets {
        let strays: u64 = target.turns.iter().map(|turn| turn.strays).sum();
        if strays > 0 {
            let figure = format!("{}: other answers than {}", target.name, target.expected);
            report.demand(&figure, &thousands(strays), "none", false);
        }
    }
}
