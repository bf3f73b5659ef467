//! One documented log line for each request, written when its answer has ended.
//!
//! Lines gather in a buffer of the worker thread and go to a writer thread in batches; a writer
//! that cannot keep up costs lines, counted in a metric, never latency. What a line may hold is a
//! closed list (`docs/reference/log.md`); credentials and bodies are not on it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use farebox_core::{RequestId, UnixMillis};
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::{AddressPrefix, push_address};
use farebox_http::tunnel::Traffic;
use farebox_market::rates::Rate;
use farebox_wire::grpc::ContentType;
use http::{HeaderValue, Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::plan::Route;
use farebox_paywall::ecash::ChangeDue;
use farebox_paywall::gauge::Ending;
use farebox_paywall::gauge::bill::{Bill, Charged, Measure};
use farebox_paywall::gauge::finding::Finding;
use farebox_paywall::settle::Charge;

/// A worker hands its lines over when it has gathered so many bytes.
const BATCH_BYTES: usize = 32 * 1024;
/// How many batches wait for the writer before lines are dropped.
const QUEUED_BATCHES: usize = 256;

/// The status in the log of a request that was never answered; nginx made the number known.
const NO_ANSWER: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// Where log lines go and how they look.
#[derive(Clone, Debug, Default)]
pub struct AccessLogOptions {
    /// The form of a line.
    pub format: LogFormat,
    /// The file they are appended to; standard output when absent.
    pub file: Option<PathBuf>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// `key=value` pairs for people.
    Text,
    /// No lines.
    Off,
}

/// The log of requests.
pub struct AccessLog {
    format: LogFormat,
    batches: SyncSender<Vec<u8>>,
    reopen: Arc<AtomicBool>,
    dropped: Counter,
}

/// Joins the writer thread once every [`AccessLog`] is gone.
pub(crate) struct LogWriter(Option<JoinHandle<()>>);

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    pub(crate) fn open(
        options: &AccessLogOptions,
        dropped: Counter,
    ) -> io::Result<(Self, LogWriter)> {
        let (batches, queue) = sync_channel(QUEUED_BATCHES);
        let reopen = Arc::new(AtomicBool::new(false));
        let mut sink = Sink::open(options.file.clone(), Arc::clone(&reopen))?;
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || sink.drain(&queue))?;
        let log = Self {
            format: options.format,
            batches,
            reopen,
            dropped,
        };
        Ok((log, LogWriter(Some(writer))))
    }

    /// Opens the file anew before the next batch, after a log rotation moved it.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Hands this thread's lines to the writer.
    pub(crate) fn flush(&self) {
        LINES.with_borrow_mut(|lines| self.hand_over(lines));
    }

    fn hand_over(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let batch = std::mem::replace(lines, Vec::with_capacity(BATCH_BYTES + 1024));
        if self.batches.try_send(batch).is_err() {
            self.dropped.inc();
        }
    }

    fn write(&self, exchange: &Exchange) {
        LINES.with_borrow_mut(|lines| {
            let written = match self.format {
                LogFormat::Json => exchange.write_json(lines),
                LogFormat::Text => exchange.write_text(lines),
                LogFormat::Off => Ok(()),
            };
            if written.is_ok() && lines.len() >= BATCH_BYTES {
                self.hand_over(lines);
            }
        });
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take() {
            let _ = writer.join();
        }
    }
}

struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
    reopen: Arc<AtomicBool>,
}

impl Sink {
    fn open(path: Option<PathBuf>, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        let mut sink = Self {
            path,
            file: None,
            reopen,
        };
        sink.open_file()?;
        Ok(sink)
    }

    fn open_file(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        }
        Ok(())
    }

    fn drain(&mut self, queue: &Receiver<Vec<u8>>) {
        while let Ok(batch) = queue.recv() {
            if self.reopen.swap(false, Ordering::AcqRel)
                && let Err(error) = self.open_file()
            {
                tracing::error!(%error, "the access log could not be opened anew");
            }
            if let Err(error) = self.write(&batch) {
                tracing::warn!(%error, "the access log could not be written");
            }
        }
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(batch),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(batch)?;
                out.flush()
            }
        }
    }
}

/// Who reads our own answers to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A program, which reads problem documents.
    Program,
    /// A gRPC client, which reads headers.
    Grpc(ContentType),
    /// A person, who reads pages.
    Person,
}

/// What is known of a request while it is served; becomes its log line and its metrics.
pub(crate) struct Exchange {
    log: Arc<AccessLog>,
    metrics: Arc<Metrics>,
    pub(crate) request_id: RequestId,
    pub(crate) request_id_header: HeaderValue,
    pub(crate) received_at: UnixMillis,
    pub(crate) started: Instant,
    pub(crate) peer: IpAddr,
    pub(crate) client: IpAddr,
    /// Whose share of what all requests take is taken for it.
    pub(crate) holder: Holder,
    pub(crate) audience: Audience,
    pub(crate) method: Method,
    pub(crate) path: Arc<str>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    pub(crate) reason: &'static str,
    pub(crate) upstream_micros: Option<u64>,
    pub(crate) hold: Option<farebox_core::HoldId>,
    /// What was charged, or is charged from here on.
    pub(crate) charge: Charge,
    /// What a bitcoin cost when the price was found.
    pub(crate) rate: Option<Rate>,
    /// What goes back of the coins that paid.
    pub(crate) change: Option<Arc<ChangeDue>>,
    /// Whether it came with coins, whatever became of it.
    pub(crate) brings_coins: bool,
    bytes_sent: u64,
    /// Of a tunnel.
    bytes_received: Option<u64>,
    reported: bool,
}

impl Exchange {
    pub(crate) fn begin(
        log: Arc<AccessLog>,
        metrics: Arc<Metrics>,
        begun: Begun,
        method: Method,
    ) -> Box<Self> {
        Box::new(Self {
            log,
            metrics,
            request_id: begun.request_id,
            request_id_header: header_of(begun.request_id),
            received_at: begun.received_at,
            started: Instant::now(),
            peer: begun.peer,
            client: begun.client,
            holder: Holder::Stranger(AddressPrefix::of(begun.client)),
            audience: Audience::Program,
            method,
            path: Arc::default(),
            route: None,
            status: NO_ANSWER,
            outcome: Outcome::Refused,
            reason: "",
            upstream_micros: None,
            hold: None,
            charge: Charge::default(),
            rate: None,
            change: None,
            brings_coins: false,
            bytes_sent: 0,
            bytes_received: None,
            reported: false,
        })
    }

    /// The present instant, by the clock at its beginning and the time that has passed since.
    pub(crate) fn now(&self) -> UnixMillis {
        self.received_at.plus(self.started.elapsed())
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
    }

    /// What went through the tunnel that followed.
    pub(crate) fn carried(&mut self, traffic: &Traffic) {
        self.bytes_sent = traffic.to_client();
        self.bytes_received = Some(traffic.from_client());
    }

    /// Writes the line, or has it written when the charge is found out. `charge` is what was charged
    /// since the answer began to leave.
    pub(crate) fn finish(mut self: Box<Self>, ending: Ending, charge: Option<Charge>) {
        self.outcome = self.outcome.ended(ending);
        let charge = charge.unwrap_or_else(|| std::mem::take(&mut self.charge));
        match (charge, Handle::try_current()) {
            (Charge::Open { otherwise, finding }, Ok(runtime)) => {
                self.charge = Charge::Known(otherwise);
                let late = LateLine(Some(self));
                drop(runtime.spawn(late.wait_for(finding)));
            }
            (charge, _) => {
                self.charge = charge;
                self.report();
            }
        }
    }

    /// What is charged as far as that is known.
    pub(crate) const fn charged(&self) -> &Charged {
        self.charge.so_far()
    }

    /// What stays where the line of an exchange is written elsewhere.
    fn reported(&self) -> Self {
        let begun = Begun {
            request_id: self.request_id,
            received_at: self.received_at,
            peer: self.peer,
            client: self.client,
        };
        let (log, metrics) = (Arc::clone(&self.log), Arc::clone(&self.metrics));
        let mut reported = *Self::begin(log, metrics, begun, self.method.clone());
        reported.reported = true;
        reported
    }

    /// What is left of the coins that paid is told once their request is charged: they pay for nothing any
    /// more, and what nobody has a claim on is free. Whoever left fetches it.
    fn tell_change(&mut self) {
        let due = self.change.take();
        let is_charged = !self.charged().msat.is_zero();
        let (Some(due), true, Ok(runtime)) = (due, is_charged, Handle::try_current()) else {
            return;
        };
        drop(runtime.spawn(async move {
            if let Err(error) = due.tell().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "change could not be told; it can be fetched");
            }
        }));
    }

    fn report(&mut self) {
        self.reported = true;
        self.tell_change();
        self.complain();
        self.metrics.count(self);
        self.log.write(self);
    }

    /// Tells the seller of an answer that nobody said the cost of.
    fn complain(&self) {
        let charged = self.charged();
        if let Some(complaint) = charged.complaint() {
            tracing::warn!(
                route = self.route_name(),
                request.id = %self.request_id,
                charged_msat = charged.msat.get(),
                "{complaint}"
            );
        }
    }

    /// The name of its route.
    pub(crate) fn route_name(&self) -> &str {
        let route = self.route.as_ref();
        route.map_or("-", |route| route.name.as_str())
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut line = JsonLine(out);
        line.number("{\"at_ms\":", self.received_at.get());
        line.plain(",\"request_id\":\"", self.request_id_header.as_bytes());
        line.plain("\",\"client\":\"", b"");
        push_address(line.0, self.client);
        line.plain("\",\"method\":\"", self.method.as_str().as_bytes());
        line.text("\",\"path\":", &self.path)?;
        line.plain(",\"route\":\"", self.route_name().as_bytes());
        line.number("\",\"status\":", self.status.as_u16().into());
        line.plain(",\"outcome\":\"", self.outcome.as_str().as_bytes());
        line.number("\",\"duration_us\":", self.micros());
        line.number(",\"bytes_sent\":", self.bytes_sent);
        if let Some(bytes) = self.bytes_received {
            line.number(",\"bytes_received\":", bytes);
        }
        line.number(",\"charged_msat\":", self.charged().msat.get());
        if !self.reason.is_empty() {
            line.plain(",\"reason\":\"", self.reason.as_bytes());
            line.plain("\"", b"");
        }
        if let Some(micros) = self.upstream_micros {
            line.number(",\"upstream_us\":", micros);
        }
        if let Some(rate) = self.rate {
            line.rate(rate)?;
        }
        if let Some(bill) = &self.charged().bill {
            line.bill(bill)?;
        }
        if let Some(hold) = self.hold {
            write!(line.0, ",\"hold\":\"{hold}\"")?;
        }
        line.plain("}\n", b"");
        Ok(())
    }

    fn write_text(&self, out: &mut Vec<u8>) -> io::Result<()> {
        writeln!(
            out,
            "{} {} {} {} {} route={} outcome={} reason={} {}us {}B charged={}msat id={}",
            self.received_at.get(),
            self.client,
            self.status.as_u16(),
            self.method,
            self.path,
            self.route_name(),
            self.outcome.as_str(),
            if self.reason.is_empty() {
                "-"
            } else {
                self.reason
            },
            self.micros(),
            self.bytes_sent,
            self.charged().msat.get(),
            self.request_id,
        )
    }
}

/// The line of an answer whose charge is found out only after it has ended. Where that is never told,
/// since everything ends, it says what would have been charged.
struct LateLine(Option<Box<Exchange>>);

impl LateLine {
    async fn wait_for(mut self, finding: Finding) {
        let found = finding.found().await;
        if let (Some(exchange), Some(charged)) = (&mut self.0, found) {
            exchange.charge = Charge::Known(charged);
        }
    }
}

impl Drop for LateLine {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.0.take() {
            exchange.report();
        }
    }
}

/// A request whose client left before there was an answer.
impl Drop for Exchange {
    fn drop(&mut self) {
        if self.reported {
            return;
        }
        self.outcome = Outcome::ClientGone;
        self.status = NO_ANSWER;
        if let Charge::Open { .. } = self.charge {
            let line = Box::new(std::mem::replace(self, self.reported()));
            return line.finish(Ending::CutByClient, None);
        }
        self.report();
    }
}

fn header_of(id: RequestId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).unwrap_or(HeaderValue::from_static("-"))
}

/// What is known of a request at its first moment.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) request_id: RequestId,
    pub(crate) received_at: UnixMillis,
    pub(crate) peer: IpAddr,
    pub(crate) client: IpAddr,
}

/// Appends members without the cost of formatting machinery: this runs for every request.
struct JsonLine<'a>(&'a mut Vec<u8>);

impl JsonLine<'_> {
    /// What is known to need no escaping.
    fn plain(&mut self, before: &str, value: &[u8]) {
        self.0.extend_from_slice(before.as_bytes());
        self.0.extend_from_slice(value);
    }

    fn number(&mut self, before: &str, value: u64) {
        self.plain(before, itoa::Buffer::new().format(value).as_bytes());
    }

    /// What a call used that was charged by use, and how its answer ended.
    fn bill(&mut self, bill: &Bill) -> io::Result<()> {
        if let Measure::Usage { model, .. } = &bill.measured {
            self.text(",\"model\":", model)?;
        }
        self.plain(",\"ended\":\"", bill.end.as_str().as_bytes());
        self.plain("\"", b"");
        match &bill.measured {
            Measure::Usage { usage, .. } => {
                for (unit, count) in usage.iter() {
                    self.plain(",\"used_", unit.as_str().as_bytes());
                    self.number("\":", count);
                }
            }
            Measure::Quantity(Some(quantity)) => write!(self.0, ",\"quantity\":\"{quantity}\"")?,
            Measure::Quantity(None) => {}
        }
        Ok(())
    }

    /// At which rate the price was found, and when that was true.
    fn rate(&mut self, rate: Rate) -> io::Result<()> {
        write!(self.0, ",\"bitcoin_price\":\"{}\"", rate.bitcoin_price)?;
        if let Some(at) = rate.taken_at {
            self.number(",\"rate_at_ms\":", at.get());
        }
        Ok(())
    }

    /// What comes from outside.
    fn text(&mut self, before: &str, value: &str) -> io::Result<()> {
        let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
        if value.bytes().all(plain) {
            self.plain(before, b"\"");
            self.plain(value, b"\"");
            return Ok(());
        }
        self.plain(before, b"");
        serde_json::to_writer(&mut *self.0, value).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_break_out_of_a_line() {
        let mut out = Vec::new();
        JsonLine(&mut out).text("", "/a\"b\\c\nd").unwrap();
        assert_eq!(out, br#""/a\"b\\c\nd""#);
    }
}
