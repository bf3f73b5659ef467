//! What becomes of a hold once the answer is known.
//!
//! A [`Settlement`] travels with the answer's body and resolves its hold exactly once: charged when
//! the answer is complete, voided when the upstream failed, and when the client left, charged or
//! voided by whether a first byte had gone out. The resolution is queued before the last byte
//! leaves. Dropping a settlement resolves it too; nothing here can forget money.

pub(crate) mod counting;

use std::time::Duration;

use farebox_core::Msat;
use farebox_ledger::{Hold, VoidReason};

use crate::gauge::model::{Bill, Meter, MeteredLine, Reckoning};
use crate::gauge::report::{Said, SaidBill, SaidLine};
use crate::webhook::asked::{Inquiry, Owing};
use counting::Counting;

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

/// What tells the charge of an answer, where it is not the whole hold.
pub(crate) enum Gauge {
    /// The usage of a model.
    Model(Box<Meter>),
    /// What the upstream says, or what is measured.
    Said(Box<Said>),
    /// What a webhook says when it is over.
    Asked(Box<Inquiry>),
}

/// What a gauge came to.
#[derive(Clone, Copy)]
enum Reading {
    Model(Bill),
    Said(SaidBill),
}

/// The money side of one answer.
pub(crate) struct Settlement {
    hold: Option<Hold>,
    price: Msat,
    charged: Msat,
    started: bool,
    gauge: Option<Gauge>,
    reading: Option<Reading>,
    owing: Option<Owing>,
    counting: Option<Counting>,
}

impl Gauge {
    /// What recovery would charge, when the first byte goes out.
    fn first_progress(&self) -> Msat {
        match self {
            Self::Model(meter) => meter.first_progress(),
            Self::Said(said) => said.first_progress(),
            Self::Asked(asked) => asked.unsaid(),
        }
    }

    /// What recovery would charge, if it is time to tell.
    fn progress(&mut self) -> Option<Msat> {
        match self {
            Self::Model(meter) => meter.progress(),
            Self::Said(said) => said.progress(),
            Self::Asked(_) => None,
        }
    }

    fn drains(&self) -> Option<Duration> {
        match self {
            Self::Model(meter) => meter.drains(),
            Self::Said(said) => said.drains(),
            Self::Asked(_) => None,
        }
    }
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
    pub(crate) fn metered(hold: Hold, gauge: Option<Gauge>) -> Self {
        let mut settlement = Self::of(hold);
        settlement.gauge = gauge;
        settlement
    }

    /// A settlement for an answer that moves no money: free, or under a pass.
    pub(crate) const fn nothing() -> Self {
        Self {
            hold: None,
            price: Msat::ZERO,
            charged: Msat::ZERO,
            started: false,
            gauge: None,
            reading: None,
            owing: None,
            counting: None,
        }
    }

    /// The meter of a model's answer.
    pub(crate) const fn meter(&mut self) -> Option<&mut Box<Meter>> {
        match &mut self.gauge {
            Some(Gauge::Model(meter)) => Some(meter),
            _ => None,
        }
    }

    /// What follows any other answer that is charged by use.
    pub(crate) const fn said(&mut self) -> Option<&mut Box<Said>> {
        match &mut self.gauge {
            Some(Gauge::Said(said)) => Some(said),
            _ => None,
        }
    }

    /// Whether the charge is told by anything but a model's usage or a fixed price.
    pub(crate) const fn is_followed(&self) -> bool {
        matches!(self.gauge, Some(Gauge::Said(_) | Gauge::Asked(_)))
    }

    /// What a webhook will be asked about.
    pub(crate) const fn asked(&mut self) -> Option<&mut Box<Inquiry>> {
        match &mut self.gauge {
            Some(Gauge::Asked(asked)) => Some(asked),
            _ => None,
        }
    }

    /// The question what a call came to that has ended. Nothing asks it by itself.
    pub(crate) const fn take_owing(&mut self) -> Option<Owing> {
        self.owing.take()
    }

    /// What the log says about a model's answer that has ended.
    pub(crate) fn line(&self) -> Option<Box<MeteredLine>> {
        let (Some(Gauge::Model(meter)), Some(Reading::Model(bill))) = (&self.gauge, self.reading)
        else {
            return None;
        };
        Some(Box::new(meter.line(bill)))
    }

    /// What the log says about any other answer that was charged by use.
    pub(crate) fn said_line(&self) -> Option<SaidLine> {
        let (Some(Gauge::Said(said)), Some(Reading::Said(bill))) = (&self.gauge, self.reading)
        else {
            return None;
        };
        Some(said.line(bill))
    }

    /// How long the upstream is listened to after the client left, where the seller wants that and
    /// the client has had something.
    pub(crate) fn drains(&self) -> Option<Duration> {
        let gauge = self.gauge.as_ref();
        gauge
            .filter(|_| self.started && self.hold.is_some())?
            .drains()
    }

    /// Whether an answer that has begun will be charged by what it uses.
    pub(crate) const fn is_metering(&self) -> bool {
        self.started && self.gauge.is_some() && self.hold.is_some()
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
        match (&self.hold, &self.gauge) {
            (Some(hold), Some(gauge)) => hold.progress(gauge.first_progress()),
            (Some(hold), None) => hold.first_byte(),
            (None, _) => {}
        }
    }

    /// More of the answer went out.
    pub(crate) fn went_on(&mut self) {
        let used = self.gauge.as_mut().and_then(Gauge::progress);
        if let (Some(hold), Some(used)) = (&self.hold, used) {
            hold.further_progress(used);
        }
    }

    /// The answer is complete.
    pub(crate) fn complete(&mut self) {
        if self.gauge.is_some() {
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
        if self.gauge.is_some() {
            return self.settle_stream(Ending::CutByUpstream);
        }
        self.void(VoidReason::CutShort);
    }

    /// Settles a model's answer by its bill. Where that waits for its tokens to be counted, so does
    /// the hold; should the process end before, recovery charges what was recorded.
    pub(crate) fn reckon(&mut self, reckoning: Reckoning) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        match reckoning {
            Reckoning::Known(bill) => {
                self.took(bill);
                settle_by(hold, bill);
            }
            Reckoning::ToCount(to_count) => {
                self.took(to_count.by_bytes);
                hold.progress(to_count.by_bytes.used);
                self.counting = Some(Counting::begin(*to_count, hold, self.price));
            }
        }
    }

    fn took(&mut self, bill: Bill) {
        self.charged = bill.used.min(self.price);
        self.reading = Some(Reading::Model(bill));
    }

    /// What the charge of an answer still waits for.
    pub(crate) const fn take_counting(&mut self) -> Option<Counting> {
        self.counting.take()
    }

    /// Settles any other answer that is charged by use. One that was delivered is done with, even
    /// where it cost nothing; an attempt that failed for nothing is void.
    pub(crate) fn settle_said(&mut self, ending: Ending) {
        let Some(Gauge::Said(said)) = &mut self.gauge else {
            return;
        };
        let Some(hold) = self.hold.take() else {
            return;
        };
        let bill = said.bill(ending);
        self.charged = bill.used.min(self.price);
        self.reading = Some(Reading::Said(bill));
        if bill.used.is_zero() && ending != Ending::Complete {
            hold.void_with(VoidReason::CutShort, bill.measured());
        } else {
            hold.settle_part_with(bill.used, bill.measured());
        }
    }

    fn leave_owing(&mut self, ending: Ending) {
        if let Some(hold) = self.hold.take()
            && let Some(Gauge::Asked(asked)) = self.gauge.take()
        {
            self.owing = Some(asked.ended(hold, ending));
        }
    }

    fn settle_stream(&mut self, ending: Ending) {
        match &self.gauge {
            Some(Gauge::Model(meter)) if self.hold.is_some() => {
                let reckoning = meter.bill_stream(ending);
                self.reckon(reckoning);
            }
            Some(Gauge::Said(_)) => self.settle_said(ending),
            Some(Gauge::Asked(_)) => self.leave_owing(ending),
            _ => {}
        }
    }

    /// The client left: charged when it had begun to receive the answer.
    pub(crate) fn client_left(&mut self) {
        if self.started && self.gauge.is_some() {
            self.settle_stream(Ending::CutByClient);
        } else if self.started {
            self.complete();
        } else {
            self.void(VoidReason::ClientGone);
        }
    }
}

fn settle_by(hold: Hold, bill: Bill) {
    if bill.used.is_zero() {
        hold.void_with(VoidReason::CutShort, bill.measured());
    } else {
        hold.settle_part_with(bill.used, bill.measured());
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.client_left();
    }
}
