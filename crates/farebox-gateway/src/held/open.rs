//! Calls that have not ended, for those who come back a moment too early.
//!
//! A payer has the preimage as soon as our node has given it away, which is a moment before the
//! ledger has the payment. No client of L402 asks again after a 409, so whoever proves a payment is
//! kept waiting for that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farebox_core::PaymentHash;
use tokio::sync::watch::{Receiver, Sender, channel};

/// How long a payer is kept waiting. Each takes one place among the requests that its account may
/// have in flight, so that nobody fills the room of others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The calls that are followed at the moment: no more than the ledger lets in.
#[derive(Default)]
pub(crate) struct OpenCalls(Mutex<HashMap<PaymentHash, Receiver<()>>>);

/// A call that is followed. It ends when this is dropped.
pub(super) struct OpenCall {
    calls: Arc<OpenCalls>,
    hash: PaymentHash,
    /// Never sent on: those who wait see it dropped.
    _open: Sender<()>,
}

impl OpenCalls {
    /// A call is followed from here on.
    pub(super) fn begin(self: &Arc<Self>, hash: PaymentHash) -> OpenCall {
        let (open, ended) = channel(());
        self.lock().insert(hash, ended);
        OpenCall {
            calls: Arc::clone(self),
            hash,
            _open: open,
        }
    }

    /// Waits until the call of this payment is not followed any more, for a while at most.
    pub(crate) async fn wait_for_end(&self, hash: PaymentHash) {
        let ended = self.lock().get(&hash).cloned();
        if let Some(mut ended) = ended {
            let _ = tokio::time::timeout(PATIENCE, ended.changed()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentHash, Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.hash);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const HASH: PaymentHash = PaymentHash::from_bytes([7; 32]);

    fn poll(waiting: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        waiting.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_paid_waits_for_the_end_of_the_call_and_for_no_other() {
        let calls = Arc::<OpenCalls>::default();
        let open = calls.begin(HASH);
        let mut waiting = pin!(calls.wait_for_end(HASH));
        assert!(poll(waiting.as_mut()).is_pending());
        calls.wait_for_end(PaymentHash::from_bytes([8; 32])).await;
        drop(open);
        assert!(poll(waiting).is_ready());
        assert!(calls.lock().is_empty());
        calls.wait_for_end(HASH).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_a_moment() {
        let calls = Arc::<OpenCalls>::default();
        let _open = calls.begin(HASH);
        let began = tokio::time::Instant::now();
        calls.wait_for_end(HASH).await;
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
