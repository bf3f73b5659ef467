//! What challenges cost with a real LND behind them, and whether people who have paid notice a
//! flood of people who have not.
//!
//! The same is measured with the mock node, so that the node's share can be told. The gateway has
//! cores of its own; the node, the generators and the upstream share the others.

mod challenges;
mod cores;
mod holders;

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::{Lab, Node};

use self::cores::Cores;
use super::farebox::{Gateway, Shape, Stage};
use super::nginx::Nginx;
use super::options::Options;
use super::report::Report;
use crate::lab::Preparing;

/// The limit on challenges for all clients together, as it is by default.
const DEFAULT_LIMIT: &str = "100/1s";
/// No limit at all, for measuring what a challenge costs.
const NO_LIMIT: &str = "1000000/1s";

/// Both kinds of node that a gateway is measured with.
struct Nodes<'a> {
    lab: &'a Lab,
    cores: &'a Cores,
}

/// A gateway and the node behind it.
struct Pair<'a> {
    name: &'static str,
    gateway: Gateway,
    /// Its CPU is not the gateway's; none for the mock node, which lives inside.
    node: Option<&'a Node>,
    /// Who pays what is bought here; the mock node pays itself.
    payer: Option<&'a Node>,
}

pub(crate) fn measure(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let up = Preparing::start().finish()?;
    let Ok(_up) = up.map_err(|reason| report.progress(&reason)) else {
        bail!("no real Lightning nodes")
    };
    let lab = Lab::find()?.context("the lab is up and cannot be found")?;
    let _alone = lab.take()?;
    let cores = Cores::split(&lab)?;
    report.progress(&format!("real Lightning: {cores}"));
    let upstream = Nginx::mock(&stage.folder.join("lightning"))?;
    let stage = Stage {
        upstream: upstream.address,
        ..*stage
    };
    let nodes = Nodes {
        lab: &lab,
        cores: &cores,
    };
    challenges::measure(&stage, &nodes, options, report)?;
    holders::measure(&stage, &nodes, options, report)
}

impl<'a> Nodes<'a> {
    /// One gateway for each kind of node, with this limit on challenges.
    fn pairs(&self, stage: &Stage<'_>, part: &str, limit: &str) -> Result<[Pair<'a>; 2]> {
        let alice = self.lab.alice();
        let start = |name: &str, lightning: String| {
            let shape = Shape {
                lightning,
                challenges: limit.to_owned(),
                core: Some(self.cores.gateway()),
                ..Shape::default()
            };
            stage.start_as(&format!("{part}-{name}"), &shape)
        };
        let pair = |name, gateway, node, payer| Pair {
            name,
            gateway,
            node,
            payer,
        };
        let mock = start("mock", Shape::default().lightning)?;
        let real = start("lnd", lightning(alice))?;
        let bob = self.lab.bob();
        Ok([
            pair("mock", mock, None, None),
            pair("LND", real, Some(alice), Some(bob)),
        ])
    }
}

/// The lines of `[lightning]` for a node, with the macaroon that LND makes for receiving.
fn lightning(node: &Node) -> String {
    format!(
        "backend = \"lnd\"\nnetwork = \"regtest\"\nurl = \"{}\"\n\
         macaroon = {{ file = \"{}\" }}\ntls_cert = \"{}\"",
        node.rest,
        node.macaroons.invoice.display(),
        node.cert.display()
    )
}

impl Pair<'_> {
    fn buy(&self, path: &str) -> Result<String> {
        match self.payer {
            None => self.gateway.buy(path),
            Some(payer) => self
                .gateway
                .buy_with(path, |invoice| Ok(payer.pay(invoice)?.preimage)),
        }
    }

    /// The node's process, where it has one of its own.
    fn node_process(&self) -> Result<Option<u32>> {
        let Some(node) = self.node else {
            return Ok(None);
        };
        let process = node.daemon.process().context("the node has ended")?;
        Ok(Some(u32::try_from(process)?))
    }
}
