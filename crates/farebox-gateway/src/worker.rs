//! What one data thread holds, and what all of them share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use farebox_core::{HoldId, RequestId, UnixMillis};
use farebox_http::body_budget::ByteBudget;
use farebox_http::drain::DrainSignal;
use farebox_http::replay::ReplayStore;
use farebox_paywall::Paywall;
use farebox_paywall::credential::Reader;

use crate::access_log::AccessLog;
use crate::answer::WatchedAnswers;
use crate::claim::status::Waiters;
use crate::held::HeldDoor;
use crate::metrics::Metrics;
use crate::own::{KeyDesk, RefundDesk};
use crate::plan::Plan;

/// What all data threads share.
pub(crate) struct Shared {
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) paywall: Paywall,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) replays: Arc<ReplayStore>,
    pub(crate) bodies: Arc<ByteBudget>,
    /// Whole answers of metered calls on their way. Apart from the requests, so that no sender of
    /// those can keep an answer back that the seller already pays for.
    pub(crate) answers: Arc<ByteBudget>,
    pub(crate) held: HeldDoor,
    pub(crate) refunds: RefundDesk,
    pub(crate) keys: KeyDesk,
    pub(crate) waiters: Waiters,
    pub(crate) drain: DrainSignal,
    pub(crate) scheme: &'static str,
}

/// One data thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
    /// Its answers to HTTP/2 requests; on HTTP/1.1 [`StallGuard`](farebox_http::stall::StallGuard) sees
    /// who does not read.
    pub(crate) watched: WatchedAnswers,
    ids: IdSource,
}

/// Random bits for ids that need to be unique, not secret: a SplitMix64 seeded by the system.
struct IdSource(AtomicU64);

impl IdSource {
    fn seeded() -> Result<Self, getrandom::Error> {
        Ok(Self(AtomicU64::new(getrandom::u64()?)))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn ten_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes()[..2]);
        bytes
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Result<Self, getrandom::Error> {
        Ok(Self {
            index,
            shared,
            reader: Reader::default(),
            watched: WatchedAnswers::default(),
            ids: IdSource::seeded()?,
        })
    }

    pub(crate) fn request_id(&self, now: UnixMillis) -> RequestId {
        RequestId::new(now, self.ids.ten_bytes())
    }

    pub(crate) fn hold_id(&self, now: UnixMillis) -> HoldId {
        HoldId::new(now, self.ids.ten_bytes())
    }
}
