//! Long prompts that come while streams run: 1 MB of JSON, charged by use, one after another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::shop::{Used, chat};
use crate::bench::http::Connection;
use crate::bench::open_loop::wait_until;

/// Prompts a second.
pub(super) const RATE: u32 = 8;
/// Bytes of a prompt.
const BYTES: usize = 1_000_000;
/// A line of it: text has ends of lines, which JSON escapes.
const LINE: &str = r"The quick brown fox jumps over the lazy dog, and the dog does not mind.\n";

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) good: u64,
    pub(super) bad: u64,
    /// What the good ones cost, in msat.
    pub(super) owed: u64,
}

/// Sends one prompt after another to `to` until `end_at`.
pub(super) fn send(to: SocketAddr, request: &[u8], end_at: Instant) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut connection = Connection::open(to)?;
    let mut due_at = Instant::now();
    while due_at < end_at {
        wait_until(due_at);
        match ask(&mut connection, request) {
            Some(used) => {
                answers.good += 1;
                answers.owed += used.cost();
            }
            None => {
                answers.bad += 1;
                connection = Connection::open(to)?;
            }
        }
        due_at += Duration::from_secs(1) / RATE;
    }
    Ok(answers)
}

fn ask(connection: &mut Connection, request: &[u8]) -> Option<Used> {
    let head = connection.exchange(request).ok()?;
    let answer: Value = serde_json::from_slice(connection.body(&head)).ok()?;
    Used::read(&answer["usage"]).filter(|_| head.status == 200)
}

/// The request for a whole answer to a long prompt.
pub(super) fn request(place: &str, key: &str) -> Vec<u8> {
    let text = LINE.repeat(BYTES / LINE.len());
    let body = format!(
        r#"{{"model":"bench","max_tokens":400,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    );
    chat(place, key, &body)
}
