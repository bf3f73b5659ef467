//! Waiting for settlements with `waitanyinvoice`, one after the other by their `pay_index`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::Cln;
use super::answer::InvoiceJson;
use super::refusal::{NOTHING_PAID, Refusal};
use crate::answer::JudgeAnswer;
use crate::{NodeError, SettlementCursor, WatchEvent, WatchSettlements};
use farebox_http::client::TrustedClient;

/// How long the node waits before it says that nothing was paid, in seconds: short enough that
/// nothing on the way takes the connection for dead.
const WAIT: u64 = 50;

/// How much longer the call may take.
const SLACK: Duration = Duration::from_secs(15);

/// The first step of the search for the newest settlement.
const FIRST_STEP: u64 = 1024;

#[async_trait]
impl WatchSettlements for Cln {
    /// Waits call after call; each begins where the one before ended, so nothing falls in between.
    async fn watch(
        &self,
        after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        let mut last = match after {
            Some(SettlementCursor(last)) => last,
            None => self.newest().await?,
        };
        let first = self.next(&self.0.client, last, 0).await?;
        sink(WatchEvent::Listening);
        last = hand_over(first, last, sink);
        let patient = self.0.client.patient(Duration::from_secs(WAIT) + SLACK);
        loop {
            let next = self.next(&patient, last, WAIT).await?;
            last = hand_over(next, last, sink);
        }
    }
}

impl Cln {
    /// The newest `pay_index`, which no command tells: found by asking for the next one after a
    /// guess, doubled until there is none, then halved.
    async fn newest(&self) -> Result<u64, NodeError> {
        let mut low = 0;
        let mut step = FIRST_STEP;
        let mut high = low;
        while let Some(found) = self.next(&self.0.client, high, 0).await? {
            low = found.index;
            high = low.saturating_add(step);
            step = step.saturating_mul(2);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next(&self.0.client, middle, 0).await? {
                Some(found) => low = found.index,
                None => high = middle,
            }
        }
        Ok(low)
    }

    /// The first settlement after `last`; none if there is none within `wait` seconds.
    async fn next(
        &self,
        client: &TrustedClient,
        last: u64,
        wait: u64,
    ) -> Result<Option<Next>, NodeError> {
        let body = json!({ "lastpay_index": last, "timeout": wait });
        let answer = client.post_json("/v1/waitanyinvoice", &body).await?;
        if let Some(refusal) = answer.refusal::<Refusal>() {
            return match refusal.code {
                Some(NOTHING_PAID) => Ok(None),
                _ => Err(refusal.error(&answer)),
            };
        }
        let invoice: InvoiceJson = answer.parse()?;
        let read = invoice.settlement(last);
        let (settlement, index) = read.map_err(|fault| answer.bad(fault))?;
        let event = invoice.is_paid().then_some(WatchEvent::Settled(settlement));
        Ok(Some(Next { index, event }))
    }
}

struct Next {
    index: u64,
    event: Option<WatchEvent>,
}

fn hand_over(next: Option<Next>, last: u64, sink: &mut (dyn FnMut(WatchEvent) + Send)) -> u64 {
    let Some(next) = next else {
        return last;
    };
    if let Some(event) = next.event {
        sink(event);
    }
    next.index
}
