//! Challenges with a fresh invoice each: how many, how long one takes, what it costs whom.

use std::sync::Arc;

use anyhow::Result;

use super::{NO_LIMIT, Nodes, Pair};
use crate::bench::books::Books;
use crate::bench::busy::{Busy, Course, Expected, WARM_UP};
use crate::bench::farebox::{SINGLE, Stage};
use crate::bench::options::Options;
use crate::bench::report::Report;
use crate::bench::rounds::{self, Column};
use crate::bench::traffic::Traffic;
use crate::bench::units::{Nanos, thousands};

/// One client at a time shows how long a challenge takes, several how many there can be.
const CROWDS: [usize; 2] = [1, 16];
/// What the gateway may spend on one challenge with LND, in the larger crowd.
const CPU_AT_MOST: Nanos = Nanos(150_000);

pub(super) fn measure(
    stage: &Stage<'_>,
    nodes: &Nodes<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let pairs = nodes.pairs(stage, "challenges", NO_LIMIT)?;
    let mut courses = Vec::new();
    for pair in &pairs {
        courses.extend(of(pair)?);
    }
    // Nothing is sold here.
    let mut books = Books::default();
    for course in &courses {
        course.what.ask(WARM_UP, &mut books)?;
    }
    let turn = |busy: &Busy<'_>, _| busy.turn(options.turn, &mut books);
    rounds::run("challenges", options.rounds, &mut courses, report, turn)?;
    tell(&courses, report);
    drop(courses);
    for pair in pairs {
        pair.gateway.stop_and_verify(report)?;
    }
    Ok(())
}

fn of<'a>(pair: &'a Pair<'_>) -> Result<[Course<'a>; 2]> {
    let (traffic, node) = (Arc::new(Traffic::strangers(SINGLE)), pair.node_process()?);
    Ok(CROWDS.map(|connections| {
        let busy = Busy {
            to: pair.gateway.address,
            process: &pair.gateway.running,
            node,
            traffic: Arc::clone(&traffic),
            connections,
            expected: Expected::Invoice,
            earns: None,
        };
        Course::new(format!("{}, {connections} at a time", pair.name), busy)
    }))
}

fn tell(courses: &[Course<'_>], report: &mut Report) {
    let columns: [Column<'_, Course<'_>>; 5] = [
        ("per s", &|it| {
            thousands(it.median(|turn| turn.invoices_per_second))
        }),
        ("p50", &|it| it.nanos(|turn| turn.latency.p50).to_string()),
        ("p99", &|it| it.nanos(|turn| turn.latency.p99).to_string()),
        ("gateway CPU", &|it| it.nanos(|turn| turn.cpu).to_string()),
        ("node CPU", &|it| it.nanos(|turn| turn.node_cpu).to_string()),
    ];
    rounds::tell("challenges", courses, &columns, report);
    for course in courses {
        let strays = course.sum(|turn| turn.strays);
        let figure = format!("challenges, {}: without an invoice", course.name);
        report.demand(&figure, thousands(strays), "none", strays == 0);
    }
    let [.., largest] = CROWDS;
    let is_busy_lnd = |it: &&Course<'_>| it.what.node.is_some() && it.what.connections == largest;
    if let Some(busy) = courses.iter().find(is_busy_lnd) {
        let spent = busy.nanos(|turn| turn.cpu);
        report.demand_at_most("gateway's CPU for a challenge with LND", spent, CPU_AT_MOST);
    }
}
