//! The gateway that sells by use, its customers' keys, and what they ask it for.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::farebox::{Gateway, Shape, Stage};
use crate::bench::http::request;

/// Streams of our own upstream, sold by use, and for nothing.
pub(super) const PACED: &str = "/paced";
pub(super) const PACED_FREE: &str = "/paced-free";
/// Whole answers of nginx, sold by use.
pub(super) const WHOLE: &str = "/whole";
pub(super) const CHAT: &str = "/v1/chat/completions";

/// msat for a token read, and for one written.
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
/// How many keys there are.
const KEYS: usize = 64;
/// What is on each.
const DEPOSIT: u64 = 1_000_000_000;
/// Bytes of the request's body, whatever it asks for.
const BODY_BYTES: usize = 1_024;

/// What one answer says that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

impl Used {
    /// What it costs, by the prices in the configuration, which are whole msat a token.
    pub(super) const fn cost(self) -> u64 {
        self.prompt * INPUT + self.completion * OUTPUT
    }

    /// From the `usage` of an answer or of a chunk.
    pub(super) fn read(usage: &Value) -> Option<Self> {
        Some(Self {
            prompt: usage["prompt_tokens"].as_u64()?,
            completion: usage["completion_tokens"].as_u64()?,
        })
    }
}

/// A gateway that sells by use, and keys with a deposit.
pub(super) fn open(stage: &Stage<'_>, paced: SocketAddr) -> Result<(Gateway, Vec<String>)> {
    let shape = Shape {
        sections: sections(paced, stage.upstream),
        ..Shape::default()
    };
    let gateway = stage.start_as("metered", &shape)?;
    let keys = (0..KEYS).map(|_| gateway.buy_key(DEPOSIT));
    let keys = keys.collect::<Result<_>>().context("buying keys")?;
    Ok((gateway, keys))
}

fn sections(paced: SocketAddr, whole: SocketAddr) -> String {
    let mut text = format!(
        "[[model]]\nname = \"bench\"\ncurrency = \"msat\"\nper = \"unit\"\n\
         input = \"{INPUT}\"\noutput = \"{OUTPUT}\"\n\
         context_tokens = 2000000\nmax_output_tokens = 100000\n"
    );
    let by_use = "{ model_tokens = {} }";
    for (path, upstream, price) in [
        (PACED, paced, by_use),
        (PACED_FREE, paced, "\"free\""),
        (WHOLE, whole, by_use),
    ] {
        let name = &path[1..];
        text += &format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\n\
             upstream = \"http://{upstream}\"\nprice = {price}\n"
        );
    }
    text
}

/// A request for a stream of so many chunks, with its usage at the end; without a key where there
/// is none.
pub(super) fn stream_request(place: &str, key: &str, chunks: u32) -> Vec<u8> {
    let more = r#","stream":true,"stream_options":{"include_usage":true}"#;
    chat(place, key, &body(chunks, more))
}

/// A request for a whole answer.
pub(super) fn whole_request(place: &str, key: &str) -> Vec<u8> {
    chat(place, key, &body(1_000, ""))
}

pub(super) fn chat(place: &str, key: &str, body: &str) -> Vec<u8> {
    let path = format!("{place}{CHAT}");
    let authorization = [("Authorization", key)];
    let fields: &[(&str, &str)] = if key.is_empty() { &[] } else { &authorization };
    request("POST", &path, fields, body)
}

/// What decides about the answer comes first, where the upstream looks for it.
fn body(max_tokens: u32, more: &str) -> String {
    let start = format!(
        r#"{{"model":"bench","max_tokens":{max_tokens}{more},"messages":[{{"role":"user","content":""#
    );
    let end = r#""}]}"#;
    let text = "x".repeat(BODY_BYTES.saturating_sub(start.len() + end.len()));
    format!("{start}{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_one_length() {
        for body in [body(7, ""), body(99, r#","stream":true"#)] {
            assert_eq!(body.len(), BODY_BYTES);
            let read: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["model"], "bench");
        }
    }

    #[test]
    fn usage_that_is_not_told_costs_nothing_that_could_be_known() {
        let usage = serde_json::json!({ "prompt_tokens": 10, "completion_tokens": 3 });
        assert_eq!(Used::read(&usage).unwrap().cost(), 10 * INPUT + 3 * OUTPUT);
        assert_eq!(Used::read(&Value::Null), None);
    }
}
