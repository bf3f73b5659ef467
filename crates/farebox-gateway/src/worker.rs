//! What one data thread holds, and what all of them share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use farebox_http::body_budget::Shares;
use farebox_http::drain::DrainSignal;
use farebox_http::limits::Places;
use farebox_paywall::Paywall;
use farebox_paywall::credential::Reader;

use crate::access_log::AccessLog;
use crate::answer::WatchedAnswers;
use crate::claim::Claims;
use crate::forward::Forwarder;
use crate::held::HeldDoor;
use crate::ids::IdSource;
use crate::metrics::Metrics;
use crate::own::Own;
use crate::plan::Plan;

/// What all data threads share.
pub(crate) struct Shared {
    pub(crate) plan: Arc<ArcSwap<Plan>>,
    pub(crate) paywall: Arc<Paywall>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AccessLog>,
    /// Bodies of requests in memory.
    pub(crate) bodies: Arc<Shares>,
    pub(crate) claims: Claims,
    pub(crate) own: Own,
    pub(crate) held: HeldDoor,
    /// Whose connections are open, but for those of proxies.
    pub(crate) connections: Arc<Places>,
    pub(crate) drain: DrainSignal,
}

/// One data thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
    pub(crate) forwarder: Forwarder,
    /// Its answers to HTTP/2 requests; on HTTP/1.1 [`StallGuard`](farebox_http::stall::StallGuard) sees
    /// who does not read.
    pub(crate) watched: WatchedAnswers,
    pub(crate) ids: IdSource,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, forwarder: Forwarder) -> Result<Self, getrandom::Error> {
        Ok(Self {
            index: forwarder.thread,
            shared,
            reader: Reader::default(),
            forwarder,
            watched: WatchedAnswers::default(),
            ids: IdSource::seeded()?,
        })
    }
}
