//! A stream of events out of an answer in chunked transfer coding, as fast as a generator needs it.

use std::io;

use serde_json::Value;

use super::shop::Used;

const NEXT_LINE: &[u8] = b"\r\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const END_OF_EVENT: &[u8] = b"\n\n";
const CONTENT: &[u8] = b"\"content\":\"";
const USAGE: &[u8] = b"\"usage\":{";
/// A head, a line or an event is never longer than this.
const MAX_BYTES: usize = 64 * 1024;

/// What one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part of the answer, with what the upstream wrote into it.
    Content {
        /// Its place in the answer, from 0 on.
        number: u32,
        /// When it was sent, in nanoseconds by the upstream's clock.
        sent_at: u64,
    },
    /// What the answer used, and what the gateway says that it costs.
    Usage { used: Used, told: Option<u64> },
    /// `[DONE]`.
    Done,
    /// Anything else: the role, the reason why it ended.
    Other,
}

/// One answer while it comes.
#[derive(Debug, Default)]
pub(super) struct Answer {
    raw: Vec<u8>,
    text: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// Before the length of a chunk.
    Length,
    /// In a chunk of which so much is to come, the end of its line included.
    Chunk(usize),
    /// Behind the last chunk.
    Over,
}

impl Answer {
    /// Takes in what came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw.extend_from_slice(bytes);
        while self.step()? {}
        if self.raw.len() + self.text.len() > MAX_BYTES {
            return Err(invalid("an event that does not end"));
        }
        Ok(())
    }

    /// Whether the answer has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// The next event of what came so far.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let end = find(&self.text, END_OF_EVENT)?;
        let event = read_event(&self.text[..end]);
        self.text.drain(..end + END_OF_EVENT.len());
        Some(event)
    }

    /// Goes one step on; answers whether there was something to go on with.
    fn step(&mut self) -> io::Result<bool> {
        match self.place {
            Place::Head => self.read_head(),
            Place::Length => self.read_length(),
            Place::Chunk(left) => Ok(self.read_chunk(left)),
            Place::Over => Ok(false),
        }
    }

    fn read_head(&mut self) -> io::Result<bool> {
        let Some(end) = find(&self.raw, END_OF_HEAD) else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.raw[..end]).to_ascii_lowercase();
        if head.get(9..12) != Some("200") {
            let status = head.lines().next().unwrap_or_default();
            return Err(invalid(status));
        }
        if !head.contains("transfer-encoding: chunked") {
            return Err(invalid("a stream that is no stream"));
        }
        self.raw.drain(..end + END_OF_HEAD.len());
        self.place = Place::Length;
        Ok(true)
    }

    fn read_length(&mut self) -> io::Result<bool> {
        let Some(end) = find(&self.raw, NEXT_LINE) else {
            return Ok(false);
        };
        let line = std::str::from_utf8(&self.raw[..end]).ok();
        let length = line.and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
        let length = length.ok_or_else(|| invalid("length of a chunk"))?;
        if length == 0 && self.raw.len() < end + 2 * NEXT_LINE.len() {
            return Ok(false);
        }
        self.raw.drain(..end + NEXT_LINE.len());
        self.place = match length {
            0 => Place::Over,
            length => Place::Chunk(length + NEXT_LINE.len()),
        };
        Ok(true)
    }

    fn read_chunk(&mut self, left: usize) -> bool {
        let taken = left.min(self.raw.len());
        let content = left.saturating_sub(NEXT_LINE.len()).min(taken);
        self.text.extend_from_slice(&self.raw[..content]);
        self.raw.drain(..taken);
        self.place = match left - taken {
            0 => Place::Length,
            left => Place::Chunk(left),
        };
        taken > 0
    }
}

fn read_event(event: &[u8]) -> Event {
    let Some(data) = event.strip_prefix(b"data: ") else {
        return Event::Other;
    };
    if data == b"[DONE]" {
        return Event::Done;
    }
    if find(data, USAGE).is_some() {
        return read_usage(data).unwrap_or(Event::Other);
    }
    let content = find(data, CONTENT).map(|at| &data[at + CONTENT.len()..]);
    content.and_then(read_content).unwrap_or(Event::Other)
}

fn read_usage(data: &[u8]) -> Option<Event> {
    let chunk: Value = serde_json::from_slice(data).ok()?;
    let used = Used::read(&chunk["usage"])?;
    let told = chunk["usage"]["cost_msat"].as_u64();
    Some(Event::Usage { used, told })
}

/// Two numbers, each with a space behind it.
fn read_content(content: &[u8]) -> Option<Event> {
    let mut words = content.split(|byte| *byte == b' ');
    let mut number = || -> Option<u64> { std::str::from_utf8(words.next()?).ok()?.parse().ok() };
    let (number, sent_at) = (number()?.try_into().ok()?, number()?);
    Some(Event::Content { number, sent_at })
}

/// Where `wanted` begins in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn chunked(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let usage = r#"{"usage":{"prompt_tokens":4,"completion_tokens":2,"cost_msat":8}}"#;
        let events = [
            "data: {\"delta\":{\"content\":\"\"}}\n\ndata: {\"delta\":{\"content\":\"5 77 \"}}\n\n",
            &format!("data: {usage}\n\ndata: [DO"),
            "NE]\n\n",
        ];
        let whole = [HEAD, &events.map(chunked).concat(), "0\r\n\r\n"].concat();
        let used = Used {
            prompt: 4,
            completion: 2,
        };
        let expected = [
            Event::Other,
            Event::Content {
                number: 5,
                sent_at: 77,
            },
            Event::Usage {
                used,
                told: Some(8),
            },
            Event::Done,
        ];
        for piece in [1, 7, whole.len()] {
            let (mut answer, mut seen) = (Answer::default(), Vec::new());
            for bytes in whole.as_bytes().chunks(piece) {
                answer.push(bytes).unwrap();
                seen.extend(std::iter::from_fn(|| answer.next_event()));
            }
            assert_eq!(seen, expected, "in pieces of {piece}");
            assert!(answer.is_over());
        }
    }

    #[test]
    fn another_answer_is_an_error() {
        let refused = b"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n\r\n";
        assert!(Answer::default().push(refused).is_err());
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(Answer::default().push(whole).is_err());
    }
}
