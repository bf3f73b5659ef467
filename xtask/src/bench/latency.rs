//! What a hop through nginx or Farebox adds at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use super::books::Books;
use super::farebox::{DEBIT, PASS, PLAIN};
use super::open_loop::{self, CONNECTIONS, Pace};
use super::options::Options;
use super::report::Report;
use super::rounds::{self, Course};
use super::throughput::{Cast, DEBIT_PRICE, paid};
use super::traffic::{Traffic, chat};
use super::units::thousands;

struct Target {
    to: SocketAddr,
    traffic: Arc<Traffic>,
    /// The route that earns so many msat with each answer.
    earns: Option<(&'static str, u64)>,
}

/// The upstream itself and nginx, to which the others are compared.
const BASES: usize = 2;

pub(crate) fn measure(
    cast: &Cast,
    upstream: SocketAddr,
    options: &Options,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    let course = |name, to, traffic| {
        let (traffic, earns) = (Arc::new(traffic), None);
        Course::new(name, Target { to, traffic, earns })
    };
    let (plain, gateway) = (|| Traffic::same(chat(PLAIN, &[])), cast.gateway.address);
    let mut courses = [
        course("direct", upstream, plain()),
        course("nginx", cast.nginx.address, plain()),
        course("plain route", gateway, plain()),
        course("L402, time-limited", gateway, paid(PASS, &cast.passes)),
        course("L402, durable debit", gateway, paid(DEBIT, &cast.balances)),
    ];
    let [.., durable] = &mut courses;
    durable.what.earns = Some((DEBIT, DEBIT_PRICE));
    let turn = |target: &Target, _| {
        let pace = Pace {
            to: target.to,
            rate: options.rate,
            connections: CONNECTIONS,
            length: options.turn,
        };
        let answers = open_loop::run(pace, &target.traffic, open_loop::whole(200))?;
        if let Some((route, msat)) = target.earns {
            books.add(route, answers.good * msat);
        }
        Ok(answers.turn())
    };
    let title = format!("open loop, {}/s", thousands(u64::from(options.rate)));
    rounds::run(&title, options.rounds, &mut courses, report, turn)?;
    open_loop::tell(&title, &courses, BASES, report);
    Ok(())
}
