//! What buyers notice of a flood: their p99 while attackers take all that they can, beside the same
//! without.
//!
//! The attackers come from few address prefixes, as a proxy in front of the gateway tells it, and ask
//! at a fixed pace: what is measured is whether they take what others need, not how fast a machine is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use super::books::Books;
use super::farebox::{DEBIT, SINGLE, Stage};
use super::http::{Connection, request};
use super::open_loop::{self, Answers, Pace};
use super::options::Options;
use super::report::Report;
use super::rounds::{self, Course};
use super::throughput::{DEBIT_PRICE, paid};
use super::traffic::{Traffic, chat, stranger};
use super::units::{Ratio, thousands};

/// Requests of buyers a second, and on how many connections.
const BUYERS: (u32, u32) = (500, 16);
/// The same of attackers.
const ATTACKERS: (u32, u32) = (500, 16);
/// Connections that wait with half of a body, or with nothing.
const IDLERS: u32 = 64;
/// Address prefixes of attackers.
const NETWORKS: u32 = 8;
/// What a flood may make of the p99 of buyers.
const AT_MOST: Ratio = Ratio(2_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    Flood,
}

pub(crate) fn measure(stage: &Stage<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let gateway = stage.start("flood")?;
    let (rate, connections) = BUYERS;
    let balances = gateway.buy_many(DEBIT, usize::try_from(connections)?)?;
    let traffic = Arc::new(paid(DEBIT, &balances));
    let mut books = Books::of(&[DEBIT]);
    let mut courses = [
        Course::new("calm", Weather::Calm),
        Course::new("in a flood", Weather::Flood),
    ];
    let turn = |weather: &Weather, _| {
        let pace = Pace {
            to: gateway.address,
            rate,
            connections,
            length: options.turn,
        };
        let flood = match weather {
            Weather::Calm => None,
            Weather::Flood => Some(Flood::begin(pace)?),
        };
        let answers = open_loop::run(pace, &traffic, open_loop::whole(200))?;
        books.add(DEBIT, answers.good * DEBIT_PRICE);
        flood.map_or(Ok(()), Flood::end)?;
        Ok(answers.turn())
    };
    let title = format!("buyers, {}/s", thousands(u64::from(rate)));
    rounds::run(&title, options.rounds, &mut courses, report, turn)?;
    open_loop::tell(&title, &courses, 1, report);
    let [calm, flooded] = &courses;
    let ratio = flooded.ratio(calm, |turn| turn.latency.p99.0);
    report.demand_at_most("p99 of buyers in a flood, in parts of calm", ratio, AT_MOST);
    books.check("the flood", &gateway, report)?;
    gateway.stop_and_verify(report)
}

/// Attackers at work.
struct Flood {
    _idlers: Vec<Connection>,
    asking: JoinHandle<Result<Answers>>,
}

impl Flood {
    fn begin(buyers: Pace) -> Result<Self> {
        let (rate, connections) = ATTACKERS;
        let pace = Pace {
            rate,
            connections,
            ..buyers
        };
        let idlers = (0..IDLERS).map(|number| idler(buyers.to, number));
        let idlers = idlers.collect::<Result<_>>()?;
        let traffic = Arc::new(Traffic::Repeated((0..connections).map(hostile).collect()));
        // Whatever is answered: what matters is what it keeps from others.
        let asking = move || open_loop::run(pace, &traffic, open_loop::whole(402));
        Ok(Self {
            _idlers: idlers,
            asking: std::thread::spawn(asking),
        })
    }

    fn end(self) -> Result<()> {
        match self.asking.join() {
            Ok(answers) => answers.map(drop),
            Err(_) => bail!("the attackers panicked"),
        }
    }
}

fn attacker(number: u32) -> String {
    stranger(number % NETWORKS).to_string()
}

/// A connection with half of a request on it, or with none.
fn idler(to: SocketAddr, number: u32) -> Result<Connection> {
    let mut connection = Connection::open(to).context("an attacker is not let in")?;
    if number.is_multiple_of(2) {
        let whole = chat(SINGLE, &[("X-Forwarded-For", &attacker(number))]);
        connection.send(&whole[..whole.len() / 2])?;
    }
    Ok(connection)
}

/// What one attacker asks again and again.
fn hostile(number: u32) -> Vec<u8> {
    let client = attacker(number);
    let from = ("X-Forwarded-For", client.as_str());
    let invented = format!("Bearer sk-farebox-{number:064x}");
    let keyed = [from, ("Authorization", invented.as_str())];
    match number % 4 {
        0 => chat(SINGLE, &[from]),
        1 => chat(DEBIT, &keyed),
        2 => request("GET", "/.farebox/keys/self", &keyed, ""),
        _ => request("POST", "/.farebox/keys", &[from], "{\"amount_msat\":1000}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attackers_ask_for_different_things_from_few_networks() {
        let mut asked: Vec<_> = (0..ATTACKERS.1).map(hostile).collect();
        asked.sort();
        asked.dedup();
        assert!(asked.len() > 4);
        let mut networks: Vec<_> = (0..100).map(attacker).collect();
        networks.sort();
        networks.dedup();
        assert_eq!(networks.len(), usize::try_from(NETWORKS).unwrap());
    }
}
