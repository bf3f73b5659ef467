//! Requests as they come over HTTP: noted, spoilt where a test says so, done and answered.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::watch;

use super::desk::{Desk, read};
use super::fault::{Endpoint, Fault, Faults, Reply};
use super::lightning::{Payment, Terms};
use super::{MintOptions, Refusal};
use crate::background::{Answer, Cut};

/// How many bodies of requests are kept for each endpoint.
const MAX_RECORDED: usize = 20_000;
/// How long a test waits before it is a failure.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

type Payer = Box<dyn Fn(&str) -> Payment + Send + Sync>;

/// What a mint is over its restarts.
pub(super) struct State {
    pub(super) options: MintOptions,
    desk: Mutex<Desk>,
    faults: Mutex<Faults>,
    payer: Mutex<Arc<Payer>>,
    log: Mutex<Log>,
    grown: Condvar,
    /// Counts up each time when what is held is released.
    gate: watch::Sender<u64>,
}

#[derive(Default)]
struct Log {
    counts: HashMap<Endpoint, usize>,
    bodies: HashMap<Endpoint, Vec<Value>>,
    dleqs: usize,
}

struct Call {
    endpoint: Endpoint,
    /// What stands behind the endpoint in the path.
    behind: String,
    body: Bytes,
}

impl State {
    pub(super) fn new(options: MintOptions) -> Self {
        Self {
            desk: Mutex::new(Desk::new(&options)),
            options,
            faults: Mutex::default(),
            payer: Mutex::new(Arc::new(Box::new(|_| Payment::PAID))),
            log: Mutex::default(),
            grown: Condvar::new(),
            gate: watch::Sender::new(0),
        }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn set_payer(&self, payer: Payer) {
        *lock(&self.payer) = Arc::new(payer);
    }

    pub(super) fn release(&self) {
        self.gate.send_modify(|count| *count += 1);
    }

    pub(super) fn now(&self) -> u64 {
        self.options.clock.now().as_secs()
    }

    pub(super) fn count(&self, endpoint: Endpoint) -> usize {
        let log = lock(&self.log);
        log.counts.get(&endpoint).copied().unwrap_or_default()
    }

    pub(super) fn bodies(&self, endpoint: Endpoint) -> Vec<Value> {
        let log = lock(&self.log);
        log.bodies.get(&endpoint).cloned().unwrap_or_default()
    }

    pub(super) fn dleqs(&self) -> usize {
        lock(&self.log).dleqs
    }

    pub(super) fn wait_for(&self, endpoint: Endpoint, count: usize) {
        let few = |log: &mut Log| log.counts.get(&endpoint).is_none_or(|seen| *seen < count);
        let waited = self
            .grown
            .wait_timeout_while(lock(&self.log), WAIT_AT_MOST, few);
        drop(waited);
        let seen = self.count(endpoint);
        assert!(seen >= count, "{seen} of {count} requests of {endpoint:?}");
    }

    fn note(&self, call: &Call) {
        let mut log = lock(&self.log);
        *log.counts.entry(call.endpoint).or_default() += 1;
        let is_told = call.body.windows(6).any(|it| it == b"\"dleq\"");
        log.dleqs += usize::from(is_told);
        let bodies = log.bodies.entry(call.endpoint).or_default();
        if bodies.len() < MAX_RECORDED {
            bodies.push(serde_json::from_slice(&call.body).unwrap_or_default());
        }
        drop(log);
        self.grown.notify_all();
    }

    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        // Before it is noted: who waits for it and then releases it finds it held.
        let mut gate = self.gate.subscribe();
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        if head.method == Method::OPTIONS {
            return respond(204, "text/plain", String::new());
        }
        let asked = Endpoint::of(&head.method, head.uri.path());
        let Some((endpoint, behind)) = asked.filter(|(it, _)| self.desk().has(*it)) else {
            return respond(404, JSON, r#"{"detail":"Not Found"}"#.to_owned());
        };
        let call = Call {
            endpoint,
            behind,
            body,
        };
        let fault = self.faults().take(endpoint);
        self.note(&call);
        match fault {
            // What decides about payments may take its time, and goes on without the client.
            None if endpoint == Endpoint::Melt => {
                let done = tokio::task::spawn_blocking(move || self.perform(&call));
                told(done.await.map_err(|_| Cut)?)
            }
            None => told(self.perform(&call)),
            Some(Fault::Instead(reply)) => reply.give(&mut gate).await,
            Some(Fault::After(reply)) => {
                drop(self.perform(&call));
                reply.give(&mut gate).await
            }
            Some(Fault::Hang) => {
                drop(gate.changed().await);
                told(self.perform(&call))
            }
            Some(Fault::Delay) => {
                let done = tokio::spawn(async move {
                    drop(gate.changed().await);
                    self.perform(&call)
                });
                told(done.await.map_err(|_| Cut)?)
            }
            Some(Fault::Rotate { fee_ppk, hide_old }) => {
                self.desk().rotate(fee_ppk, hide_old);
                told(self.perform(&call))
            }
            Some(Fault::Twist(twist)) => {
                let mut answer = self.perform(&call);
                if let Ok(answer) = &mut answer {
                    twist.apply(answer);
                }
                told(answer)
            }
        }
    }

    fn perform(&self, call: &Call) -> Result<Value, Refusal> {
        let now = self.now();
        match call.endpoint {
            Endpoint::MintQuote => {
                let request = read(&call.body)?;
                self.desk().mint_quote(&request, self.terms(now))
            }
            Endpoint::MintQuoteState => self.desk().mint_quote_state(&call.behind),
            Endpoint::Mint => self.desk().mint(&read(&call.body)?, now),
            Endpoint::MeltQuote => {
                let request = read(&call.body)?;
                self.desk().melt_quote(&request, self.terms(now))
            }
            Endpoint::MeltQuoteState => self.desk().melt_quote_state(&call.behind),
            Endpoint::Melt => {
                let request: cashu::nuts::MeltRequest<String> = read(&call.body)?;
                let invoice = self.desk().begin_melt(&request, now)?;
                let payer = Arc::clone(&lock(&self.payer));
                let payment = payer(&invoice);
                self.desk().end_melt(request.quote(), payment)
            }
            _ => self
                .desk()
                .answer(call.endpoint, &call.behind, &call.body, now),
        }
    }

    fn terms(&self, now: u64) -> Terms {
        Terms {
            now,
            ttl: self.options.quote_ttl.as_secs(),
            reserve: self.options.fee_reserve,
            are_paid: self.options.pays_quotes_at_once,
        }
    }
}

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = "<!doctype html><html><body><h1>Something else</h1></body></html>";

impl Reply {
    async fn give(self, gate: &mut watch::Receiver<u64>) -> Answer {
        match self {
            Self::Cut => Err(Cut),
            Self::Silence => {
                drop(gate.changed().await);
                Err(Cut)
            }
            Self::Json(status, json) => respond(status, JSON, json.to_string()),
            Self::Html(status) => respond(status, HTML, PAGE.to_owned()),
            Self::Broken => respond(200, JSON, r#"{"signatures":[{"amount":"#.to_owned()),
            Self::Limited {
                retry_after,
                is_html,
            } => {
                let mut answer = if is_html {
                    respond(429, HTML, PAGE.to_owned())
                } else {
                    respond(429, JSON, r#"{"detail":"Rate limit exceeded."}"#.to_owned())
                }?;
                if let Some(seconds) = retry_after {
                    answer
                        .headers_mut()
                        .insert(header::RETRY_AFTER, seconds.into());
                }
                Ok(answer)
            }
        }
    }
}

fn told(answer: Result<Value, Refusal>) -> Answer {
    match answer {
        Ok(json) => respond(200, JSON, json.to_string()),
        Err(refusal) => respond(400, JSON, refusal.json().to_string()),
    }
}

fn respond(status: u16, kind: &str, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "*")
        .body(body.boxed_unsync())
        .map_err(|_| Cut)
}

/// A panic elsewhere leaves these values whole enough for a test that fails anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
