//! Calls whose payment is held while they run, so that one whose upstream fails was never charged.
//!
//! The challenge keeps the request: the one exception to challenges that write nothing, bounded by
//! number and bytes. When the payment is accepted (and not yet ours) the call runs once, its answer
//! is stored durably, and only then is the payment taken by giving the preimage, with which the
//! client comes back for that answer. Where the call fails, the payment is given back.
//!
//! Each call is a row in the ledger, and moves only forward:
//!
//! | state | what a new process does with it |
//! |---|---|
//! | offered | waits for the payment, or cancels the invoice when it has expired |
//! | running | gives the payment back: nobody knows what the upstream did |
//! | answered | takes the payment |
//! | settled, canceled | nothing |
//!
//! Never here: a preimage given away before its answer is stored.

mod call;
mod holder;
mod kept;
mod offer;
mod open;
mod room;
mod run;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use farebox_core::PaymentHash;
use farebox_http::drain::DrainSignal;
use farebox_ledger::{HeldLimits, LedgerError};
use farebox_lightning::Backend;
use farebox_paywall::Paywall;
use tokio::sync::mpsc;

pub(crate) use call::kept_answer;
pub(crate) use kept::{KeptAnswer, KeptRequest};
pub(crate) use open::OpenCalls;
pub(crate) use room::{CallPlace, Room};

use crate::access_log::AccessLog;
use crate::forward::Forwarder;
use crate::ids::IdSource;
use crate::metrics::Metrics;
use crate::plan::Plan;

/// How long the list of open calls is waited for before it is asked for again.
const RECOVERY_RETRY: Duration = Duration::from_secs(2);

/// How much may be kept for calls whose payment is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRules {
    /// Calls that wait for their payment or run.
    pub max_calls: u32,
    /// Bytes of all their requests.
    pub max_bytes: u64,
    /// The longest answer that is stored, in bytes; a longer one is a failure.
    pub max_answer_bytes: usize,
}

impl Default for HeldRules {
    fn default() -> Self {
        Self {
            max_calls: 128,
            max_bytes: 64 << 20,
            max_answer_bytes: 1 << 20,
        }
    }
}

/// Runs calls whose payment is held, on a thread of its own.
pub(crate) struct HeldCalls {
    pub(crate) plan: Arc<ArcSwap<Plan>>,
    pub(crate) paywall: Arc<Paywall>,
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) ids: IdSource,
    pub(crate) drain: DrainSignal,
    pub(crate) open: Arc<OpenCalls>,
    pub(crate) room: Arc<Room>,
    /// The longest answer that is stored, in bytes.
    pub(crate) max_answer_bytes: usize,
}

/// Where the data threads tell of calls they offered.
pub(crate) struct HeldDoor {
    /// How much may be kept of them.
    pub(crate) room: Arc<Room>,
    /// Those that have not ended.
    pub(crate) open: Arc<OpenCalls>,
    offered: mpsc::Sender<Offered>,
}

/// A call that was just offered, and the backend that made its invoice: no reload takes that away.
pub(crate) struct Offered {
    pub(crate) hash: PaymentHash,
    pub(crate) node: Arc<Backend>,
    pub(crate) place: CallPlace,
}

impl HeldDoor {
    /// The door, and what [`follow_all`] listens to. No more calls are ever open than the ledger
    /// lets in, so the queue always has room for one more.
    pub(crate) fn new(rules: HeldRules) -> (Self, mpsc::Receiver<Offered>) {
        let most = usize::try_from(rules.max_calls).unwrap_or(usize::MAX);
        let (offered, news) = mpsc::channel(most.clamp(1, 1 << 20));
        let room = Arc::new(Room::new(HeldLimits {
            max_calls: rules.max_calls,
            max_bytes: rules.max_bytes,
        }));
        let open = Arc::default();
        let door = Self {
            room,
            open,
            offered,
        };
        (door, news)
    }

    pub(crate) fn tell(&self, offered: Offered) {
        let _ = self.offered.try_send(offered);
    }
}

/// Follows every call that earlier processes left open, and those that are offered from now on,
/// until the gateway drains.
pub(crate) async fn follow_all(calls: Arc<HeldCalls>, mut news: mpsc::Receiver<Offered>) {
    let drain = calls.drain.clone();
    let work = async {
        // A call has one follower: a second one would take a call that runs for one that died. What
        // was offered while the list was read is in both.
        let listed: HashSet<_> = left_open(&calls).await.into_iter().collect();
        for hash in &listed {
            tokio::spawn(run::follow(Arc::clone(&calls), *hash, None));
        }
        while let Some(offered) = news.recv().await {
            if !listed.contains(&offered.hash) {
                let (calls, hash) = (Arc::clone(&calls), offered.hash);
                tokio::spawn(run::follow(calls, hash, Some(offered)));
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = drain.draining() => {}
    }
    drain.cut().await;
    calls.log.flush();
}

async fn left_open(calls: &HeldCalls) -> Vec<PaymentHash> {
    loop {
        match calls.paywall.ledger.held_calls().await {
            Ok(open) => return open.into_iter().map(|call| call.payment_hash).collect(),
            Err(LedgerError::Closed) => return Vec::new(),
            Err(error) => tracing::error!(%error, "held calls cannot be recovered yet"),
        }
        tokio::time::sleep(RECOVERY_RETRY).await;
    }
}
