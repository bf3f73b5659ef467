//! As many whole answers as go through: each is held for, metered, and settled.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::shop::{CHAT, Used, WHOLE, whole_request};
use super::{Cast, Way, rounds_of};
use crate::bench::books::Books;
use crate::bench::busy::{self, Busy, Course, Expected, per_cpu};
use crate::bench::farebox::PLAIN;
use crate::bench::http::call;
use crate::bench::options::Options;
use crate::bench::report::Report;
use crate::bench::rounds;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Ratio, thousands};

const TITLE: &str = "whole answers, closed loop";
/// Requests for the same CPU, in parts of nginx's.
const PER_CPU: Ratio = Ratio(300);
const PER_SECOND: u64 = 10_000;

pub(super) fn measure(
    cast: &Cast,
    options: &Options,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    let mut courses = courses(cast, options, books)?;
    let turn = |busy: &Busy<'_>, _| busy.turn(options.turn / 2, books);
    rounds::run(TITLE, rounds_of(options), &mut courses, report, turn)?;
    busy::tell(TITLE, &courses, report);
    let [nginx, _, metered, _] = &courses;
    let (figure, seen) = ("metered whole answers, per CPU", per_cpu(metered, nginx));
    report.demand_at_least(figure, seen, PER_CPU, " of nginx");
    let rate = metered.median(|turn| turn.requests_per_second);
    let (measured, demanded) = (thousands(rate), format!("≥ {}/s", thousands(PER_SECOND)));
    let passed = rate >= PER_SECOND;
    report.demand(
        "metered whole answers",
        format!("{measured}/s"),
        &demanded,
        passed,
    );
    Ok(())
}

/// Keeps the metered route busy for a profiler.
pub(super) fn load(cast: &Cast, options: &Options, report: &Report) -> Result<()> {
    let [_, _, metered, _] = courses(cast, options, &mut Books::default())?;
    busy::load(&metered, options.rounds, options.turn / 2, report)
}

/// The last one is paid from a single key: what it costs when everybody shares one account.
fn courses<'a>(cast: &'a Cast, options: &Options, books: &mut Books) -> Result<[Course<'a>; 4]> {
    let cost = ask_cost(cast, books)?;
    let course = |name, way, requests: Vec<Vec<u8>>| {
        let busy = Busy {
            to: cast.address(way),
            process: cast.process(way).context("a way through a proxy")?,
            node: None,
            traffic: Arc::new(Traffic::Repeated(requests)),
            connections: options.connections,
            expected: Expected::Status(200),
            earns: (way == Way::Metered).then_some((WHOLE, cost)),
        };
        anyhow::Ok(Course::new(name, busy))
    };
    let free = || vec![whole_request(PLAIN, "")];
    let paid = |keys: &[String]| keys.iter().map(|key| whole_request(WHOLE, key)).collect();
    Ok([
        course("nginx", Way::Nginx, free())?,
        course("plain route", Way::Free, free())?,
        course("metered", Way::Metered, paid(&cast.keys))?,
        course("metered, one key", Way::Metered, paid(&cast.keys[..1]))?,
    ])
}

/// What an answer costs by its usage, which is the same in all of them; the gateway has to think
/// the same.
fn ask_cost(cast: &Cast, books: &mut Books) -> Result<u64> {
    let request = whole_request(WHOLE, &cast.keys[0]);
    let reply = call(cast.gateway.address, &request)?.expect(200)?;
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
    books.add(WHOLE, cost);
    Ok(cost)
}
