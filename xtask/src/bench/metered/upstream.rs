//! An upstream that streams by an absolute schedule: a chunk that was sent late does not make the
//! next one late. Every chunk has its number and the time at which it was sent in it.
//!
//! Requests are read by a thread for each connection, which sends the first event at once. All the
//! others are sent by one thread that does nothing else, so that none of them waits for a request
//! to be read. Both are part of the generator: their CPU counts for nobody.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Result;

/// A proxy that does not take a chunk for so long has broken the stream.
const WRITE_AT_MOST: Duration = Duration::from_secs(5);
/// Where in a body everything stands that decides about the answer.
const OPENING: usize = 256;
/// How many bytes of a prompt are reported as a token.
const BYTES_PER_TOKEN: usize = 4;
/// Between looks for new streams where none is running.
const IDLE: Duration = Duration::from_secs(1);
const CHUNK: &str = r#""object":"chat.completion.chunk","created":1763700000,"model":"bench""#;

/// The upstream, as long as the process lives.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    interval: Arc<AtomicU64>,
}

/// The one clock by which chunks are sent and received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

/// One stream under way.
struct Stream {
    socket: TcpStream,
    due_at: Instant,
    interval: Duration,
    /// Chunks that were sent, and that there will be.
    sent: u32,
    count: u32,
    prompt: usize,
}

/// What a request asks for.
struct Wish {
    is_stream: bool,
    chunks: u32,
    length: usize,
}

impl Clock {
    /// Nanoseconds so far.
    pub(super) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let upstream = Self {
            address: listener.local_addr()?,
            clock: Clock(Instant::now()),
            interval: Arc::default(),
        };
        let (streams, due) = mpsc::channel();
        let (clock, interval) = (upstream.clock, Arc::clone(&upstream.interval));
        std::thread::spawn(move || pace(&due, clock));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (streams, interval) = (streams.clone(), Arc::clone(&interval));
                std::thread::spawn(move || drop(serve(&connection, &streams, &interval)));
            }
        });
        Ok(upstream)
    }

    /// How many chunks a second the streams have that begin from now on.
    pub(super) fn set_rate(&self, rate: u32) {
        let interval = Duration::from_secs(1) / rate.max(1);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.interval.store(nanos, Relaxed);
    }
}

/// Answers one connection until its peer closes it.
fn serve(socket: &TcpStream, streams: &Sender<Stream>, interval: &AtomicU64) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_AT_MOST))?;
    let (mut reader, mut writer) = (BufReader::new(socket), socket);
    let (mut line, mut body) = (String::new(), Vec::new());
    while let Some(wish) = read_request(&mut reader, &mut line, &mut body)? {
        if !wish.is_stream {
            writer.write_all(whole(wish.length).as_bytes())?;
            continue;
        }
        let begun_at = Instant::now();
        writer.write_all(beginning().as_bytes())?;
        let interval = Duration::from_nanos(interval.load(Relaxed));
        let stream = Stream {
            socket: socket.try_clone()?,
            due_at: begun_at + interval,
            interval,
            sent: 0,
            count: wish.chunks,
            prompt: wish.length,
        };
        if streams.send(stream).is_err() {
            break;
        }
    }
    Ok(())
}

fn read_request(
    reader: &mut impl BufRead,
    line: &mut String,
    body: &mut Vec<u8>,
) -> io::Result<Option<Wish>> {
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    body.resize(length, 0);
    reader.read_exact(body)?;
    let opening = String::from_utf8_lossy(&body[..length.min(OPENING)]);
    Ok(Some(Wish {
        is_stream: opening.contains("\"stream\":true"),
        chunks: number_after(&opening, "\"max_tokens\":").unwrap_or(0),
        length,
    }))
}

fn number_after(text: &str, name: &str) -> Option<u32> {
    let (_, rest) = text.split_once(name)?;
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Sends what is due, for all streams.
fn pace(new: &Receiver<Stream>, clock: Clock) {
    let mut streams = BinaryHeap::new();
    loop {
        let next = streams.peek().map(|Reverse(Due(stream))| stream.due_at);
        let wait = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        match new.recv_timeout(wait) {
            Ok(stream) => streams.push(Reverse(Due(stream))),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(mut first) = streams.peek_mut() {
            let Reverse(Due(stream)) = &mut *first;
            if stream.due_at > now {
                break;
            }
            // Moving on within the heap is cheaper than taking it out and putting it back.
            if !stream.go_on(clock) {
                std::collections::binary_heap::PeekMut::pop(first);
            }
        }
    }
}

impl Stream {
    /// Sends the next chunk, or the end; answers whether there is more to come. A stream that
    /// cannot be written to is over: the client will miss what it did not get.
    fn go_on(&mut self, clock: Clock) -> bool {
        self.due_at += self.interval;
        let is_last = self.sent == self.count;
        let text = if is_last {
            ending(self.prompt, self.count)
        } else {
            content(self.sent, clock.now())
        };
        self.sent += 1;
        self.socket.write_all(text.as_bytes()).is_ok() && !is_last
    }
}

/// A stream by when it is due.
struct Due(Stream);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.due_at.cmp(&other.0.due_at)
    }
}

fn chunked(event: &str) -> String {
    format!("{:x}\r\n{event}\r\n", event.len())
}

fn event(choices: &str) -> String {
    format!("data: {{\"id\":\"chatcmpl-bench\",{CHUNK},\"choices\":[{choices}]}}\n\n")
}

/// The head and the chunk that tells the role.
fn beginning() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let role = r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#;
    head.to_owned() + &chunked(&event(role))
}

fn content(number: u32, now: u64) -> String {
    let choice =
        format!(r#"{{"index":0,"delta":{{"content":"{number} {now} "}},"finish_reason":null}}"#);
    chunked(&event(&choice))
}

/// The reason, the usage, the end: three events, as providers send them, at one time.
fn ending(prompt: usize, completion: u32) -> String {
    let reason = event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#);
    let usage = format!(
        "data: {{\"id\":\"chatcmpl-bench\",{CHUNK},\"choices\":[],\"usage\":{}}}\n\n",
        usage(prompt, u64::from(completion))
    );
    [&reason, &usage, "data: [DONE]\n\n"].map(chunked).concat() + "0\r\n\r\n"
}

fn usage(prompt: usize, completion: u64) -> String {
    let prompt = u64::try_from(prompt.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
    let total = prompt.saturating_add(completion);
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#
    )
}

/// A whole answer of about 1 kB to a prompt of so many bytes.
fn whole(prompt: usize) -> String {
    let text = "y".repeat(800);
    let body = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{}}}"#,
        usage(prompt, 200)
    );
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_wants_at_its_beginning() {
        let body = r#"{"model":"bench","max_tokens":12,"stream":true,"messages":[]}"#;
        let text = format!(
            "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (mut line, mut read) = (String::new(), Vec::new());
        let mut bytes = text.as_bytes();
        let wish = read_request(&mut bytes, &mut line, &mut read)
            .unwrap()
            .unwrap();
        assert_eq!((wish.is_stream, wish.chunks), (true, 12));
        assert!(
            read_request(&mut bytes, &mut line, &mut read)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_whole_answer_is_about_a_kilobyte_of_json() {
        let answer = whole(40);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body_read: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body_read["usage"]["prompt_tokens"], 10);
        assert!((900..1_200).contains(&body.len()), "{}", body.len());
    }
}
