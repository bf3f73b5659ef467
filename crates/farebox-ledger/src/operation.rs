//! What is asked of the engine: a pure footprint, a decision over the rows it named, an answer.
//!
//! Each operation is one file below, with all three together.

mod account;
mod admit;
mod begin_payout;
mod change;
mod deposit;
mod finish_payout;
mod held;
mod keys;
mod prune;
mod received;
mod resolve;
mod swap;
mod withdrawal;

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::book::Book;
use crate::hold::{EndHold, Hold};
use crate::money::Verdict;
use crate::name::Name;
use crate::passes::Passes;
use crate::store::{Safe, StoreError};
use crate::{Admitted, HoldRequest, LedgerError};

pub(crate) use account::{Look, Revoke};
pub(crate) use begin_payout::{BeginPayout, Beginning};
pub(crate) use deposit::{ForgetUnpaid, NotePending, TakeDeposit};
pub(crate) use finish_payout::FinishPayout;
pub(crate) use held::{HeldMove, HeldStep, OpenHeld};
pub(crate) use keys::{KeyDone, LimitKey, NewKey, RevokeKey};
pub(crate) use prune::{CloseAccount, ForgetPast, RemoveKey};
pub(crate) use received::Received;
pub(crate) use resolve::{Progress, Resolve};
pub(crate) use swap::EndSwap;
pub(crate) use withdrawal::EndWithdrawal;

/// One thing to decide.
pub(crate) trait Operation: Send {
    /// Whether it names the gate of payouts: then no other of its batch does.
    const TAKES_GATE: bool = false;
    /// How safe it has to be before its answer is given.
    const SAFE: Safe = Safe::FromPowerLoss;

    /// What is decided, and the asking side gets once it is written.
    type Answer: Send;

    /// Names every row that it may read or write, from facts that never change.
    fn footprint(&self, names: &mut Vec<Name>);

    /// Decides over the rows it named, without any look elsewhere. An error of the ledger concerns
    /// this operation alone and changed nothing.
    fn decide(&self, book: &mut Book<'_>) -> Verdict<Self::Answer>;

    /// Lets the passes in memory know what was written.
    fn written(&self, _answer: &Self::Answer, _passes: &Passes) {}
}

/// What answers are made with.
pub(crate) struct Desk {
    pub(crate) holds: Arc<dyn EndHold>,
    pub(crate) passes: Arc<Passes>,
}

/// An operation that somebody waits for.
pub(crate) trait Asked: Send {
    fn footprint(&self, names: &mut Vec<Name>);
    fn takes_gate(&self) -> bool;
    fn safe(&self) -> Safe;
    /// Decides, and keeps the answer until it may be given. It may be asked again after a failure.
    fn decide(&mut self, book: &mut Book<'_>) -> Result<(), StoreError>;
    /// Gives the answer. Whoever stopped waiting drops it, and with it the hold, which voids it.
    fn answer(self: Box<Self>, desk: &Desk);
    fn fail(self: Box<Self>, error: LedgerError);
}

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;
/// Where an answer will come.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, LedgerError>>;

/// An operation, and who waits for what is made of its answer.
struct Question<O: Operation, A> {
    operation: O,
    decided: Option<Result<O::Answer, LedgerError>>,
    give: fn(O::Answer, &Desk) -> A,
    reply: Reply<A>,
}

impl<O: Operation, A: Send> Asked for Question<O, A> {
    fn footprint(&self, names: &mut Vec<Name>) {
        self.operation.footprint(names);
    }

    fn takes_gate(&self) -> bool {
        O::TAKES_GATE
    }

    fn safe(&self) -> Safe {
        O::SAFE
    }

    fn decide(&mut self, book: &mut Book<'_>) -> Result<(), StoreError> {
        self.decided = Some(self.operation.decide(book)?);
        Ok(())
    }

    fn answer(self: Box<Self>, desk: &Desk) {
        let decided = self.decided.unwrap_or(Err(LedgerError::Closed));
        if let Ok(answer) = &decided {
            self.operation.written(answer, &desk.passes);
        }
        let _ = self
            .reply
            .send(decided.map(|answer| (self.give)(answer, desk)));
    }

    fn fail(self: Box<Self>, error: LedgerError) {
        let _ = self.reply.send(Err(error));
    }
}

/// One thing for the writer to do.
pub(crate) enum Command {
    /// Somebody waits for the answer.
    Asked(Box<dyn Asked>),
    /// End a hold. One that is not open is left alone: an end may be repeated.
    Resolve(Resolve),
    /// Remember how much an open hold has used, for recovery.
    Progress(Progress),
    /// Remember how far the settlements of the backend of this name were read: a blind write of the
    /// one who reads them.
    Cursor(String, u64),
    /// It was answered before the others of its batch.
    Done,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked(_) => "Asked",
            Self::Resolve(_) => "Resolve",
            Self::Progress(_) => "Progress",
            Self::Cursor(..) => "Cursor",
            Self::Done => "Done",
        })
    }
}

impl Command {
    /// An operation, and where its answer will come.
    pub(crate) fn ask<O: Operation + 'static>(operation: O) -> (Self, Answer<O::Answer>) {
        Self::ask_and_give(operation, |answer, _| answer)
    }

    /// A request for a hold. Whoever gets the hold and drops it, or stopped waiting, voids it.
    pub(crate) fn ask_hold(request: HoldRequest) -> (Self, Answer<Admitted>) {
        Self::ask_and_give(request, |answer, desk| {
            answer.map_held(|granted| Hold::new(granted, Arc::clone(&desk.holds)))
        })
    }

    fn ask_and_give<O: Operation + 'static, A: Send + 'static>(
        operation: O,
        give: fn(O::Answer, &Desk) -> A,
    ) -> (Self, Answer<A>) {
        let (reply, answer) = oneshot::channel();
        let question = Question {
            operation,
            decided: None,
            give,
            reply,
        };
        (Self::Asked(Box::new(question)), answer)
    }

    pub(crate) const fn is_awaited(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    pub(crate) fn takes_gate(&self) -> bool {
        matches!(self, Self::Asked(asked) if asked.takes_gate())
    }

    /// How safe it has to be once it is committed. Holds and their endings may be lost with the
    /// power, as if there had been no call; whatever else there is leads to money or answers being
    /// given away by whoever reads it next.
    pub(crate) fn safe(&self) -> Safe {
        match self {
            Self::Asked(asked) => asked.safe(),
            Self::Resolve(_) | Self::Progress(_) | Self::Cursor(..) | Self::Done => Safe::FromDeath,
        }
    }

    pub(crate) fn footprint(&self, names: &mut Vec<Name>) {
        match self {
            Self::Asked(asked) => asked.footprint(names),
            Self::Resolve(resolve) => resolve.footprint(names),
            Self::Progress(progress) => progress.footprint(names),
            Self::Cursor(..) | Self::Done => {}
        }
    }

    pub(crate) fn decide(&mut self, book: &mut Book<'_>) -> Result<(), StoreError> {
        match self {
            Self::Asked(asked) => asked.decide(book),
            Self::Resolve(resolve) => resolve.decide(book).map(drop),
            Self::Progress(progress) => progress.decide(book).map(drop),
            Self::Cursor(name, cursor) => {
                book.changes.cursors.push((name.clone(), *cursor));
                Ok(())
            }
            Self::Done => Ok(()),
        }
    }
}
