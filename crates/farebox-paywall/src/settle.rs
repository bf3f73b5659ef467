//! What becomes of a hold once the answer is known.
//!
//! A [`Settlement`] travels with the answer's body and resolves its hold exactly once: charged when
//! the answer is complete, voided when the upstream failed (unless a gauge says what was used until then), and when the client left, charged or
//! voided by whether a first byte had gone out. The resolution is queued before the last byte
//! leaves. Dropping a settlement resolves it too; nothing here can forget money.

use std::time::{Duration, Instant};

use farebox_core::Msat;
use farebox_ledger::{Hold, VoidReason};

use crate::gauge::bill::Charged;
use crate::gauge::finding::{Billed, Finding, OpenHold};
use crate::gauge::{Ending, Gauge};

/// How often the progress of an answer is told to the ledger.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// The money side of one answer.
pub struct Settlement(State);

enum State {
    /// No money moves: free, or under a pass.
    Nothing,
    /// A fixed price is held.
    Fixed {
        hold: Hold,
        /// Bytes of the answer have gone out.
        has_begun: bool,
    },
    /// The most is held, and a gauge finds out the charge.
    Gauged {
        hold: Hold,
        gauge: Box<dyn Gauge>,
        /// What recovery would charge, once bytes of the answer have gone out.
        progress: Option<Progress>,
    },
    /// The answer is read to its end before any of it goes out. Its gauge is with whoever reads.
    Reading(Hold),
    /// The hold is settled or voided, or waits with whoever finds out its charge.
    Ended(Charge),
}

/// What was last told to the ledger for a recovery, and when.
struct Progress {
    told: Msat,
    told_at: Instant,
}

/// What an answer that has ended is charged.
pub enum Charge {
    /// This.
    Known(Charged),
    /// It is still being found out.
    Open {
        /// What is charged where nobody finds it out.
        otherwise: Charged,
        /// Who finds it out.
        finding: Finding,
    },
}

impl Default for Charge {
    fn default() -> Self {
        Self::Known(Charged::default())
    }
}

impl Charge {
    /// What is charged as far as that is known.
    pub const fn so_far(&self) -> &Charged {
        match self {
            Self::Known(charged)
            | Self::Open {
                otherwise: charged, ..
            } => charged,
        }
    }
}

impl Settlement {
    /// For an answer whose payment is held: the whole of it, or what a gauge finds.
    pub fn of(hold: Hold, gauge: Option<Box<dyn Gauge>>) -> Self {
        Self(match gauge {
            None => State::Fixed {
                hold,
                has_begun: false,
            },
            Some(gauge) => State::Gauged {
                hold,
                gauge,
                progress: None,
            },
        })
    }

    /// For an answer that moves no money: free, or under a pass.
    pub const fn nothing() -> Self {
        Self(State::Nothing)
    }

    /// What finds out the charge, until the answer has ended.
    pub fn gauge(&mut self) -> Option<&mut dyn Gauge> {
        match &mut self.0 {
            State::Gauged { gauge, .. } => Some(&mut **gauge),
            _ => None,
        }
    }

    /// Whether a gauge finds out the charge.
    pub const fn is_gauged(&self) -> bool {
        matches!(self.0, State::Gauged { .. })
    }

    /// Whether bytes have gone out of an answer that a gauge finds the charge of.
    pub const fn is_gauging(&self) -> bool {
        matches!(
            self.0,
            State::Gauged {
                progress: Some(_),
                ..
            }
        )
    }

    /// Whether the answer is sold although it cannot be read.
    pub fn sells_unread(&self) -> bool {
        matches!(&self.0, State::Gauged { gauge, .. } if gauge.sells_unread())
    }

    /// Whether leaving the answer early can cost more than what was seen.
    pub fn leaving_costs(&self) -> bool {
        matches!(&self.0, State::Gauged { gauge, .. } if gauge.leaving_costs())
    }

    /// How long the upstream is listened to after the client left, where the seller wants that and
    /// the client has had something.
    pub fn drains(&self) -> Option<Duration> {
        match &self.0 {
            State::Gauged {
                gauge,
                progress: Some(_),
                ..
            } => gauge.drains(),
            _ => None,
        }
    }

    /// Bytes of the answer go out, and more will follow.
    pub fn went_on(&mut self) {
        match &mut self.0 {
            State::Fixed { hold, has_begun } if !*has_begun => {
                hold.first_byte();
                *has_begun = true;
            }
            State::Gauged {
                hold,
                gauge,
                progress,
            } => match progress {
                None => *progress = Some(Progress::begin(hold, &**gauge)),
                Some(progress) => progress.go_on(hold, &**gauge),
            },
            _ => {}
        }
    }

    /// The answer has ended so. A second end changes nothing.
    pub fn end(&mut self, ending: Ending) {
        self.0 = match (self.take(), ending) {
            (State::Nothing, _) => State::Nothing,
            (State::Ended(charge), _) => State::Ended(charge),
            (State::Fixed { hold, has_begun }, Ending::CutByClient) if !has_begun => {
                void(hold, VoidReason::ClientGone)
            }
            (State::Fixed { hold, .. }, Ending::Complete | Ending::CutByClient) => charge(hold),
            (State::Fixed { hold, .. }, Ending::CutByUpstream) => void(hold, VoidReason::CutShort),
            (State::Gauged { hold, progress, .. }, Ending::CutByClient) if progress.is_none() => {
                void(hold, VoidReason::ClientGone)
            }
            (State::Gauged { hold, gauge, .. }, _) => settle(hold, gauge.bill(ending)),
            // None of it has gone out.
            (State::Reading(hold), Ending::Complete | Ending::CutByClient) => {
                void(hold, VoidReason::ClientGone)
            }
            (State::Reading(hold), Ending::CutByUpstream) => void(hold, VoidReason::CutShort),
        };
    }

    /// Nothing is charged.
    pub fn void(&mut self, reason: VoidReason) {
        self.0 = match self.take() {
            State::Fixed { hold, .. } | State::Gauged { hold, .. } | State::Reading(hold) => {
                void(hold, reason)
            }
            other => other,
        };
    }

    /// The answer is about to be read to its end before any of it goes out. Gives its gauge, and the
    /// most that can be charged.
    pub fn read(&mut self) -> Option<(Box<dyn Gauge>, Msat)> {
        match self.take() {
            State::Gauged { hold, gauge, .. } => {
                let held = hold.charge();
                self.0 = State::Reading(hold);
                Some((gauge, held))
            }
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// The answer was read to its end, and this is what its gauge found.
    pub fn settle(&mut self, billed: Billed) {
        self.0 = match self.take() {
            State::Reading(hold) => settle(hold, billed),
            other => other,
        };
    }

    /// What was charged so far.
    pub fn charged(&self) -> Msat {
        match &self.0 {
            State::Ended(charge) => charge.so_far().msat,
            _ => Msat::ZERO,
        }
    }

    /// Hands over what an answer that has ended is charged, for its log line.
    pub fn charge(&mut self) -> Charge {
        match self.take() {
            State::Ended(charge) => charge,
            other => {
                self.0 = other;
                Charge::default()
            }
        }
    }

    const fn take(&mut self) -> State {
        std::mem::replace(&mut self.0, State::Nothing)
    }
}

impl Progress {
    fn begin(hold: &Hold, gauge: &dyn Gauge) -> Self {
        let used = gauge.progress().unwrap_or(Msat::ZERO);
        hold.progress(used);
        Self {
            told: used,
            told_at: Instant::now(),
        }
    }

    fn go_on(&mut self, hold: &Hold, gauge: &dyn Gauge) {
        if self.told_at.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told_at = Instant::now();
        if let Some(used) = gauge.progress().filter(|used| *used != self.told) {
            hold.further_progress(used);
            self.told = used;
        }
    }
}

/// Charges the whole hold.
fn charge(hold: Hold) -> State {
    let msat = hold.charge();
    hold.settle();
    State::Ended(Charge::Known(Charged { msat, bill: None }))
}

fn void(hold: Hold, reason: VoidReason) -> State {
    hold.void(reason);
    State::Ended(Charge::default())
}

/// Charges a hold by its bill. Where that is still found out, the hold waits there.
fn settle(hold: Hold, billed: Billed) -> State {
    State::Ended(match billed {
        Billed::Known(bill) => Charge::Known(Box::new(bill).settle(hold)),
        Billed::Open { otherwise, find } => {
            let held = hold.charge();
            let open = OpenHold::new(hold, otherwise.clone());
            Charge::Open {
                otherwise: Charged {
                    msat: otherwise.charged(held),
                    bill: Some(Box::new(otherwise)),
                },
                finding: find(open),
            }
        }
    })
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.end(Ending::CutByClient);
    }
}

#[cfg(test)]
mod tests;
