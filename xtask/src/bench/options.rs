//! How long and how much to measure.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Connections that stay open, or send slowly, at one time.
pub(crate) const CROWD: usize = 10_000;

pub(crate) const USAGE: &str = "\
cargo xtask bench [--quick] [--json FILE] [--only PART,…] [--rounds N] [--seconds N]
                  [--nginx-default-log] [--binary FILE] [--connections N]
                  [--load TARGET]
  --quick              a short run, to see that everything works; its figures mean little
  --json FILE          write what was measured there as well
  --only PART,…        start, throughput, latency, metered, memory, flood; or lightning, which is
                       no part of a whole run, because it needs real nodes (cargo xtask lab)
  --rounds N           rounds in which nginx and Farebox are measured back to back
  --seconds N          length of one measurement
  --nginx-default-log  nginx writes each log line by itself instead of buffering like Farebox
  --binary FILE        measure this binary instead of building one
  --connections N      of the closed loop
  --load TARGET        only keep one target busy, for a profiler: plain, pass, debit, fresh, short,
                       whole, stream";

/// One part of the run, for `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Throughput,
    Latency,
    Metered,
    Memory,
    Flood,
    Lightning,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: Option<PathBuf>,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) nginx_default_log: bool,
    /// The one target to keep busy, instead of everything else.
    pub(crate) load: Option<String>,
    /// Rounds in which every target has its turn.
    pub(crate) rounds: u32,
    /// How long one target's turn takes.
    pub(crate) turn: Duration,
    /// Connections of the closed loop.
    pub(crate) connections: usize,
    pub(crate) starts: u32,
    /// Requests per second of the open loop.
    pub(crate) rate: u32,
    /// Unpaid requests of the memory scenario.
    pub(crate) strangers: u64,
    /// Connections of the other memory scenarios.
    pub(crate) crowd: usize,
    /// How long idle connections are watched.
    pub(crate) idle: Duration,
    /// How long each slow body takes.
    pub(crate) slow: Duration,
    only: Vec<Part>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = if quick { Self::quick() } else { Self::full() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--quick" => (),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--load" => options.load = Some(value()?.clone()),
                "--nginx-default-log" => options.nginx_default_log = true,
                "--rounds" => options.rounds = value()?.parse::<u32>()?.max(1),
                "--connections" => options.connections = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.turn = Duration::from_secs(value()?.parse::<u64>()?.max(1)),
                "--only" => options.only = parts(value()?)?,
                _ => bail!("unknown argument {argument:?}\n{USAGE}"),
            }
        }
        Ok(options)
    }

    /// Whether a part is asked for.
    pub(crate) fn runs(&self, part: Part) -> bool {
        let is_whole_run = self.only.is_empty() && part != Part::Lightning;
        is_whole_run || self.only.contains(&part)
    }

    fn full() -> Self {
        Self {
            json: None,
            binary: None,
            nginx_default_log: false,
            load: None,
            rounds: 8,
            turn: Duration::from_secs(5),
            connections: 64,
            starts: 9,
            rate: 3_000,
            strangers: 1_000_000,
            crowd: CROWD,
            idle: Duration::from_secs(30),
            slow: Duration::from_secs(50),
            only: Vec::new(),
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 2,
            turn: Duration::from_secs(1),
            starts: 3,
            rate: 1_000,
            strangers: 50_000,
            crowd: 1_000,
            idle: Duration::from_secs(3),
            slow: Duration::from_secs(10),
            ..Self::full()
        }
    }
}

fn parts(list: &str) -> Result<Vec<Part>> {
    let part = |name: &str| match name {
        "start" => Ok(Part::Start),
        "throughput" => Ok(Part::Throughput),
        "latency" => Ok(Part::Latency),
        "metered" => Ok(Part::Metered),
        "memory" => Ok(Part::Memory),
        "flood" => Ok(Part::Flood),
        "lightning" => Ok(Part::Lightning),
        _ => bail!("no part {name:?}\n{USAGE}"),
    };
    list.split(',').map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        Options::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_later_option_refines_a_quick_run() {
        let options = parsed("--rounds 7 --quick --only start,memory").unwrap();
        assert_eq!((options.rounds, options.crowd), (7, 1_000));
        assert!(options.runs(Part::Memory) && !options.runs(Part::Latency));
        assert!(!parsed("").unwrap().runs(Part::Lightning));
        assert!(parsed("--only lightning").unwrap().runs(Part::Lightning));
    }

    #[test]
    fn a_misspelt_option_is_refused() {
        assert!(parsed("--quik").is_err());
        assert!(parsed("--only everything").is_err());
        assert!(parsed("--json").is_err());
    }
}
