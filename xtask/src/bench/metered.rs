//! What it costs to charge a model's call by what it uses: streams and whole answers, next to the
//! same answers for nothing and through nginx.
//!
//! The streams come from an upstream of our own that numbers and dates every chunk, so that a chunk
//! that is late, lost, repeated or out of order is told from one that was never sent. After each
//! run the ledger has to have what the answers said was used, to the msat.

mod client;
mod first_byte;
mod prompts;
mod shop;
mod sse;
mod streams;
mod upstream;
mod whole;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use self::shop::Shop;
use self::upstream::Upstream;
use super::farebox::Stage;
use super::nginx::Nginx;
use super::options::Options;
use super::proc::Running;
use super::report::Report;
use super::traffic::Traffic;

/// The run has so many of the other parts' rounds: its turns are many.
const ROUNDS_IN: u32 = 3;

/// Everybody who takes part.
struct Cast {
    upstream: Upstream,
    nginx: Nginx,
    shop: Shop,
}

/// Where the same streams can be had.
struct Target {
    name: &'static str,
    to: SocketAddr,
    way: Way,
}

/// How a stream gets to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Nginx,
    Free,
    Metered,
}

pub(super) fn measure(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let mut cast = Cast::assemble(stage, options)?;
    first_byte::measure(&mut cast, options, report)?;
    for scenario in &streams::SCENARIOS {
        streams::measure(scenario, &mut cast, options, report)?;
    }
    whole::measure(&mut cast, options, report)?;
    cast.shop.gateway.stop_and_verify(report)
}

/// Whether `--load` can keep this one busy here.
pub(super) fn is_load(name: &str) -> bool {
    matches!(name, "whole" | "stream")
}

/// Keeps one target busy so that a profiler has something to see.
pub(super) fn load(
    name: &str,
    stage: &Stage<'_>,
    options: &Options,
    report: &Report,
) -> Result<()> {
    let mut cast = Cast::assemble(stage, options)?;
    let pid = cast.shop.gateway.running.pid();
    report.progress(&format!("perf record -F 999 -g -p {pid} -- sleep 10"));
    match name {
        "whole" => whole::load(&mut cast, options, report),
        _ => streams::load(&mut cast, options, report),
    }
}

/// How many rounds this part has.
fn rounds(options: &Options) -> u32 {
    options.rounds.div_ceil(ROUNDS_IN)
}

/// The indices of `targets`, back and forth, so that a machine that grows slower or faster favours
/// nobody.
fn order(round: u32, targets: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..targets).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Cast {
    fn assemble(stage: &Stage<'_>, options: &Options) -> Result<Self> {
        let upstream = Upstream::start()?;
        let places = [("/", stage.upstream), (shop::PACED, upstream.address)];
        let nginx = Nginx::unbuffered(&stage.folder.join("metered-nginx"), &places, options)?;
        let shop = Shop::open(stage, upstream.address)?;
        Ok(Self {
            upstream,
            nginx,
            shop,
        })
    }

    fn targets(&self, ways: &[Way]) -> Vec<Target> {
        let target = |way: &Way| Target {
            name: way.name(),
            to: match way {
                Way::Direct => self.upstream.address,
                Way::Nginx => self.nginx.address,
                Way::Free | Way::Metered => self.shop.gateway.address,
            },
            way: *way,
        };
        ways.iter().map(target).collect()
    }

    /// Whose CPU and memory a target takes; the direct way takes nobody's.
    fn process(&self, way: Way) -> Option<&Running> {
        match way {
            Way::Direct => None,
            Way::Nginx => Some(&self.nginx.running),
            Way::Free | Way::Metered => Some(&self.shop.gateway.running),
        }
    }

    /// Requests for streams of so many chunks, one for each of the keys.
    fn stream_traffic(&self, way: Way, chunks: u32) -> Arc<Traffic> {
        let keys: &[String] = match way {
            Way::Metered => &self.shop.keys,
            Way::Direct | Way::Nginx | Way::Free => &[String::new()],
        };
        let request = |key: &String| shop::stream_request(way.place(), key, chunks);
        Arc::new(Traffic::Repeated(keys.iter().map(request).collect()))
    }
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Free => "plain route",
            Self::Metered => "metered",
        }
    }

    const fn place(self) -> &'static str {
        match self {
            Self::Free => shop::PACED_FREE,
            Self::Direct | Self::Nginx | Self::Metered => shop::PACED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_goes_the_other_way() {
        assert_eq!(order(0, 3), [0, 1, 2]);
        assert_eq!(order(1, 3), [2, 1, 0]);
    }
}
