//! Long prompts that come while streams run: 1 MB of JSON, charged by use, one after another.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::shop::{Used, chat};
use crate::bench::http::Connection;
use crate::bench::open_loop::{self, Answer, Answers, Schedule};
use crate::bench::traffic::Traffic;

/// Prompts a second.
const RATE: u32 = 8;
/// Bytes of a prompt.
const BYTES: usize = 1_000_000;
/// A line of it: text has ends of lines, which JSON escapes.
const LINE: &str = r"The quick brown fox jumps over the lazy dog, and the dog does not mind.\n";

/// Sends one prompt after another to `to` until `end_at`.
pub(super) fn send(to: SocketAddr, prompt: &Traffic, end_at: Instant) -> Result<Answers> {
    let schedule = Schedule {
        to,
        first_at: Instant::now(),
        last_by: end_at,
        interval: Duration::from_secs(1) / RATE,
    };
    open_loop::drive(schedule, prompt, 0, ask)
}

fn ask(connection: &mut Connection, request: &[u8], began_at: Instant) -> io::Result<Answer> {
    let head = connection.exchange(request)?;
    let latency = began_at.elapsed().into();
    let answer: Value = serde_json::from_slice(connection.body(&head))?;
    let used = Used::read(&answer["usage"]).filter(|_| head.status == 200);
    Ok(Answer {
        latency,
        is_good: used.is_some(),
        closes: head.closes,
        owed: used.map_or(0, Used::cost),
    })
}

/// The request for a whole answer to a long prompt.
pub(super) fn request(place: &str, key: &str) -> Vec<u8> {
    let text = LINE.repeat(BYTES / LINE.len());
    let body = format!(
        r#"{{"model":"bench","max_tokens":400,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    );
    chat(place, key, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metered::shop::PACED;
    use crate::bench::metered::upstream::Upstream;

    #[test]
    fn prompts_come_at_their_pace_and_are_owed_by_their_usage() {
        let upstream = Upstream::start().unwrap();
        let prompt = Traffic::same(request(PACED, ""));
        let end_at = Instant::now() + Duration::from_millis(200);
        let answers = send(upstream.address, &prompt, end_at).unwrap();
        assert_eq!((answers.good, answers.bad), (2, 0));
        let used = Used {
            prompt: 250_000,
            completion: 200,
        };
        assert!(
            answers.owed.abs_diff(2 * used.cost()) < 200,
            "{}",
            answers.owed
        );
    }
}
