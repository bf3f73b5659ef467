//! What becomes of a hold once the answer is known.
//!
//! A [`Settlement`] travels with the answer's body and resolves its hold exactly once: charged when
//! the answer is complete, or has begun and its client left it; voided when the upstream failed (unless
//! a gauge says what was used until then). Where a client brings it about that it gets nothing, it is
//! excused: the ledger counts that, and charges it all the same beyond a few times. Where the act is
//! what is sold, whatever was forwarded is charged. The resolution is queued before the last byte
//! leaves. Dropping a settlement resolves it too; nothing here can forget money.

use std::time::{Duration, Instant};

use farebox_core::{Msat, UnixMillis};
use farebox_ledger::{ClientFault, Hold, VoidReason};

use crate::gauge::bill::{Bill, Charged};
use crate::gauge::finding::{Billed, Finding, OpenHold};
use crate::gauge::{Ending, Gauge};

/// How often the progress of an answer is told to the ledger.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// The money side of one answer.
pub struct Settlement {
    state: State,
    /// The request is on a connection to the upstream.
    is_forwarded: bool,
    /// That alone is what is sold.
    sells_act: bool,
}

enum State {
    /// No money moves: free, or under a pass that runs.
    Nothing,
    /// A fixed price is held.
    Fixed {
        hold: Hold,
        /// Bytes of the answer have gone out.
        has_begun: bool,
        /// Since when a pass runs that begins with this answer.
        since: Option<UnixMillis>,
    },
    /// The most is held, and a gauge finds out the charge.
    Gauged {
        hold: Hold,
        gauge: Box<dyn Gauge>,
        /// What recovery would charge, once bytes of the answer have gone out.
        progress: Option<Progress>,
    },
    /// The answer is read to its end before any of it goes out. Its gauge is with whoever reads; `used`
    /// is what it knew before.
    Reading { hold: Hold, used: Msat },
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

    /// The same, once it is found out.
    pub async fn found(self) -> Self {
        match self {
            Self::Open { otherwise, finding } => {
                Self::Known(finding.found().await.unwrap_or(otherwise))
            }
            known @ Self::Known(_) => known,
        }
    }
}

impl Settlement {
    /// For an answer whose payment is held: the whole of it, or what a gauge finds.
    pub fn of(hold: Hold, gauge: Option<Box<dyn Gauge>>) -> Self {
        Self::new(match gauge {
            None => State::Fixed {
                hold,
                has_begun: false,
                since: None,
            },
            Some(gauge) => State::Gauged {
                hold,
                gauge,
                progress: None,
            },
        })
    }

    /// For an answer that moves no money: free, or under a pass that runs.
    pub const fn nothing() -> Self {
        Self::new(State::Nothing)
    }

    const fn new(state: State) -> Self {
        Self {
            state,
            is_forwarded: false,
            sells_act: false,
        }
    }

    /// A fixed price is charged once the request is forwarded, whatever becomes of it.
    pub const fn sell_act(&mut self) {
        self.sells_act = true;
    }

    /// Whether forwarding alone is charged.
    pub const fn sells_act(&self) -> bool {
        self.sells_act
    }

    /// The request is on a connection to the upstream, or came back from one that did not take it.
    pub const fn forwarded(&mut self, is_forwarded: bool) {
        self.is_forwarded = is_forwarded;
    }

    /// A pass that begins with this answer runs since then.
    pub const fn begin_pass(&mut self, now: UnixMillis) {
        if let State::Fixed { since, .. } = &mut self.state {
            *since = Some(now);
        }
    }

    /// What finds out the charge, until the answer has ended.
    pub fn gauge(&mut self) -> Option<&mut dyn Gauge> {
        match &mut self.state {
            State::Gauged { gauge, .. } => Some(&mut **gauge),
            _ => None,
        }
    }

    /// Whether a gauge finds out the charge.
    pub const fn is_gauged(&self) -> bool {
        matches!(self.state, State::Gauged { .. })
    }

    /// Whether bytes have gone out of an answer that a gauge finds the charge of.
    pub const fn is_gauging(&self) -> bool {
        matches!(
            self.state,
            State::Gauged {
                progress: Some(_),
                ..
            }
        )
    }

    /// Whether bytes have gone out of an answer that is charged.
    pub const fn has_begun(&self) -> bool {
        self.is_gauging()
            || matches!(
                self.state,
                State::Fixed {
                    has_begun: true,
                    ..
                }
            )
    }

    /// Whether the answer is sold although it cannot be read.
    pub fn sells_unread(&self) -> bool {
        matches!(&self.state, State::Gauged { gauge, .. } if gauge.sells_unread())
    }

    /// Whether leaving the answer early can cost more than what was seen.
    pub fn leaving_costs(&self) -> bool {
        matches!(&self.state, State::Gauged { gauge, .. } if gauge.leaving_costs())
    }

    /// How long the upstream is listened to after the client left, where the seller wants that and
    /// the client has had something.
    pub fn drains(&self) -> Option<Duration> {
        match &self.state {
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
        match &mut self.state {
            State::Fixed {
                hold, has_begun, ..
            } if !*has_begun => {
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
        if ending == Ending::CutByClient && !self.has_begun() {
            return self.excuse(ClientFault::Gone);
        }
        let sells_act = self.is_sold_act();
        self.state = match self.take() {
            State::Fixed { hold, since, .. } => match ending {
                Ending::CutByUpstream if !sells_act => void(hold, VoidReason::CutShort),
                Ending::Complete | Ending::CutByClient | Ending::CutByUpstream => {
                    charge(hold, since)
                }
            },
            State::Gauged { hold, gauge, .. } => settle(hold, gauge.bill(ending)),
            // None of it has gone out.
            State::Reading { hold, used } => match ending {
                Ending::Complete | Ending::CutByClient => excuse(hold, ClientFault::Gone, used),
                Ending::CutByUpstream => void(hold, VoidReason::CutShort),
            },
            other @ (State::Nothing | State::Ended(_)) => other,
        };
    }

    /// Nothing is charged, and that is not the client's doing; but an act that was sold is.
    pub fn void(&mut self, reason: VoidReason) {
        let sells_act = self.is_sold_act();
        self.state = match self.take() {
            State::Fixed { hold, since, .. } if sells_act => charge(hold, since),
            State::Fixed { hold, .. }
            | State::Gauged { hold, .. }
            | State::Reading { hold, .. } => void(hold, reason),
            other @ (State::Nothing | State::Ended(_)) => other,
        };
    }

    /// Nothing is charged by the client's own doing, unless that happened too often: then it is charged
    /// as if its answer had begun. [`Settlement::found`] knows which.
    pub fn excuse(&mut self, fault: ClientFault) {
        if !self.is_forwarded {
            return self.void(VoidReason::NotForwarded);
        }
        let sells_act = self.sells_act;
        self.state = match self.take() {
            State::Fixed { hold, since, .. } if sells_act => charge(hold, since),
            State::Fixed { hold, .. } => {
                let used = hold.charge();
                excuse(hold, fault, used)
            }
            State::Gauged { hold, gauge, .. } => {
                let bill = gauge.bill(Ending::CutByClient).at_hand();
                State::Ended(bill.excused().excuse(hold, fault))
            }
            State::Reading { hold, used } => excuse(hold, fault, used),
            other @ (State::Nothing | State::Ended(_)) => other,
        };
    }

    const fn is_sold_act(&self) -> bool {
        self.is_forwarded && self.sells_act
    }

    /// What was charged, once that is found out.
    pub async fn found(&mut self) -> Msat {
        self.state = match self.take() {
            State::Ended(charge) => State::Ended(charge.found().await),
            other => other,
        };
        self.charged()
    }

    /// The answer is about to be read to its end before any of it goes out. Gives its gauge, and the
    /// most that can be charged.
    pub fn read(&mut self) -> Option<(Box<dyn Gauge>, Msat)> {
        match self.take() {
            State::Gauged { hold, gauge, .. } => {
                let held = hold.charge();
                let used = gauge.progress().unwrap_or(held);
                self.state = State::Reading { hold, used };
                Some((gauge, held))
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The answer was read to its end, and this is what its gauge found.
    pub fn settle(&mut self, billed: Billed) {
        self.state = match self.take() {
            State::Reading { hold, .. } => settle(hold, billed),
            other => other,
        };
    }

    /// What was charged so far.
    pub fn charged(&self) -> Msat {
        match &self.state {
            State::Ended(charge) => charge.so_far().msat,
            _ => Msat::ZERO,
        }
    }

    /// Hands over what an answer that has ended is charged, for its log line.
    pub fn charge(&mut self) -> Charge {
        match self.take() {
            State::Ended(charge) => charge,
            other => {
                self.state = other;
                Charge::default()
            }
        }
    }

    const fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Nothing)
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

/// Charges the whole hold; of a pass, it begins.
fn charge(hold: Hold, since: Option<UnixMillis>) -> State {
    let msat = hold.charge();
    match since {
        Some(since) => hold.begin_pass(since),
        None => hold.settle(),
    }
    State::Ended(Charge::Known(Charged { msat, bill: None }))
}

fn void(hold: Hold, reason: VoidReason) -> State {
    hold.void(reason);
    State::Ended(Charge::default())
}

/// Charges `used` where the ledger excuses the client no more.
fn excuse(hold: Hold, fault: ClientFault, used: Msat) -> State {
    let charged = hold.excuse(fault, used, None);
    State::Ended(Charge::Open {
        otherwise: Charged::default(),
        finding: Finding::new(async {
            let (msat, bill) = (charged.await, None);
            Some(Charged { msat, bill })
        }),
    })
}

/// Charges a hold by its bill. Where that is still found out, the hold waits there.
fn settle(hold: Hold, billed: Billed) -> State {
    State::Ended(match billed {
        Billed::Known(bill) if bill.is_excused => bill.excuse(hold, ClientFault::Gone),
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

impl Bill {
    /// Charges a hold by this bill where the ledger excuses the client no more.
    fn excuse(self, hold: Hold, fault: ClientFault) -> Charge {
        let charged = hold.excuse(fault, self.used.unwrap_or_default(), Some(self.kept()));
        let bill = Box::new(self);
        Charge::Open {
            otherwise: Charged {
                msat: Msat::ZERO,
                bill: Some(bill.clone()),
            },
            finding: Finding::new(async {
                let (msat, bill) = (charged.await, Some(bill));
                Some(Charged { msat, bill })
            }),
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.end(Ending::CutByClient);
    }
}

#[cfg(test)]
mod tests;
