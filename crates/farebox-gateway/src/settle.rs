//! What becomes of a hold once the answer is known.
//!
//! A [`Settlement`] travels with the answer's body and resolves its hold exactly once: charged when
//! the answer is complete, voided when the upstream failed, and when the client left, charged or
//! voided by whether a first byte had gone out. The resolution is queued before the last byte
//! leaves. Dropping a settlement resolves it too; nothing here can forget money.

use farebox_core::Msat;
use farebox_ledger::{Hold, VoidReason};

/// How an answer ended, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It has not ended yet.
    Open,
    /// Completely delivered.
    Complete,
    /// The upstream failed or cut it short.
    CutByUpstream,
    /// The client left before the end.
    CutByClient,
}

/// The money side of one answer.
#[derive(Debug)]
pub(crate) struct Settlement {
    hold: Option<Hold>,
    price: Msat,
    charged: Msat,
    started: bool,
}

impl Settlement {
    /// A settlement for an answer whose payment is held.
    pub(crate) fn of(hold: Hold) -> Self {
        let price = hold.charge();
        Self {
            hold: Some(hold),
            price,
            charged: Msat::ZERO,
            started: false,
        }
    }

    /// A settlement for an answer that moves no money: free, or under a pass.
    pub(crate) const fn nothing() -> Self {
        Self {
            hold: None,
            price: Msat::ZERO,
            charged: Msat::ZERO,
            started: false,
        }
    }

    /// What was taken so far.
    pub(crate) const fn charged(&self) -> Msat {
        self.charged
    }

    /// Bytes of the answer go out, and more will follow.
    pub(crate) fn first_byte(&mut self) {
        if self.started {
            return;
        }
        self.started = true;
        if let Some(hold) = &self.hold {
            hold.first_byte();
        }
    }

    /// The answer is complete.
    pub(crate) fn complete(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.charged = self.price;
            hold.settle();
        }
    }

    /// Nothing is charged.
    pub(crate) fn void(&mut self, reason: VoidReason) {
        if let Some(hold) = self.hold.take() {
            hold.void(reason);
        }
    }

    /// The client left: charged when it had begun to receive the answer.
    pub(crate) fn client_left(&mut self) {
        if self.started {
            self.complete();
        } else {
            self.void(VoidReason::ClientGone);
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.client_left();
    }
}
