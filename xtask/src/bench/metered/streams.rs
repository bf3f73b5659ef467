//! Many streams at once: how evenly they come, what each chunk costs, and whether all of them come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::client::{self, Load, Tally};
use super::prompts::{self, Answers};
use super::shop::PACED;
use super::{Cast, Target, Way, order, rounds};
use crate::bench::memory::watch;
use crate::bench::options::Options;
use crate::bench::percentile::Percentiles;
use crate::bench::report::Report;
use crate::bench::units::{Kib, Nanos, Ratio, median, thousands};

/// One setting in which all targets have their turns.
pub(super) struct Scenario {
    name: &'static str,
    streams: usize,
    /// Chunks a second of each stream.
    rate: u32,
    /// Whether long prompts come in the meantime.
    has_prompts: bool,
    ways: &'static [Way],
}

const FEW: usize = 200;
const MANY: usize = 1_000;
const ALL: [Way; 4] = [Way::Direct, Way::Nginx, Way::Free, Way::Metered];
const PROXIES: [Way; 3] = [Way::Nginx, Way::Free, Way::Metered];
const EXTREMES: [Way; 2] = [Way::Nginx, Way::Metered];

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "200 streams, 50/s",
        streams: FEW,
        rate: 50,
        has_prompts: false,
        ways: &ALL,
    },
    Scenario {
        name: "200 streams, 50/s, 1 MB prompts",
        streams: FEW,
        rate: 50,
        has_prompts: true,
        ways: &PROXIES,
    },
    Scenario {
        name: "1,000 streams, 15/s",
        streams: MANY,
        rate: 15,
        has_prompts: false,
        ways: &PROXIES,
    },
    Scenario {
        name: "1,000 streams, 15/s, 1 MB prompts",
        streams: MANY,
        rate: 15,
        has_prompts: true,
        ways: &EXTREMES,
    },
];

/// The part of a turn in which the streams begin.
const RAMP_PART: u32 = 5;
/// After a turn, for what a process does about its requests afterwards: log lines, settlements.
const AFTERMATH: Duration = Duration::from_millis(300);
/// How much longer than through nginx the longest gaps may be.
const GAP_ABOVE_NGINX: Nanos = Nanos(2_000_000);
/// 150 MB.
const MEMORY_AT_MOST: Kib = Kib(150_000_000 / 1_024);
/// Reasons of broken streams that are shown.
const REASONS_SHOWN: usize = 3;

/// What one turn showed.
struct Turn {
    gaps: Percentiles,
    delays: Percentiles,
    chunks: u64,
    cpu: Nanos,
    peak: Kib,
    faults: u64,
    untold: u64,
    prompts: Answers,
}

struct Course<'a> {
    target: Target,
    /// What the prompts ask with, if there are any.
    prompt: Option<Arc<Vec<u8>>>,
    scenario: &'a Scenario,
    turns: Vec<Turn>,
}

pub(super) fn measure(
    scenario: &Scenario,
    cast: &mut Cast,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    cast.upstream.set_rate(scenario.rate);
    let mut courses = courses(scenario, cast);
    for round in 0..rounds(options) {
        for index in order(round, courses.len()) {
            let turn = take_turn(&courses[index], cast, options, report)?;
            courses[index].turns.push(turn);
        }
        report.progress(&format!("{}: round {}", scenario.name, round + 1));
    }
    tell(scenario, &courses, report);
    judge(scenario, &courses, report);
    cast.shop.check(scenario.name, report)
}

/// Keeps metered streams going for a profiler.
pub(super) fn load(cast: &mut Cast, options: &Options, report: &Report) -> Result<()> {
    let scenario = Scenario {
        ways: &[Way::Metered],
        ..SCENARIOS[0]
    };
    cast.upstream.set_rate(scenario.rate);
    let course = courses(&scenario, cast).remove(0);
    for _ in 0..options.rounds {
        let turn = take_turn(&course, cast, options, report)?;
        let (chunks, faults) = (thousands(turn.chunks), turn.faults);
        let (cpu, gap, delay) = (turn.cpu, turn.gaps.p99, turn.delays.p50);
        report.progress(&format!(
            "{chunks} chunks, CPU {cpu}/chunk, p99 gap {gap}, p50 delay {delay}, {faults} faults"
        ));
    }
    Ok(())
}

fn courses<'a>(scenario: &'a Scenario, cast: &Cast) -> Vec<Course<'a>> {
    let course = |target: Target| {
        let key = match target.way {
            Way::Metered => cast.shop.keys[0].as_str(),
            Way::Direct | Way::Nginx | Way::Free => "",
        };
        let prompt = || Arc::new(prompts::request(target.way.place(), key));
        Course {
            prompt: scenario.has_prompts.then(prompt),
            target,
            scenario,
            turns: Vec::new(),
        }
    };
    cast.targets(scenario.ways)
        .into_iter()
        .map(course)
        .collect()
}

fn take_turn(
    course: &Course<'_>,
    cast: &mut Cast,
    options: &Options,
    report: &Report,
) -> Result<Turn> {
    let (load, way) = (course.load(cast, options), course.target.way);
    let process = cast.process(way);
    let before = process.map(|process| process.cpu()).transpose()?;
    let prompt = course.prompt.clone();
    let work = move || run(&load, prompt);
    let ((tally, prompts), peak) = match process {
        Some(process) => {
            let (seen, curve) = watch(process, work, || 0)?;
            (seen, curve.peak())
        }
        None => (work()?, Kib::default()),
    };
    std::thread::sleep(AFTERMATH);
    let after = process.map(|process| process.cpu()).transpose()?;
    let spent = after
        .zip(before)
        .map_or(0, |(after, before)| after.0 - before.0);
    for reason in tally.reasons.iter().take(REASONS_SHOWN) {
        report.progress(&format!("{}: a stream broke: {reason}", way.name()));
    }
    if way == Way::Metered {
        cast.shop.add(PACED, tally.owed + prompts.owed);
    }
    Ok(Turn {
        gaps: tally.gaps.percentiles(),
        delays: tally.delays.percentiles(),
        chunks: tally.chunks,
        cpu: Nanos(spent.checked_div(tally.chunks).unwrap_or(0)),
        peak,
        faults: tally.faults,
        untold: tally.untold,
        prompts,
    })
}

fn run(load: &Load, prompt: Option<Arc<Vec<u8>>>) -> Result<(Tally, Answers)> {
    let (to, end_at) = (load.to, Instant::now() + load.ramp + load.length);
    let sender =
        prompt.map(|request| std::thread::spawn(move || prompts::send(to, &request, end_at)));
    let tally = client::run(load)?;
    let prompts = match sender.map(std::thread::JoinHandle::join) {
        None => Answers::default(),
        Some(Ok(answers)) => answers?,
        Some(Err(_)) => bail!("a generator thread panicked"),
    };
    Ok((tally, prompts))
}

impl Course<'_> {
    fn load(&self, cast: &Cast, options: &Options) -> Load {
        let ramp = options.turn / RAMP_PART;
        let length = options.turn - ramp;
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let chunks = millis.saturating_mul(self.scenario.rate.into()) / 1_000;
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        Load {
            to: self.target.to,
            traffic: cast.stream_traffic(self.target.way, chunks),
            streams: self.scenario.streams,
            chunks,
            ramp,
            length,
            is_sold: self.target.way == Way::Metered,
            clock: cast.upstream.clock,
        }
    }

    fn median(&self, of: impl Fn(&Turn) -> u64) -> u64 {
        median(self.turns.iter().map(of))
    }

    fn sum(&self, of: impl Fn(&Turn) -> u64) -> u64 {
        self.turns.iter().map(of).sum()
    }

    fn peak(&self) -> Kib {
        let peaks = self.turns.iter().map(|turn| turn.peak);
        peaks.max().unwrap_or_default()
    }

    /// How much longer the longest gaps are than in the same round of `base`.
    fn gap_above(&self, base: &Self) -> Nanos {
        let rounds = self.turns.iter().zip(&base.turns);
        Nanos(median(rounds.map(|(own, base)| {
            own.gaps.p99.0.saturating_sub(base.gaps.p99.0)
        })))
    }

    /// CPU of a chunk in parts of that in the same round of `base`.
    fn cpu_of(&self, base: &Self) -> Ratio {
        let rounds = self.turns.iter().zip(&base.turns);
        Ratio(median(
            rounds.map(|(own, base)| Ratio::of(own.cpu.0, base.cpu.0).0),
        ))
    }

    fn to_json(&self) -> Value {
        let turn = |turn: &Turn| {
            let (gaps, delays) = (turn.gaps, turn.delays);
            json!({
                "gap_p50_ns": gaps.p50.0, "gap_p99_ns": gaps.p99.0, "gap_max_ns": gaps.max.0,
                "delay_p50_ns": delays.p50.0, "delay_p99_ns": delays.p99.0,
                "delay_max_ns": delays.max.0, "chunks": turn.chunks,
                "cpu_ns_per_chunk": turn.cpu.0, "rss_peak_kib": turn.peak.0,
                "faults": turn.faults, "untold": turn.untold,
                "prompts": turn.prompts.good, "prompts_failed": turn.prompts.bad,
            })
        };
        let turns: Vec<Value> = self.turns.iter().map(turn).collect();
        json!({ "target": self.target.name, "turns": turns })
    }
}

fn tell(scenario: &Scenario, courses: &[Course<'_>], report: &mut Report) {
    let heads = [
        scenario.name,
        "gap p50",
        "gap p99",
        "gap max",
        "delay p50",
        "delay p99",
        "CPU/chunk",
        "÷ nginx",
        "RSS",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for course in courses {
        let nanos = |of: fn(&Turn) -> Nanos| Nanos(course.median(|turn| of(turn).0)).to_string();
        let is_process = course.target.way != Way::Direct;
        let shown = |text: String| if is_process { text } else { "–".to_owned() };
        let ratio = nginx(courses).map_or(Ratio(0), |nginx| course.cpu_of(nginx));
        table.push(vec![
            course.target.name.to_owned(),
            nanos(|turn| turn.gaps.p50),
            nanos(|turn| turn.gaps.p99),
            nanos(|turn| turn.gaps.max),
            nanos(|turn| turn.delays.p50),
            nanos(|turn| turn.delays.p99),
            shown(nanos(|turn| turn.cpu)),
            shown(ratio.to_string()),
            shown(course.peak().to_string()),
        ]);
    }
    report.table(table);
    report.raw(scenario.name, courses.iter().map(Course::to_json).collect());
}

fn judge(scenario: &Scenario, courses: &[Course<'_>], report: &mut Report) {
    let name = scenario.name;
    let metered = courses.iter().find(|it| it.target.way == Way::Metered);
    if let (Some(metered), Some(nginx)) = (metered, nginx(courses)) {
        if scenario.streams == FEW {
            let above = metered.gap_above(nginx);
            report.demand(
                &format!("{name}: p99 gap above nginx's"),
                &above.to_string(),
                "≤ 2 ms",
                above <= GAP_ABOVE_NGINX,
            );
        } else {
            let peak = metered.peak();
            report.demand(
                &format!("{name}: RSS"),
                &peak.to_string(),
                &format!("≤ 150 MB ({MEMORY_AT_MOST})"),
                peak <= MEMORY_AT_MOST,
            );
        }
    }
    for course in courses {
        judge_whole(name, course, report);
    }
}

/// Every chunk came, once and in order, with a usage and what it costs behind it.
fn judge_whole(name: &str, course: &Course<'_>, report: &mut Report) {
    let (chunks, faults) = (
        course.sum(|turn| turn.chunks),
        course.sum(|turn| turn.faults),
    );
    let untold = course.sum(|turn| turn.untold);
    let target = course.target.name;
    if course.target.way == Way::Metered || faults > 0 {
        report.demand(
            &format!("{name}, {target}: chunks lost, repeated or out of order"),
            &format!("{} of {}", thousands(faults), thousands(chunks + faults)),
            "none",
            faults == 0,
        );
    }
    let bad = course.sum(|turn| turn.prompts.bad);
    for (what, count) in [
        ("streams without their usage or cost", untold),
        ("1 MB prompts without an answer", bad),
    ] {
        if count > 0 {
            let figure = format!("{name}, {target}: {what}");
            report.demand(&figure, &thousands(count), "none", false);
        }
    }
}

fn nginx<'a, 'b>(courses: &'a [Course<'b>]) -> Option<&'a Course<'b>> {
    courses.iter().find(|it| it.target.way == Way::Nginx)
}
