//! Many streams at once: how evenly they come, what each chunk costs, and whether all of them come.

use std::fmt;
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;

use super::client::{self, Load, Tally};
use super::prompts;
use super::shop::PACED;
use super::{Cast, Way, rounds_of};
use crate::bench::books::Books;
use crate::bench::busy::AFTERMATH;
use crate::bench::memory::watch;
use crate::bench::open_loop::Answers;
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::report::Report;
use crate::bench::rounds::{self, Column};
use crate::bench::traffic::Traffic;
use crate::bench::units::{Kib, Nanos, Ratio, thousands};

/// One setting in which all targets have their turns.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    streams: usize,
    /// Chunks a second of each stream.
    rate: u32,
    /// Whether long prompts come in the meantime.
    has_prompts: bool,
    ways: &'static [Way],
}

const FEW: usize = 200;
const MANY: usize = 1_000;
const ALL: &[Way] = &[Way::Direct, Way::Nginx, Way::Free, Way::Metered];
const PROXIES: &[Way] = &[Way::Nginx, Way::Free, Way::Metered];
const EXTREMES: &[Way] = &[Way::Nginx, Way::Metered];

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario::new("200 streams, 50/s", FEW, 50, false, ALL),
    Scenario::new("200 streams, 50/s, 1 MB prompts", FEW, 50, true, PROXIES),
    Scenario::new("1,000 streams, 15/s", MANY, 15, false, PROXIES),
    Scenario::new(
        "1,000 streams, 15/s, 1 MB prompts",
        MANY,
        15,
        true,
        EXTREMES,
    ),
];

/// The part of a turn in which the streams begin.
const RAMP_PART: u32 = 5;
/// How much longer than through nginx the longest gaps may be.
const GAP_ABOVE_NGINX: Nanos = Nanos(2_000_000);
/// 150 MB.
const MEMORY_AT_MOST: Kib = Kib(150_000_000 / 1_024);
/// Reasons of broken streams that are shown.
const REASONS_SHOWN: usize = 3;

/// What one turn showed.
#[derive(Serialize)]
struct Turn {
    gaps: Percentiles,
    delays: Percentiles,
    chunks: u64,
    /// Of each chunk.
    cpu: Nanos,
    peak: Kib,
    faults: u64,
    untold: u64,
    prompts: u64,
    prompts_failed: u64,
}

type Course = rounds::Course<Way, Turn>;

pub(super) fn measure(
    scenario: &Scenario,
    cast: &Cast,
    options: &Options,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    cast.upstream.set_rate(scenario.rate);
    let course = |way: &Way| Course::new(way.name(), *way);
    let mut courses: Vec<Course> = scenario.ways.iter().map(course).collect();
    let turn = |way: &Way, _| scenario.turn(*way, cast, options, books);
    rounds::run(
        scenario.name,
        rounds_of(options),
        &mut courses,
        report,
        turn,
    )?;
    tell(scenario, &courses, report);
    judge(scenario, &courses, report);
    Ok(())
}

/// Keeps metered streams going for a profiler.
pub(super) fn load(cast: &Cast, options: &Options, report: &Report) -> Result<()> {
    let [scenario, ..] = &SCENARIOS;
    cast.upstream.set_rate(scenario.rate);
    let pid = cast.gateway.running.pid();
    report.progress(&format!("perf record -F 999 -g -p {pid} -- sleep 10"));
    for _ in 0..options.rounds {
        let turn = scenario.turn(Way::Metered, cast, options, &mut Books::default())?;
        report.progress(&turn.to_string());
    }
    Ok(())
}

impl Scenario {
    const fn new(
        name: &'static str,
        streams: usize,
        rate: u32,
        has_prompts: bool,
        ways: &'static [Way],
    ) -> Self {
        Self {
            name,
            streams,
            rate,
            has_prompts,
            ways,
        }
    }

    fn turn(&self, way: Way, cast: &Cast, options: &Options, books: &mut Books) -> Result<Turn> {
        let (load, prompt) = (self.load(way, cast, options), self.prompt(way, cast));
        let process = cast.process(way);
        let cpu = || process.map_or(Ok(Nanos(0)), |process| process.cpu());
        let before = cpu()?;
        let work = move || run(&load, prompt);
        let ((tally, prompts), peak) = match process {
            Some(process) => {
                let (seen, curve) = watch(process, work, || 0)?;
                (seen, curve.peak())
            }
            None => (work()?, Kib::default()),
        };
        std::thread::sleep(AFTERMATH);
        let spent = cpu()?.0 - before.0;
        for reason in tally.reasons.iter().take(REASONS_SHOWN) {
            println!("   {}: a stream broke: {reason}", way.name());
        }
        if way == Way::Metered {
            books.add(PACED, tally.owed + prompts.owed);
        }
        Ok(Turn {
            gaps: tally.gaps.percentiles(),
            delays: tally.delays.percentiles(),
            chunks: tally.chunks,
            cpu: Nanos(spent.checked_div(tally.chunks).unwrap_or(0)),
            peak,
            faults: tally.faults,
            untold: tally.untold,
            prompts: prompts.good,
            prompts_failed: prompts.bad,
        })
    }

    fn load(&self, way: Way, cast: &Cast, options: &Options) -> Load {
        let ramp = options.turn / RAMP_PART;
        let length = options.turn - ramp;
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let chunks = millis.saturating_mul(self.rate.into()) / 1_000;
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        Load {
            to: cast.address(way),
            traffic: cast.stream_traffic(way, chunks),
            streams: self.streams,
            chunks,
            ramp,
            length,
            is_sold: way == Way::Metered,
            clock: cast.upstream.clock,
        }
    }

    /// What the prompts ask with, if there are any.
    fn prompt(&self, way: Way, cast: &Cast) -> Option<Traffic> {
        let request = || prompts::request(way.place(), &cast.keys(way)[0]);
        self.has_prompts.then(|| Traffic::same(request()))
    }
}

fn run(load: &Load, prompt: Option<Traffic>) -> Result<(Tally, Answers)> {
    let (to, end_at) = (load.to, Instant::now() + load.ramp + load.length);
    let sender =
        prompt.map(|prompt| std::thread::spawn(move || prompts::send(to, &prompt, end_at)));
    let tally = client::run(load)?;
    let prompts = match sender.map(std::thread::JoinHandle::join) {
        None => Answers::default(),
        Some(Ok(answers)) => answers?,
        Some(Err(_)) => bail!("a generator thread panicked"),
    };
    Ok((tally, prompts))
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chunks, faults) = (thousands(self.chunks), self.faults);
        let (cpu, gap, delay) = (self.cpu, self.gaps.p99, self.delays.p50);
        write!(
            f,
            "{chunks} chunks, CPU {cpu}/chunk, p99 gap {gap}, p50 delay {delay}, {faults} faults"
        )
    }
}

fn peak(course: &Course) -> Kib {
    let peaks = course.turns.iter().map(|turn| turn.peak);
    peaks.max().unwrap_or_default()
}

fn of(courses: &[Course], way: Way) -> Option<&Course> {
    courses.iter().find(|course| course.what == way)
}

fn tell(scenario: &Scenario, courses: &[Course], report: &mut Report) {
    // The direct way takes no process.
    let shown = |course: &Course, text: String| match course.what {
        Way::Direct => "–".to_owned(),
        Way::Nginx | Way::Free | Way::Metered => text,
    };
    let nginx = of(courses, Way::Nginx);
    let ratio = |it: &Course| nginx.map_or(Ratio(0), |nginx| it.ratio(nginx, |turn| turn.cpu.0));
    let columns: [Column<'_, Course>; 8] = [
        ("gap p50", &|it| it.nanos(|turn| turn.gaps.p50).to_string()),
        ("gap p99", &|it| it.nanos(|turn| turn.gaps.p99).to_string()),
        ("gap max", &|it| it.nanos(|turn| turn.gaps.max).to_string()),
        ("delay p50", &|it| {
            it.nanos(|turn| turn.delays.p50).to_string()
        }),
        ("delay p99", &|it| {
            it.nanos(|turn| turn.delays.p99).to_string()
        }),
        ("CPU/chunk", &|it| {
            shown(it, it.nanos(|turn| turn.cpu).to_string())
        }),
        ("÷ nginx", &|it| shown(it, ratio(it).to_string())),
        ("RSS", &|it| shown(it, peak(it).to_string())),
    ];
    rounds::tell(scenario.name, courses, &columns, report);
}

fn judge(scenario: &Scenario, courses: &[Course], report: &mut Report) {
    let name = scenario.name;
    if let (Some(metered), Some(nginx)) = (of(courses, Way::Metered), of(courses, Way::Nginx)) {
        if scenario.streams == FEW {
            let (figure, above) = (
                format!("{name}: p99 gap above nginx's"),
                metered.above(nginx, |turn| turn.gaps.p99),
            );
            report.demand_at_most(&figure, above, GAP_ABOVE_NGINX);
        } else {
            report.demand_at_most(&format!("{name}: RSS"), peak(metered), MEMORY_AT_MOST);
        }
    }
    for course in courses {
        judge_whole(name, course, report);
    }
}

/// Every chunk came, once and in order, with a usage and what it costs behind it.
fn judge_whole(name: &str, course: &Course, report: &mut Report) {
    let (chunks, faults) = (
        course.sum(|turn| turn.chunks),
        course.sum(|turn| turn.faults),
    );
    let target = &course.name;
    if course.what == Way::Metered || faults > 0 {
        report.demand(
            &format!("{name}, {target}: chunks lost, repeated or out of order"),
            format!("{} of {}", thousands(faults), thousands(chunks + faults)),
            "none",
            faults == 0,
        );
    }
    for (what, count) in [
        (
            "streams without their usage or cost",
            course.sum(|turn| turn.untold),
        ),
        (
            "1 MB prompts without an answer",
            course.sum(|turn| turn.prompts_failed),
        ),
    ] {
        report.demand_none_of(&format!("{name}, {target}: {what}"), count);
    }
}
