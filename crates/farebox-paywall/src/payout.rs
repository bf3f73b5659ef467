//! Money out: what is left on a token or a prepaid key goes back to its holder over Lightning.
//!
//! A payout is written down before anything is sent, and exactly one invoice is ever tried for it:
//!
//! 1. `begin`: the rules, our own node's word that the incoming invoice is settled and with how
//!    much, and one invoice to pay, given or fetched from a Lightning Address;
//! 2. the ledger reserves amount and fee, durably;
//! 3. `send`: the invoice goes to the backend whose name was written down, and what the backend
//!    says is written behind it;
//! 4. `recover`: at start and every few seconds, what has no end yet is asked about, at that very
//!    backend. Only what the backend has never heard of is sent again, and only that invoice.
//!
//! A time-out, a lost connection, a killed process leave the outcome unknown and the money
//! reserved; nothing but the backend's word ends a payout, or, where that will never come, the
//! operator's (`close`). Money that nobody ever claimed is
//! unknown to the ledger and is never paid out by the operator. Not here: HTTP, and the path of a
//! paid request.

mod begin;
mod busy;
mod close;
mod destination;
mod error;
mod metrics;
mod open;
mod purse;
mod recover;
mod repeat;
mod rules;
mod send;

pub use close::CloseError;
pub use destination::Destination;
pub use error::RefundError;
pub use repeat::Repeat;
pub use rules::{MaxFee, RefundRules};
pub use send::CRASH_POINTS;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use farebox_core::{AccountId, Clock, KeyHash, Msat, PaymentHash, PayoutId};
use farebox_http::client::GuardedClient;
use farebox_http::client_addr::AddressPrefix;
use farebox_ledger::{AskedBy, Funding, Ledger, PayoutEnd, PayoutState, PayoutView};
use farebox_lightning::backends::Backends;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use busy::Busy;
use close::{check_time, same_end};
use metrics::PayoutMetrics;
use open::OpenPayouts;
use send::known;

/// How many refunds may be in preparation or on their way at one time in this process, each with a
/// place among those that may be open.
const MAX_IN_WORK: u32 = 256;
/// How many earlier payouts are asked about at one time, whatever else is asked for.
const MAX_FOLLOWED: u32 = 64;
/// How long an answer waits for the end of a payment before it says that it is under way.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long the end of the process waits for payments that are under way; the next start asks what
/// became of the others.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What payouts need.
pub struct PayoutOptions {
    /// Where they are written down.
    pub ledger: Ledger,
    /// Who looks invoices up and pays; none when nothing is sold for Lightning.
    pub backends: Option<Arc<Backends>>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What is allowed.
    pub rules: RefundRules,
}

/// One wish for a refund.
#[derive(Clone, Debug)]
pub struct RefundRequest {
    /// Whose money it is.
    pub source: Source,
    /// Where the money goes.
    pub destination: Destination,
    /// Who asks.
    pub asked_by: AskedBy,
    /// From where, where that is a holder.
    pub client: Option<AddressPrefix>,
    /// How much; as much as goes when absent, or what the invoice says.
    pub amount: Option<Msat>,
    /// What the same wish is known by when it comes again; without it an invoice is known again,
    /// and an address is not.
    pub repeat: Option<Repeat>,
}

/// Whose money goes out.
#[derive(Clone, Debug)]
pub enum Source {
    /// A token's.
    Token {
        /// Its payment.
        payment_hash: PaymentHash,
        /// What it says, where its holder asks.
        claim: Option<Funding>,
    },
    /// A prepaid key's, which is no child.
    Key(KeyHash),
}

impl Source {
    /// The account in the ledger.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        match self {
            Self::Token { payment_hash, .. } => payment_hash.account(),
            Self::Key(key) => key.account(),
        }
    }
}

/// Everything that leaves over Lightning.
pub struct Payouts {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Current>,
    metrics: PayoutMetrics,
    accounts: Busy<AccountId>,
    payouts: Busy<PayoutId>,
    open: OpenPayouts,
    room: Arc<Semaphore>,
    following: Arc<Semaphore>,
    /// Who of those that are followed comes first the next time, so that more than there is room for
    /// take turns.
    turn: AtomicUsize,
    /// Where the work runs, so that it goes on when the one who asked has left.
    home: Handle,
    timer: Mutex<Option<JoinHandle<()>>>,
}

/// What a reload changes.
struct Current {
    backends: Option<Arc<Backends>>,
    rules: RefundRules,
    /// With the rules, because it knows the exempt hosts.
    client: GuardedClient,
}

impl Current {
    fn new(backends: Option<Arc<Backends>>, rules: RefundRules) -> Self {
        let client = GuardedClient::new(rules.allow_hosts.clone());
        Self {
            backends,
            rules,
            client,
        }
    }
}

/// What becomes of a wish.
type Told = Result<PayoutView, RefundError>;

impl Payouts {
    /// Starts on the running runtime: payouts that earlier runs left open are asked about at once,
    /// and from then on every few seconds.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start(options: PayoutOptions) -> Arc<Self> {
        let payouts = Arc::new(Self {
            ledger: options.ledger,
            clock: options.clock,
            current: ArcSwap::from_pointee(Current::new(options.backends, options.rules)),
            metrics: PayoutMetrics::new(),
            accounts: Busy::default(),
            payouts: Busy::default(),
            open: OpenPayouts::default(),
            room: Arc::new(Semaphore::new(MAX_IN_WORK as usize)),
            following: Arc::new(Semaphore::new(MAX_FOLLOWED as usize)),
            turn: AtomicUsize::new(0),
            home: Handle::current(),
            timer: Mutex::default(),
        });
        let timer = tokio::spawn(recover::run(Arc::downgrade(&payouts)));
        *payouts.lock_timer() = Some(timer);
        payouts
    }

    /// Takes other backends and rules from now on. What is under way keeps its own.
    pub fn replace(&self, backends: Option<Arc<Backends>>, rules: RefundRules) {
        self.current.store(Arc::new(Current::new(backends, rules)));
    }

    /// Begins nothing more, and returns when what is under way has ended or a few seconds are over.
    pub async fn stop(&self) {
        if let Some(timer) = self.lock_timer().take() {
            timer.abort();
        }
        let idle = async {
            let _refunds = self.room.acquire_many(MAX_IN_WORK).await;
            let _followed = self.following.acquire_many(MAX_FOLLOWED).await;
        };
        if tokio::time::timeout(STOP_WITHIN, idle).await.is_err() {
            tracing::warn!("refunds are under way; the next start asks what became of them");
        }
        self.room.close();
    }

    /// What is allowed at this moment.
    #[must_use]
    pub fn rules(&self) -> RefundRules {
        self.current.load().rules.clone()
    }

    /// What is counted.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.metrics.registry
    }

    /// Pays out, or says where the payout that is already there stands. Waits for the end of the
    /// payment only for a while: a payout that is still [`PayoutState::Open`] goes on by itself.
    /// Dropping the future stops nothing.
    ///
    /// # Errors
    /// [`RefundError`]: nothing was begun.
    pub async fn refund(self: &Arc<Self>, request: RefundRequest) -> Told {
        let told = self.refund_and_wait(request).await;
        if let Err(error) = &told {
            self.metrics.refused.inc();
            tracing::info!(reason = error.problem().code, %error, "a refund was not begun");
        }
        told
    }

    async fn refund_and_wait(self: &Arc<Self>, request: RefundRequest) -> Told {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| RefundError::Unable)?;
        let (tell, begun) = oneshot::channel();
        let work = Arc::clone(self).work(request, tell, room);
        let work = self.home.spawn(work);
        let begun = begun.await.unwrap_or(Err(RefundError::Unable))?;
        match tokio::time::timeout(ANSWER_WITHIN, work).await {
            Ok(Ok(Some(ended))) => Ok(ended),
            _ => Ok(begun),
        }
    }

    /// The whole way of one refund, to its end if it is a new one. Whether anybody still listens does
    /// not matter to it.
    async fn work(
        self: Arc<Self>,
        request: RefundRequest,
        tell: oneshot::Sender<Told>,
        _room: OwnedSemaphorePermit,
    ) -> Option<PayoutView> {
        let begun = match self.begin(request).await {
            Ok(begun) => begun,
            Err(error) => {
                let _ = tell.send(Err(error));
                return None;
            }
        };
        let _ = tell.send(Ok(begun.view.clone()));
        Some(self.send_first(begun.view, begun.working?).await)
    }

    fn lock_timer(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a payout by the operator's word, unless its backend knows better.
    ///
    /// # Errors
    /// [`CloseError`]; nothing was changed.
    pub async fn close(&self, id: PayoutId, end: PayoutEnd) -> Result<PayoutView, CloseError> {
        let _working = self.payouts.begin(id).ok_or(CloseError::Busy)?;
        let view = self.ledger.payout(id).await?;
        let view = view.ok_or(CloseError::Unknown)?;
        if view.state != PayoutState::Open {
            return same_end(view, end);
        }
        let mut known = match self.ask_backend(&view).await {
            Some(Ok(state)) => known(&state),
            _ => None,
        };
        if known.is_none() {
            check_time(&view, end, self.clock.now())?;
            tracing::warn!(payout = %id, "the operator closes a refund");
            known = Some((end, "the operator says so"));
        }
        same_end(self.note(view, known).await, end)
    }
}

impl std::fmt::Debug for Payouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payouts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
