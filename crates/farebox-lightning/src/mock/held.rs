//! Payments that the mock node holds until they are settled or given back.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use async_trait::async_trait;
use farebox_core::{Msat, PaymentHash, Preimage};
use lru::LruCache;
use tokio::sync::watch;

use super::{MockNode, PayError, lock};
use crate::{CreatedInvoice, HoldInvoice, HoldState, InvoiceRequest, NodeError, invoice};

/// How many held invoices are remembered; the oldest go first.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// The blocks that a payer leaves; no block is ever found here.
const BLOCKS_LEFT: u32 = 80;

pub(super) struct Held(Mutex<LruCache<PaymentHash, Entry>>);

struct Entry {
    state: watch::Sender<HoldState>,
    preimage: Option<Preimage>,
}

impl Default for Held {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Held {
    pub(super) fn find(&self, hash: &PaymentHash) -> Option<HoldState> {
        lock(&self.0).peek(hash).map(|entry| *entry.state.borrow())
    }

    fn add(&self, hash: PaymentHash) {
        let state = watch::Sender::new(HoldState::Open);
        let preimage = None;
        lock(&self.0).put(hash, Entry { state, preimage });
    }

    fn follow(&self, hash: &PaymentHash) -> Option<watch::Receiver<HoldState>> {
        let held = lock(&self.0);
        held.peek(hash).map(|entry| entry.state.subscribe())
    }

    fn preimage(&self, hash: &PaymentHash) -> Option<Preimage> {
        lock(&self.0).peek(hash)?.preimage.clone()
    }

    fn accept(&self, hash: &PaymentHash, received: Msat) {
        self.change(hash, |state| {
            if *state == HoldState::Open {
                *state = HoldState::Accepted {
                    received,
                    blocks_left: BLOCKS_LEFT,
                };
            }
        });
    }

    fn settle(&self, preimage: &Preimage) -> Option<HoldState> {
        let hash = preimage.payment_hash();
        let mut held = lock(&self.0);
        let entry = held.get_mut(&hash)?;
        entry.preimage = Some(preimage.clone());
        entry.state.send_modify(|state| {
            if let HoldState::Accepted { received, .. } = *state {
                let received = Some(received);
                *state = HoldState::Settled { received };
            }
        });
        Some(*entry.state.borrow())
    }

    fn cancel(&self, hash: &PaymentHash) -> Option<HoldState> {
        self.change(hash, |state| {
            if !matches!(state, HoldState::Settled { .. }) {
                *state = HoldState::Canceled;
            }
        });
        self.find(hash)
    }

    fn change(&self, hash: &PaymentHash, edit: impl FnOnce(&mut HoldState)) {
        if let Some(entry) = lock(&self.0).peek(hash) {
            entry.state.send_modify(edit);
        }
    }
}

impl MockNode {
    /// Pays an invoice that this node signed, one whose payment is held included: then it returns
    /// when the payment is settled or given back.
    ///
    /// # Errors
    /// [`PayError`], [`PayError::Canceled`] where the payment was given back.
    pub async fn pay_and_wait(&self, bolt11: &str) -> Result<Preimage, PayError> {
        let signed = invoice::decode(bolt11)?;
        let invoice = invoice::read(&signed)?;
        let Some(mut state) = self.held.follow(&invoice.payment_hash) else {
            return self.pay(bolt11);
        };
        if self.clock.now() >= invoice.expires_at {
            return Err(PayError::Expired);
        }
        self.held.accept(&invoice.payment_hash, invoice.amount);
        let ended = state
            .wait_for(|state| matches!(state, HoldState::Settled { .. } | HoldState::Canceled))
            .await;
        match ended.map(|state| *state) {
            Ok(HoldState::Settled { .. }) => self
                .held
                .preimage(&invoice.payment_hash)
                .ok_or(PayError::Canceled),
            _ => Err(PayError::Canceled),
        }
    }
}

#[async_trait]
impl HoldInvoice for MockNode {
    async fn create_hold_invoice(
        &self,
        hash: PaymentHash,
        request: InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError> {
        let index = self.next_index();
        let invoice = self.write((index, hash), &request)?;
        self.held.add(hash);
        Ok(invoice)
    }

    async fn hold_state(&self, hash: PaymentHash) -> Result<HoldState, NodeError> {
        Ok(self.held.find(&hash).unwrap_or(HoldState::Unknown))
    }

    async fn wait_while_open(&self, hash: PaymentHash) -> Result<HoldState, NodeError> {
        let Some(mut state) = self.held.follow(&hash) else {
            return Ok(HoldState::Unknown);
        };
        let state = state.wait_for(|state| *state != HoldState::Open).await;
        Ok(state.map_or(HoldState::Unknown, |state| *state))
    }

    async fn settle_invoice(&self, preimage: Preimage) -> Result<(), NodeError> {
        match self.held.settle(&preimage) {
            Some(HoldState::Settled { .. }) => Ok(()),
            state => Err(refused(state, "settled")),
        }
    }

    async fn cancel_invoice(&self, hash: PaymentHash) -> Result<(), NodeError> {
        match self.held.cancel(&hash) {
            Some(HoldState::Canceled) => Ok(()),
            state => Err(refused(state, "canceled")),
        }
    }
}

fn refused(state: Option<HoldState>, wish: &str) -> NodeError {
    let is = match state {
        Some(HoldState::Open) => "open",
        Some(HoldState::Accepted { .. }) => "accepted",
        Some(HoldState::Settled { .. }) => "settled",
        Some(HoldState::Canceled) => "canceled",
        Some(HoldState::Unknown) | None => "unknown",
    };
    NodeError::Refused {
        host: "mock".to_owned(),
        reason: format!("the invoice is {is} and cannot be {wish}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use farebox_testkit::ManualClock;

    use super::*;

    fn node() -> Arc<MockNode> {
        let clock = Arc::new(ManualClock::default());
        Arc::new(MockNode::new(clock).unwrap())
    }

    fn preimage() -> Preimage {
        Preimage::from_bytes([7; 32])
    }

    async fn held_invoice(node: &MockNode) -> CreatedInvoice {
        let request = InvoiceRequest {
            amount: Msat::new(2_000).unwrap(),
            memo: "held".to_owned(),
            expiry: Duration::from_secs(60),
        };
        let hash = preimage().payment_hash();
        node.create_hold_invoice(hash, request).await.unwrap()
    }

    #[tokio::test]
    async fn a_payment_is_held_until_it_is_settled() {
        let node = node();
        let invoice = held_invoice(&node).await;
        let payer = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.pay_and_wait(&invoice.bolt11).await }
        });
        let hash = preimage().payment_hash();
        let state = node.wait_while_open(hash).await.unwrap();
        let received = Msat::new(2_000).unwrap();
        let blocks_left = BLOCKS_LEFT;
        assert_eq!(
            state,
            HoldState::Accepted {
                received,
                blocks_left
            }
        );
        assert!(!payer.is_finished());
        node.settle_invoice(preimage()).await.unwrap();
        assert!(payer.await.unwrap().unwrap().opens(&hash));
        assert!(node.cancel_invoice(hash).await.is_err());
        node.settle_invoice(preimage()).await.unwrap();
    }

    #[tokio::test]
    async fn a_payment_that_is_canceled_goes_back() {
        let node = node();
        let invoice = held_invoice(&node).await;
        let payer = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.pay_and_wait(&invoice.bolt11).await }
        });
        let hash = preimage().payment_hash();
        node.wait_while_open(hash).await.unwrap();
        node.cancel_invoice(hash).await.unwrap();
        assert_eq!(payer.await.unwrap(), Err(PayError::Canceled));
        assert!(node.settle_invoice(preimage()).await.is_err());
        assert_eq!(node.hold_state(hash).await.unwrap(), HoldState::Canceled);
    }
}
