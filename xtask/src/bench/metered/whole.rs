//! As many whole answers as go through: each is held for, metered, and settled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::shop::{CHAT, Used, WHOLE, whole_request};
use super::{Cast, order, rounds};
use crate::bench::closed_loop::{self, Until};
use crate::bench::farebox::PLAIN;
use crate::bench::http::call;
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::proc::Running;
use crate::bench::report::Report;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Nanos, Ratio, median, thousands};

/// After a turn, for what a process does about its requests afterwards: log lines, settlements.
const AFTERMATH: Duration = Duration::from_millis(300);
const NGINX: usize = 0;
const METERED: usize = 2;
/// Requests for the same CPU, in parts of nginx's.
const PER_CPU: Ratio = Ratio(300);
const PER_SECOND: u64 = 10_000;

struct Course {
    name: &'static str,
    to: SocketAddr,
    traffic: Arc<Traffic>,
    /// What one answer costs here, in msat.
    cost: u64,
    turns: Vec<Turn>,
}

struct Turn {
    per_second: u64,
    cpu: Nanos,
    latency: Percentiles,
    strays: u64,
}

pub(super) fn measure(cast: &mut Cast, options: &Options, report: &mut Report) -> Result<()> {
    let mut courses = courses(cast)?;
    for round in 0..rounds(options) {
        for index in order(round, courses.len()) {
            let turn = take_turn(&courses[index], index == NGINX, cast, options)?;
            courses[index].turns.push(turn);
        }
        report.progress(&format!("whole answers: round {}", round + 1));
    }
    tell(&courses, report);
    judge(&courses, report);
    cast.shop.check("whole answers", report)
}

/// Keeps the metered route busy for a profiler.
pub(super) fn load(cast: &mut Cast, options: &Options, report: &Report) -> Result<()> {
    let courses = courses(cast)?;
    for _ in 0..options.rounds {
        let turn = take_turn(&courses[METERED], false, cast, options)?;
        let (rate, cpu, strays) = (thousands(turn.per_second), turn.cpu, turn.strays);
        let Percentiles { p50, p99, .. } = turn.latency;
        report.progress(&format!(
            "{rate} req/s, CPU {cpu}/req, p50 {p50}, p99 {p99}, {strays} strays"
        ));
    }
    Ok(())
}

/// The last one is paid from a single key: what it costs when everybody shares one account.
fn courses(cast: &mut Cast) -> Result<[Course; 4]> {
    let cost = ask_cost(cast)?;
    let gateway = cast.shop.gateway.address;
    let course = |name, to, requests: Vec<Vec<u8>>, cost| Course {
        name,
        to,
        traffic: Arc::new(Traffic::Repeated(requests)),
        cost,
        turns: Vec::new(),
    };
    let free = || vec![whole_request(PLAIN, "")];
    let paid = |keys: &[String]| keys.iter().map(|key| whole_request(WHOLE, key)).collect();
    let keys = &cast.shop.keys;
    Ok([
        course("nginx", cast.nginx.address, free(), 0),
        course("plain route", gateway, free(), 0),
        course("metered", gateway, paid(keys), cost),
        course("metered, one key", gateway, paid(&keys[..1]), cost),
    ])
}

/// What an answer costs by its usage, which is the same in all of them; the gateway has to think
/// the same.
fn ask_cost(cast: &mut Cast) -> Result<u64> {
    let request = whole_request(WHOLE, &cast.shop.keys[0]);
    let reply = call(cast.shop.gateway.address, &request)?.expect(200)?;
    let answer: Value = serde_json::from_str(&reply.body)?;
    let used = Used::read(&answer["usage"]).context("no usage in the answer")?;
    let cost = used.cost();
    ensure!(
        answer["usage"]["cost_msat"] == cost,
        "a cost that is not {cost}: {answer}"
    );
    ensure!(
        reply.head.contains("farebox-charge-msat"),
        "no charge in {CHAT}"
    );
    cast.shop.add(WHOLE, cost);
    Ok(cost)
}

fn take_turn(course: &Course, is_nginx: bool, cast: &mut Cast, options: &Options) -> Result<Turn> {
    let process: &Running = if is_nginx {
        &cast.nginx.running
    } else {
        &cast.shop.gateway.running
    };
    let before = process.cpu()?;
    let until = Until::Time(options.turn / 2);
    let tally = closed_loop::run(course.to, &course.traffic, options.connections, until)?;
    std::thread::sleep(AFTERMATH);
    let spent = process.cpu()?.0 - before.0;
    if course.cost > 0 {
        cast.shop.add(WHOLE, tally.count(200) * course.cost);
    }
    Ok(Turn {
        per_second: tally.per_second(tally.requests()),
        cpu: Nanos(spent.checked_div(tally.requests()).unwrap_or(0)),
        strays: tally.strays(200),
        latency: tally.latencies.percentiles(),
    })
}

impl Course {
    fn median(&self, of: impl Fn(&Turn) -> u64) -> u64 {
        median(self.turns.iter().map(of))
    }

    /// Requests for the same CPU, in parts of those of `base` in the same round.
    fn per_cpu(&self, base: &Self) -> Ratio {
        let rounds = self.turns.iter().zip(&base.turns);
        Ratio(median(
            rounds.map(|(own, base)| Ratio::of(base.cpu.0, own.cpu.0).0),
        ))
    }

    fn to_json(&self) -> Value {
        let turn = |turn: &Turn| {
            json!({
                "requests_per_second": turn.per_second, "cpu_ns_per_request": turn.cpu.0,
                "p50_ns": turn.latency.p50.0, "p99_ns": turn.latency.p99.0,
                "strays": turn.strays,
            })
        };
        json!({ "target": self.name, "turns": self.turns.iter().map(turn).collect::<Vec<_>>() })
    }
}

fn tell(courses: &[Course; 4], report: &mut Report) {
    let heads = [
        "whole answers, closed loop",
        "req/s",
        "CPU/req",
        "per CPU ÷ nginx",
        "p50",
        "p99",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for course in courses {
        report.watch_p50(
            course.name,
            course.turns.iter().map(|turn| turn.latency.p50),
        );
        table.push(vec![
            course.name.to_owned(),
            thousands(course.median(|turn| turn.per_second)),
            Nanos(course.median(|turn| turn.cpu.0)).to_string(),
            course.per_cpu(&courses[NGINX]).to_string(),
            Nanos(course.median(|turn| turn.latency.p50.0)).to_string(),
            Nanos(course.median(|turn| turn.latency.p99.0)).to_string(),
        ]);
    }
    report.table(table);
    report.raw(
        "metered_whole",
        courses.iter().map(Course::to_json).collect(),
    );
}

fn judge(courses: &[Course; 4], report: &mut Report) {
    let metered = &courses[METERED];
    let (per_cpu, rate) = (
        metered.per_cpu(&courses[NGINX]),
        metered.median(|turn| turn.per_second),
    );
    report.demand(
        "metered whole answers, per CPU",
        &per_cpu.to_string(),
        &format!("≥ {PER_CPU} of nginx"),
        per_cpu >= PER_CPU,
    );
    report.demand(
        "metered whole answers",
        &format!("{}/s", thousands(rate)),
        &format!("≥ {}/s", thousands(PER_SECOND)),
        rate >= PER_SECOND,
    );
    for course in courses {
        let strays: u64 = course.turns.iter().map(|turn| turn.strays).sum();
        if strays > 0 {
            let figure = format!("whole answers, {}: other answers than 200", course.name);
            report.demand(&figure, &thousands(strays), "none", false);
        }
    }
}
