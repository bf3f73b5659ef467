//! Requests per second and CPU per request, as ratios inside a round.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::books::Books;
use super::busy::{self, Busy, Course, Expected, WARM_UP, per_cpu};
use super::farebox::{DEBIT, Gateway, PASS, PLAIN, SINGLE, Stage};
use super::nginx::Nginx;
use super::options::Options;
use super::report::Report;
use super::rounds;
use super::traffic::{Traffic, chat};
use super::units::{Ratio, thousands};

const TITLE: &str = "closed loop";
/// What one request costs on the route with a balance, in msat.
pub(crate) const DEBIT_PRICE: u64 = 1;
/// What `--load` can keep busy, in the order of the courses behind nginx.
const LOADS: [&str; 5] = ["plain", "pass", "debit", "fresh", "short"];

/// Everybody who takes part, and the tokens of each connection.
pub(crate) struct Cast {
    pub(crate) nginx: Nginx,
    pub(crate) gateway: Gateway,
    pub(crate) passes: Vec<String>,
    pub(crate) balances: Vec<String>,
}

impl Cast {
    pub(crate) fn assemble(stage: &Stage<'_>, options: &Options) -> Result<Self> {
        let nginx = Nginx::proxy(&stage.folder.join("proxy"), stage.upstream, options)?;
        let gateway = stage.start("gateway")?;
        Ok(Self {
            nginx,
            passes: gateway.buy_many(PASS, options.connections)?,
            balances: gateway.buy_many(DEBIT, options.connections)?,
            gateway,
        })
    }
}

pub(crate) fn measure(
    cast: &Cast,
    options: &Options,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    let mut courses = courses(cast, options);
    for course in &courses {
        course.what.ask(WARM_UP, books)?;
    }
    let turn = |busy: &Busy<'_>, _| busy.turn(options.turn, books);
    rounds::run(TITLE, options.rounds, &mut courses, report, turn)?;
    busy::tell(TITLE, &courses, report);
    judge(&courses, report);
    Ok(())
}

/// Keeps one target busy so that a profiler has something to see.
pub(crate) fn load(name: &str, cast: &Cast, options: &Options, report: &Report) -> Result<()> {
    let index = LOADS.iter().position(|load| *load == name);
    let index = index.with_context(|| format!("no target {name:?}: {}", LOADS.join(", ")))?;
    let course = &courses(cast, options)[1 + index];
    busy::load(course, options.rounds, options.turn, report)
}

fn courses<'a>(cast: &'a Cast, options: &Options) -> [Course<'a>; 6] {
    let ours = |name, traffic, status| {
        let busy = Busy {
            to: cast.gateway.address,
            process: &cast.gateway.running,
            node: None,
            traffic: Arc::new(traffic),
            connections: options.connections,
            expected: Expected::Status(status),
            earns: None,
        };
        Course::new(name, busy)
    };
    let plain = || Traffic::same(chat(PLAIN, &[]));
    let (mut nginx, mut durable) = (
        ours("nginx", plain(), 200),
        ours("L402, durable debit", paid(DEBIT, &cast.balances), 200),
    );
    nginx.what.to = cast.nginx.address;
    nginx.what.process = &cast.nginx.running;
    durable.what.earns = Some((DEBIT, DEBIT_PRICE));
    [
        nginx,
        ours("plain route", plain(), 200),
        ours("L402, time-limited", paid(PASS, &cast.passes), 200),
        durable,
        ours("402, fresh invoice", Traffic::strangers(SINGLE), 402),
        ours("402, past the limit", Traffic::same(chat(SINGLE, &[])), 402),
    ]
}

/// The request of all comparisons, with a token for each connection.
pub(crate) fn paid(path: &str, tokens: &[String]) -> Traffic {
    let request = |token: &String| chat(path, &[("Authorization", token)]);
    Traffic::Repeated(tokens.iter().map(request).collect())
}

fn judge(courses: &[Course<'_>; 6], report: &mut Report) {
    let [nginx, free, timed, durable, fresh, short] = courses;
    for (course, base, least) in [
        (free, nginx, Ratio(750)),
        (timed, nginx, Ratio(650)),
        (durable, nginx, Ratio(400)),
        (short, free, Ratio(600)),
    ] {
        let (figure, of) = (
            format!("{}, per CPU", course.name),
            format!(" of {}", base.name),
        );
        report.demand_at_least(&figure, per_cpu(course, base), least, &of);
    }
    for (course, seen, least) in [
        (
            durable,
            durable.median(|turn| turn.requests_per_second),
            15_000,
        ),
        (fresh, fresh.median(|turn| turn.invoices_per_second), 10_000),
    ] {
        let (measured, demanded) = (thousands(seen), format!("≥ {}/s", thousands(least)));
        report.demand(
            &course.name,
            format!("{measured}/s"),
            &demanded,
            seen >= least,
        );
    }
}
