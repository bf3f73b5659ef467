//! A charge that waits for tokens to be counted. The hold waits with the counter, and is settled
//! there, whoever still listens: a connection that ends does not take it along.

use farebox_core::Msat;
use farebox_ledger::Hold;
use tokio::sync::oneshot;

use super::settle_by;
use crate::gauge::model::{Bill, ToCount};

/// Tells what was charged once that is known.
pub(crate) struct Counting(oneshot::Receiver<Settled>);

/// What an answer was charged, and by which bill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) charged: Msat,
    pub(crate) bill: Bill,
}

impl Counting {
    pub(super) fn begin(to_count: ToCount, hold: Hold, price: Msat) -> Self {
        let ToCount {
            by_bytes,
            counter,
            uncounted,
            again,
        } = to_count;
        let (tell, told) = oneshot::channel();
        counter.count(uncounted, move |counted| {
            let bill = counted.map_or(by_bytes, again);
            settle_by(hold, bill);
            let charged = bill.used.min(price);
            // The log may not care any more.
            let _ = tell.send(Settled { charged, bill });
        });
        Self(told)
    }

    /// What was charged; nothing where the counter is gone.
    pub(crate) async fn settled(self) -> Option<Settled> {
        self.0.await.ok()
    }
}
