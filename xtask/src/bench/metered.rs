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

use self::shop::{PACED, PACED_FREE, WHOLE};
use self::upstream::Upstream;
use super::books::Books;
use super::farebox::{Gateway, Stage};
use super::nginx::Nginx;
use super::options::Options;
use super::proc::Running;
use super::report::Report;
use super::traffic::Traffic;

/// The run has so many of the other parts' rounds: its turns are many.
const ROUNDS_IN: u32 = 3;

/// What pays for what is free.
const NO_KEY: &[String] = &[String::new()];

/// Everybody who takes part.
struct Cast {
    upstream: Upstream,
    nginx: Nginx,
    gateway: Gateway,
    /// Prepaid ones that take turns, so that no single account is the bottleneck.
    keys: Vec<String>,
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
    let (cast, mut books) = (Cast::assemble(stage, options)?, Books::of(&[PACED, WHOLE]));
    first_byte::measure(&cast, options, &mut books, report)?;
    books.check("first bytes", &cast.gateway, report)?;
    for scenario in &streams::SCENARIOS {
        streams::measure(scenario, &cast, options, &mut books, report)?;
        books.check(scenario.name, &cast.gateway, report)?;
    }
    whole::measure(&cast, options, &mut books, report)?;
    books.check("whole answers", &cast.gateway, report)?;
    cast.gateway.stop_and_verify(report)
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
    let cast = Cast::assemble(stage, options)?;
    match name {
        "whole" => whole::load(&cast, options, report),
        _ => streams::load(&cast, options, report),
    }
}

/// How many rounds this part has.
fn rounds_of(options: &Options) -> u32 {
    options.rounds.div_ceil(ROUNDS_IN)
}

impl Cast {
    fn assemble(stage: &Stage<'_>, options: &Options) -> Result<Self> {
        let upstream = Upstream::start()?;
        let places = [("/", stage.upstream), (PACED, upstream.address)];
        let nginx = Nginx::unbuffered(&stage.folder.join("metered-nginx"), &places, options)?;
        let (gateway, keys) = shop::open(stage, upstream.address)?;
        Ok(Self {
            upstream,
            nginx,
            gateway,
            keys,
        })
    }

    fn address(&self, way: Way) -> SocketAddr {
        match way {
            Way::Direct => self.upstream.address,
            Way::Nginx => self.nginx.address,
            Way::Free | Way::Metered => self.gateway.address,
        }
    }

    /// Whose CPU and memory a stream takes; the direct way takes nobody's.
    fn process(&self, way: Way) -> Option<&Running> {
        match way {
            Way::Direct => None,
            Way::Nginx => Some(&self.nginx.running),
            Way::Free | Way::Metered => Some(&self.gateway.running),
        }
    }

    /// What pays on this way: nothing, or the keys.
    fn keys(&self, way: Way) -> &[String] {
        match way {
            Way::Metered => &self.keys,
            Way::Direct | Way::Nginx | Way::Free => NO_KEY,
        }
    }

    /// Requests for streams of so many chunks, one for each of the keys.
    fn stream_traffic(&self, way: Way, chunks: u32) -> Arc<Traffic> {
        let request = |key: &String| shop::stream_request(way.place(), key, chunks);
        let requests = self.keys(way).iter().map(request);
        Arc::new(Traffic::Repeated(requests.collect()))
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
            Self::Free => PACED_FREE,
            Self::Direct | Self::Nginx | Self::Metered => PACED,
        }
    }
}
