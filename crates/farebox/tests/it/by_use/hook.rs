//! A seller's program that says prices, in the hands of a test.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits before it is a failure.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// What it says to one question.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// 200 with this.
    Json(String),
    /// This status, whatever stands in the body.
    Status(u16),
    /// Nothing, for as long as anybody waits.
    Silence,
    /// More than anybody should read.
    Endless,
}

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) signature: String,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
struct State {
    quote: Mutex<Option<Answer>>,
    settle: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Question>>,
    grown: Condvar,
}

/// The program. Its thread ends with the test's process.
#[derive(Debug)]
pub(crate) struct Hook {
    address: SocketAddr,
    state: Arc<State>,
}

impl Question {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Hook {
    /// One that quotes `quote` and settles with `settle`, the last of them again and again.
    pub(crate) fn start(quote: &str, settle: &[Answer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        *state.quote.lock().unwrap() = Some(Answer::Json(quote.to_owned()));
        state.settle.lock().unwrap().extend(settle.iter().cloned());
        let seen = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&seen);
                std::thread::spawn(move || drop(serve(&stream.unwrap(), &state)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/price", self.address)
    }

    /// From now on it quotes this.
    pub(crate) fn quote(&self, answer: Answer) {
        *self.state.quote.lock().unwrap() = Some(answer);
    }

    /// The questions of this event so far.
    pub(crate) fn asked(&self, event: &str) -> Vec<Question> {
        let asked = self.state.asked.lock().unwrap();
        let of_event = asked
            .iter()
            .filter(|question| question.json()["event"] == event);
        of_event.cloned().collect()
    }

    /// Waits until it has been asked so often.
    #[track_caller]
    pub(crate) fn wait_for(&self, event: &str, count: usize) {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while self.asked(event).len() < count {
            assert!(Instant::now() < give_up_at, "not asked {count} times");
            let asked = self.state.asked.lock().unwrap();
            let waited = self
                .state
                .grown
                .wait_timeout(asked, Duration::from_millis(10));
            drop(waited.unwrap());
        }
    }
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut signature) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "farebox-signature" => value.trim().clone_into(&mut signature),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let question = Question {
        signature,
        text: String::from_utf8(body).unwrap(),
    };
    let is_quote = question.json()["event"] == "quote";
    state.asked.lock().unwrap().push(question);
    state.grown.notify_all();
    let answer = if is_quote {
        state.quote.lock().unwrap().clone()
    } else {
        let mut answers = state.settle.lock().unwrap();
        let next = answers.front().cloned();
        if answers.len() > 1 {
            answers.pop_front();
        }
        next
    };
    say(stream, answer.unwrap_or(Answer::Status(500)))
}

fn say(mut stream: &TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Json(text) => write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{text}",
            text.len()
        ),
        Answer::Status(status) => write!(
            stream,
            "HTTP/1.1 {status} So\r\nContent-Length: 18\r\nConnection: close\r\n\r\n\
             {{\"price_msat\": 1 }}"
        ),
        Answer::Silence => {
            let mut end = [0];
            stream.read(&mut end).map(drop)
        }
        Answer::Endless => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"refuse\": \""
            )?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
    }
}
