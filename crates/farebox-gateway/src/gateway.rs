//! Starting, changing and ending a running gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use farebox_core::Clock;
use farebox_http::body_budget::Shares;
use farebox_http::drain::Drain;
use farebox_http::limits::ChallengeRates;
use farebox_http::listen::{self, ListenLimits, Server};
use farebox_http::replay::{DEFAULT_MAX_ANSWERS, ReplayLimits, ReplayStore};
use farebox_ledger::Ledger;
use farebox_lightning::follow::Settlements;
use farebox_paywall::ecash::Till;
use farebox_paywall::keyring::Keyring;
use farebox_paywall::payout::Payouts;
use farebox_paywall::{Parts, Paywall};
use farebox_paywall::{ecash, keys};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::access_log::{AccessLog, AccessLogOptions, LogWriter};
use crate::claim::Claims;
use crate::claim::status::Waiters;
use crate::forward::Forwarder;
use crate::held::{self, HeldCalls, HeldDoor, HeldRules, Offered};
use crate::ids::IdSource;
use crate::metrics::{self, Metrics};
use crate::own::Own;
use crate::plan::Plan;
use crate::worker::{Shared, Worker};

/// How often a worker hands its log lines over.
const LOG_FLUSH: Duration = Duration::from_millis(200);
/// How often answers that nobody came back for are forgotten.
const FORGET_ANSWERS: Duration = Duration::from_secs(15);
/// How often a worker looks for answers that are not read.
const FIND_UNREAD: Duration = Duration::from_secs(1);

/// How a gateway is set up for its life; everything else is in the [`Plan`].
pub struct GatewaySettings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Data threads.
    pub workers: usize,
    /// Certificate and key, when it speaks TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Limits on connections.
    pub limits: ListenLimits,
    /// Limits on challenges.
    pub challenges: ChallengeRates,
    /// Bytes of request bodies that may be in memory at once, and as many of whole answers until they
    /// have left.
    pub body_budget_bytes: usize,
    /// How much is kept for calls that run while their payment is held.
    pub held: HeldRules,
    /// Bytes of answers kept for retries.
    pub replay_bytes: usize,
    /// The log of requests.
    pub access_log: AccessLogOptions,
}

/// What a gateway works with.
pub struct Options {
    /// How it is set up.
    pub settings: GatewaySettings,
    /// The ledger.
    pub ledger: Ledger,
    /// The secrets that sign macaroons; a rotation through it takes effect at once.
    pub keyring: Arc<Keyring>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What pays back to the holders of tokens; nothing does when absent.
    pub payouts: Option<Arc<Payouts>>,
    /// What the nodes have told of settlements by themselves.
    pub settlements: Settlements,
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    drain: Drain,
    threads: Vec<JoinHandle<()>>,
    log_writer: LogWriter,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the limit.
    pub cut: usize,
}

/// Starts the data threads.
///
/// # Errors
/// When the address cannot be bound, the log cannot be opened, or no thread can be made.
pub fn start(options: Options, plan: Plan) -> io::Result<Gateway> {
    let settings = &options.settings;
    let workers = settings.workers.max(1);
    let (limits, held) = (settings.limits, settings.held);
    let listeners = listen::bind(settings.listen, workers)?;
    let address = listeners[0].local_addr()?;
    let tls = settings.tls.clone().map(TlsAcceptor::from);
    let (drain, signal) = Drain::new();
    let forwarder = Forwarder {
        thread: workers,
        scheme: if tls.is_some() { "https" } else { "http" },
        replays: ReplayStore::new(ReplayLimits {
            total_bytes: settings.replay_bytes,
            max_answers: DEFAULT_MAX_ANSWERS,
        }),
        answers: Shares::new(settings.body_budget_bytes),
        drain: signal,
    };
    let (door, offered) = HeldDoor::new(held);
    let (shared, log_writer) = share(options, plan, door, &forwarder)?;
    let on_thread = |thread| Forwarder {
        thread,
        ..forwarder.clone()
    };
    let threads = listeners
        .into_iter()
        .enumerate()
        .map(|(thread, listener)| {
            let worker = Worker::new(Arc::clone(&shared), on_thread(thread));
            let worker = worker.map_err(io::Error::other)?;
            spawn(worker, listener, tls.clone(), limits)
        })
        .chain(std::iter::once_with(|| {
            let calls = held_calls(&shared, on_thread(workers), held.max_answer_bytes)?;
            spawn_held(calls, offered)
        }))
        .collect::<io::Result<_>>()?;
    Ok(Gateway {
        address,
        shared,
        drain,
        threads,
        log_writer,
    })
}

/// What all data threads share, and what writes their log.
fn share(
    options: Options,
    plan: Plan,
    held: HeldDoor,
    forwarder: &Forwarder,
) -> io::Result<(Arc<Shared>, LogWriter)> {
    let drain = forwarder.drain.clone();
    let paywall = Arc::new(Paywall::new(Parts {
        ledger: options.ledger,
        keyring: options.keyring,
        clock: options.clock,
        settlements: options.settlements.clone(),
        challenges: options.settings.challenges,
        drain: drain.clone(),
    }));
    let bodies = Shares::new(options.settings.body_budget_bytes);
    let in_use = in_use(&paywall, &bodies, &held);
    let metrics = Metrics::new(options.settlements, &paywall.counters, in_use);
    metrics.take(&plan);
    let dropped = metrics.log_batches_dropped().clone();
    let (log, log_writer) = AccessLog::open(&options.settings.access_log, dropped)?;
    let shared = Shared {
        plan: Arc::new(ArcSwap::from_pointee(plan)),
        claims: Claims {
            paywall: Arc::clone(&paywall),
            bodies: Arc::clone(&bodies),
            scheme: forwarder.scheme,
            waiters: Waiters::default(),
            drain: drain.clone(),
        },
        own: Own::new(
            Arc::clone(&paywall),
            Arc::clone(&metrics),
            Arc::clone(&bodies),
            options.payouts,
        ),
        paywall,
        metrics,
        log: Arc::new(log),
        bodies,
        held,
        connections: Arc::default(),
        drain,
    };
    Ok((Arc::new(shared), log_writer))
}

/// What tells how much is taken of what all clients share.
fn in_use(paywall: &Arc<Paywall>, bodies: &Arc<Shares>, held: &HeldDoor) -> metrics::Shared {
    let (bodies, room) = (Arc::clone(bodies), Arc::clone(&held.room));
    let paywall = || Arc::clone(paywall);
    let (deposits, invoices, settled) = (paywall(), paywall(), paywall());
    metrics::Shared::default()
        .with("request_body_bytes", move || bodies.in_use() as u64)
        .with("held_calls", move || room.calls_in_use())
        .with("pending_deposits", move || {
            deposits.deposits.pending.in_use()
        })
        .with("invoices", move || invoices.invoices.in_use())
        .with("lookups", move || settled.settled.in_use())
}

fn held_calls(
    shared: &Shared,
    forwarder: Forwarder,
    max_answer_bytes: usize,
) -> io::Result<HeldCalls> {
    Ok(HeldCalls {
        plan: Arc::clone(&shared.plan),
        paywall: Arc::clone(&shared.paywall),
        forwarder,
        metrics: Arc::clone(&shared.metrics),
        log: Arc::clone(&shared.log),
        ids: IdSource::seeded().map_err(io::Error::other)?,
        drain: shared.drain.clone(),
        open: Arc::clone(&shared.held.open),
        room: Arc::clone(&shared.held.room),
        max_answer_bytes,
    })
}

fn spawn(
    worker: Worker,
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ListenLimits,
) -> io::Result<JoinHandle<()>> {
    let worker = Arc::new(worker);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(format!("data-{}", worker.index))
        .spawn(move || {
            let log = Arc::clone(&worker.shared.log);
            let served = runtime.block_on(async {
                tokio::spawn(keep_house(Arc::clone(&worker), limits.write_timeout));
                let server = Server {
                    drain: worker.shared.drain.clone(),
                    connections: worker.shared.metrics.connections().clone(),
                    service: worker,
                    tls,
                    limits,
                };
                server.run(listener).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "a data thread cannot listen");
            }
            drop(runtime);
            log.flush();
        })
}

/// What a data thread does now and then beside its requests.
async fn keep_house(worker: Arc<Worker>, write_timeout: Duration) {
    let mut tick = tokio::time::interval(LOG_FLUSH);
    let mut forgotten_at = Instant::now();
    let mut looked_at = forgotten_at;
    loop {
        tick.tick().await;
        worker.shared.log.flush();
        let now = Instant::now();
        if worker.index == 0 && now.duration_since(forgotten_at) >= FORGET_ANSWERS {
            worker.forwarder.replays.forget_expired(now);
            forgotten_at = now;
        }
        if now.duration_since(looked_at) >= FIND_UNREAD {
            worker.watched.let_go_of_unread(write_timeout);
            looked_at = now;
        }
    }
}

/// Calls whose payment is held run on a thread of their own, beside those of the clients, and so
/// does what looks after payments for keys and swaps of coins.
fn spawn_held(calls: HeldCalls, offered: mpsc::Receiver<Offered>) -> io::Result<JoinHandle<()>> {
    let calls = Arc::new(calls);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("held-calls".to_owned())
        .spawn(move || {
            let deposits = Arc::clone(&calls.paywall.deposits);
            let plan = Arc::clone(&calls.plan);
            let backends = || plan.load().payments.node.clone();
            let ecash = Arc::clone(&calls.paywall.ecash);
            let mints = Arc::clone(&calls.plan);
            let till = Till::new(ecash, move || mints.load().payments.mints.clone());
            runtime.block_on(async {
                tokio::select! {
                    () = held::follow_all(calls, offered) => {}
                    () = keys::sweep(deposits, backends) => {}
                    () = ecash::sweep(till) => {}
                }
            });
        })
}

impl Gateway {
    /// The seller's side of ecash.
    #[must_use]
    pub fn till(&self) -> Till {
        let plan = Arc::clone(&self.shared.plan);
        let ecash = Arc::clone(&self.shared.paywall.ecash);
        Till::new(ecash, move || plan.load().payments.mints.clone())
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes a new plan for requests from now on; requests on their way keep theirs.
    pub fn replace_plan(&self, plan: Plan) {
        self.shared.metrics.take(&plan);
        self.shared.plan.store(Arc::new(plan));
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Opens the access log anew, after a rotation.
    pub fn reopen_log(&self) {
        self.shared.log.reopen();
    }

    /// Stops accepting, waits for requests up to `limit`, cuts the rest, and ends the threads.
    pub async fn drain(self, limit: Duration) -> Drained {
        let cut = self.drain.run(limit).await;
        let (threads, counter) = (self.threads, Arc::clone(&self.shared.paywall.counter));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
            counter.close();
        });
        let _ = joined.await;
        drop(self.shared);
        let log_writer = self.log_writer;
        let _ = tokio::task::spawn_blocking(move || drop(log_writer)).await;
        Drained { cut }
    }
}

#[cfg(test)]
mod tests;
