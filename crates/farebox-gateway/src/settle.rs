//! What becomes of a hold once the answer is known.
//!
//! A [`Settlement`] travels with the answer's body and resolves its hold exactly once: charged when
//! the answer is complete, voided when the upstream failed, and when the client left, charged or
//! voided by whether a first byte had gone out. The resolution is queued before the last byte
//! leaves. Dropping a settlement resolves it too; nothing here can forget money.

use std::time::Duration;

use farebox_core::Msat;
use farebox_ledger::{Hold, VoidReason};

use crate::meter::{Bill, Meter, MeteredLine, OnDisconnect};

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
pub(crate) struct Settlement {
    hold: Option<Hold>,
    price: Msat,
    charged: Msat,
    started: bool,
    meter: Option<Box<Meter>>,
    bill: Option<Bill>,
}

impl Settlement {
    /// A settlement for an answer whose payment is held.
    pub(crate) fn of(hold: Hold) -> Self {
        let mut settlement = Self::nothing();
        settlement.price = hold.charge();
        settlement.hold = Some(hold);
        settlement
    }

    /// A settlement for an answer that is charged by what it uses.
    pub(crate) fn metered(hold: Hold, meter: Option<Box<Meter>>) -> Self {
        let mut settlement = Self::of(hold);
        settlement.meter = meter;
        settlement
    }

    /// A settlement for an answer that moves no money: free, or under a pass.
    pub(crate) const fn nothing() -> Self {
        Self {
            hold: None,
            price: Msat::ZERO,
            charged: Msat::ZERO,
            started: false,
            meter: None,
            bill: None,
        }
    }

    /// The meter of an answer that is charged by what it uses.
    pub(crate) const fn meter(&mut self) -> Option<&mut Box<Meter>> {
        self.meter.as_mut()
    }

    /// What the log says about a metered answer that has ended.
    pub(crate) fn line(&self) -> Option<Box<MeteredLine>> {
        let line = self.meter.as_ref()?.line(self.bill?);
        Some(Box::new(line))
    }

    /// How long the upstream is listened to after the client left, where the seller wants that and
    /// the client has had something.
    pub(crate) fn drains(&self) -> Option<Duration> {
        let meter = self
            .meter
            .as_ref()
            .filter(|_| self.started && self.hold.is_some())?;
        match meter.on_disconnect() {
            OnDisconnect::Cancel => None,
            OnDisconnect::Drain(limit) => Some(limit),
        }
    }

    /// Whether an answer that has begun will be charged by what it uses.
    pub(crate) const fn is_metering(&self) -> bool {
        self.started && self.meter.is_some() && self.hold.is_some()
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
        match (&self.hold, &self.meter) {
            (Some(hold), Some(meter)) => hold.progress(meter.first_progress()),
            (Some(hold), None) => hold.first_byte(),
            (None, _) => {}
        }
    }

    /// More of the answer went out.
    pub(crate) fn went_on(&mut self) {
        let used = self.meter.as_mut().and_then(|meter| meter.progress());
        if let (Some(hold), Some(used)) = (&self.hold, used) {
            hold.progress(used);
        }
    }

    /// The answer is complete.
    pub(crate) fn complete(&mut self) {
        if self.meter.is_some() {
            return self.settle_stream(Ending::Complete);
        }
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

    /// The upstream broke off.
    pub(crate) fn cut_short(&mut self) {
        if self.meter.is_some() {
            return self.settle_stream(Ending::CutByUpstream);
        }
        self.void(VoidReason::CutShort);
    }

    /// Settles a metered answer by its bill.
    pub(crate) fn settle(&mut self, bill: Bill) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        self.charged = bill.used.min(self.price);
        self.bill = Some(bill);
        if bill.used.is_zero() {
            hold.void(VoidReason::CutShort);
        } else {
            hold.settle_part(bill.used);
        }
    }

    fn settle_stream(&mut self, ending: Ending) {
        if let Some(meter) = self.meter.as_ref().filter(|_| self.hold.is_some()) {
            let bill = meter.bill_stream(ending);
            self.settle(bill);
        }
    }

    /// The client left: charged when it had begun to receive the answer.
    pub(crate) fn client_left(&mut self) {
        if self.started && self.meter.is_some() {
            self.settle_stream(Ending::CutByClient);
        } else if self.started {
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
