//! Asking phoenixd for new settlements, again and again, and at once when its webhook rings.
//!
//! It lists payments by the time at which they came in, which is no sequence: two may have the same
//! time, and one may be written a moment after a later one. So each question reaches back a little,
//! and what was told already is left out.

use std::collections::HashMap;

use async_trait::async_trait;
use farebox_core::PaymentHash;

use super::Phoenixd;
use super::answer::IncomingJson;
use super::bell::Woken;
use crate::answer::JudgeAnswer;
use crate::lenient::OneOfMany;
use crate::{NodeError, Settlement, SettlementCursor, WatchEvent, WatchSettlements};

/// How far back each question reaches, in milliseconds.
const REACH_BACK: u64 = 10_000;

/// How many payments are asked for at once, and how often for one more page: whatever came in
/// before that, while nobody asked, is found by looking it up.
const PAGE: usize = 100;
const MAX_PAGES: usize = 100;

#[async_trait]
impl WatchSettlements for Phoenixd {
    /// The cursor is a time of phoenixd's own clock. A settlement may be told twice.
    async fn watch(
        &self,
        after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        let mut told = Told::default();
        let mut last = match after {
            Some(SettlementCursor(at)) => at,
            None => self.begin(&mut told).await?,
        };
        let mut is_listening = false;
        let mut woken = Woken::InTime;
        loop {
            let mut found = self.since(last.saturating_sub(REACH_BACK)).await?;
            if !is_listening {
                is_listening = true;
                sink(WatchEvent::Listening);
                if after.is_none() {
                    // From now on: not what lies within reach.
                    let reached = found.iter().filter(|(_, at)| *at <= last);
                    reached.for_each(|it| told.note(it));
                }
            }
            found.sort_by_key(|(_, at)| *at);
            for (settlement, at) in found {
                if told.is_new(&(settlement, at)) {
                    sink(WatchEvent::Settled(settlement));
                }
                last = last.max(at);
            }
            told.forget_before(last.saturating_sub(REACH_BACK));
            woken = self.bell.pause(woken).await;
        }
    }
}

impl Phoenixd {
    /// When the newest payment came in.
    async fn begin(&self, told: &mut Told) -> Result<u64, NodeError> {
        let newest = self.page(0, 0, 1).await?.settlements;
        newest.iter().for_each(|found| told.note(found));
        Ok(newest.first().map_or(0, |(_, at)| *at))
    }

    /// Everything that came in since, newest first.
    async fn since(&self, since: u64) -> Result<Vec<(Settlement, u64)>, NodeError> {
        let mut all = Vec::new();
        for page in 0..MAX_PAGES {
            let found = self.page(since, page * PAGE, PAGE).await?;
            all.extend(found.settlements);
            if found.listed < PAGE {
                break;
            }
        }
        Ok(all)
    }

    async fn page(&self, since: u64, offset: usize, limit: usize) -> Result<Page, NodeError> {
        let path = format!("/payments/incoming?from={since}&limit={limit}&offset={offset}");
        let answer = self.node.client.get(&path).await?;
        let payments: Vec<OneOfMany<IncomingJson>> = answer.json()?;
        let read = |OneOfMany(payment): &OneOfMany<IncomingJson>| {
            payment.as_ref().and_then(|it| it.settlement().ok())
        };
        let read: Vec<_> = payments.iter().map(read).collect();
        if read.iter().any(Option::is_none) {
            tracing::warn!("phoenixd lists a payment in a form that is not read");
        }
        Ok(Page {
            listed: payments.len(),
            settlements: read.into_iter().flatten().flatten().collect(),
        })
    }
}

/// Some of the payments that came in.
struct Page {
    /// How many there are on it, read or not.
    listed: usize,
    settlements: Vec<(Settlement, u64)>,
}

/// What was told, and when it came in: no more than came in within the reach of a question.
#[derive(Default)]
struct Told(HashMap<PaymentHash, u64>);

impl Told {
    fn note(&mut self, (settlement, at): &(Settlement, u64)) {
        self.0.insert(settlement.payment_hash, *at);
    }

    fn is_new(&mut self, (settlement, at): &(Settlement, u64)) -> bool {
        self.0.insert(settlement.payment_hash, *at).is_none()
    }

    fn forget_before(&mut self, since: u64) {
        self.0.retain(|_, at| *at >= since);
    }
}
