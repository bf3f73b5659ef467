//! Charges that are found out only after the answer has ended: by counting its tokens, or by asking
//! the seller's webhook.
//!
//! Meanwhile the hold waits with whoever finds out, in an [`OpenHold`]: it is settled whatever
//! becomes of the finding, and whoever still listens.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use farebox_core::HoldId;
use farebox_ledger::Hold;

use super::bill::{Bill, Charged};

/// A bill, or who finds it out.
pub enum Billed {
    /// It is known.
    Known(Bill),
    /// It is found out from here on.
    Open {
        /// The bill where nobody finds it out.
        otherwise: Bill,
        /// What begins to find it out.
        find: Find,
    },
}

impl Billed {
    /// The bill as far as it is known here and now.
    pub(crate) fn at_hand(self) -> Bill {
        match self {
            Self::Known(bill)
            | Self::Open {
                otherwise: bill, ..
            } => bill,
        }
    }
}

/// Begins to find out a bill, and settles the hold by it.
pub type Find = Box<dyn FnOnce(OpenHold) -> Finding + Send>;

/// Comes to what was charged; to none where whoever knew that is gone. It has to be polled: that is
/// what asks. Dropping it settles the hold by the bill for that case.
pub struct Finding(
    // Never locked. It lets those who hold a finding be shared between threads by reference.
    Mutex<Pin<Box<dyn Future<Output = Option<Charged>> + Send>>>,
);

/// A hold whose charge is being found out. Dropping it charges what was to be charged otherwise.
pub struct OpenHold {
    id: HoldId,
    held: Option<(Hold, Box<Bill>)>,
}

impl Finding {
    pub(crate) fn new(finding: impl Future<Output = Option<Charged>> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(finding)))
    }

    /// What was charged.
    pub async fn found(self) -> Option<Charged> {
        let finding = self.0.into_inner();
        finding.unwrap_or_else(PoisonError::into_inner).await
    }
}

impl OpenHold {
    pub(crate) fn new(hold: Hold, otherwise: Bill) -> Self {
        Self {
            id: hold.id(),
            held: Some((hold, Box::new(otherwise))),
        }
    }

    pub(crate) const fn id(&self) -> HoldId {
        self.id
    }

    /// Records what would be charged otherwise, for a recovery.
    pub(super) fn record(&self) {
        if let Some((hold, otherwise)) = &self.held {
            hold.progress(otherwise.used.unwrap_or_default());
        }
    }

    /// Charges by the bill that was found, if one was.
    pub(crate) fn settle(mut self, found: Option<Bill>) -> Option<Charged> {
        let (hold, otherwise) = self.held.take()?;
        let bill = found.map_or(otherwise, Box::new);
        Some(bill.settle(hold))
    }
}

impl Drop for OpenHold {
    fn drop(&mut self) {
        if let Some((hold, otherwise)) = self.held.take() {
            otherwise.settle(hold);
        }
    }
}
