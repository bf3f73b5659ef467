//! The end of a hold, and how far it has come before.

use farebox_core::{AccountId, HoldId, Kind, Msat, UnixMillis};

use super::Operation;
use crate::book::{Book, Moment};
use crate::hold::{Ended, Resolution, Rest};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::rows::{Charge, HoldFacts, OnceRow, OnceState, OpenHold};
use crate::store::StoreError;
use crate::swap::ChangeRow;
use crate::view::TransferKind;
use crate::{ChangeView, Receipt};

/// Ends a hold.
#[derive(Debug)]
pub(crate) struct Resolve {
    pub(crate) hold: HoldId,
    pub(crate) facts: HoldFacts,
    pub(crate) ended: Ended,
    /// How often its client may be excused beyond as many requests as were charged.
    pub(crate) max_voids: u32,
    pub(crate) at: UnixMillis,
}

/// Remembers how much an open hold has used, at least. It never goes down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) hold: HoldId,
    pub(crate) used: Msat,
}

impl Operation for Resolve {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        let HoldFacts {
            payer,
            asker,
            day,
            once,
        } = self.facts;
        let account = |id| day.map_or(Name::Account(id), |day| Name::Use(id, day));
        names.push(account(payer));
        if asker != payer {
            names.push(account(asker));
        }
        names.push(Name::Hold(self.hold));
        if let Some(key) = once {
            names.push(Name::Once(asker, key));
        }
        if let Resolution::Settle {
            rest: Rest::Owed, ..
        } = self.ended.how
        {
            names.push(Name::Change(payer));
        }
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.notes.moment = Some(Moment::Settle);
        let Some(mut hold) = book.end_hold(&self.hold)? else {
            return Ok(Ok(()));
        };
        let charge = charge_of(self, &hold, book)?;
        note_charge(self, charge, &mut hold, book)?;
        match charge {
            Some(used) => settle(self, &hold, used, book)?,
            None => release_once(&hold, book)?,
        }
        match self.ended.how {
            Resolution::Settle {
                rest: Rest::Owed, ..
            } => owe(self, book)?,
            Resolution::Excuse { .. } if charge.is_none() => {
                let payer = book.change_account(&self.facts.payer)?;
                payer.voids = payer.voids.saturating_add(1);
            }
            _ => {}
        }
        Ok(Ok(()))
    }
}

impl Resolve {
    /// Tells whoever waits what was charged.
    pub(crate) fn tell(self, charged: Msat) {
        let is_excused = matches!(self.ended.how, Resolution::Excuse { .. });
        if let Some(excuses) = self.ended.excuses
            && (is_excused || !charged.is_zero())
        {
            excuses.count(!charged.is_zero());
        }
        if let Some(tell) = self.ended.tell {
            let _ = tell.send(charged);
        }
    }
}

/// What a hold is charged; none where it is released.
fn charge_of(
    resolve: &Resolve,
    hold: &OpenHold,
    book: &Book<'_>,
) -> Result<Option<Msat>, StoreError> {
    let payer = book.account(&hold.facts.payer)?;
    Ok(match resolve.ended.how {
        Resolution::Settle { used, .. } => Some(used),
        Resolution::Begin { .. } => Some(hold.amount),
        Resolution::Void { .. } => None,
        Resolution::Excuse { used, .. } => {
            let most = resolve.max_voids;
            let elsewhere = resolve.ended.excuses.as_ref();
            let is_too_often = payer.voids >= i64::from(most)
                || elsewhere.is_some_and(|excuses| excuses.reach(most));
            is_too_often.then_some(used)
        }
    })
}

fn settle(
    resolve: &Resolve,
    hold: &OpenHold,
    used: Msat,
    book: &mut Book<'_>,
) -> Result<(), StoreError> {
    let payer = hold.facts.payer;
    if let Kind::Pass(span) = book.account(&payer)?.kind() {
        let since = match resolve.ended.how {
            Resolution::Begin { since } => since,
            _ => resolve.at,
        };
        return money::begin_pass(book, &payer, since.plus(span), resolve.at);
    }
    let charged = used.min(hold.amount);
    money::charge(book, resolve.hold, hold, used, resolve.at)?;
    book.notes.charged = charged;
    if !charged.is_zero() {
        for (id, day) in hold.facts.counted() {
            book.spend_on(&id, day, charged)?;
        }
        let payer = book.change_account(&payer)?;
        payer.voids = payer.voids.saturating_sub(1);
    }
    let asker = book.change_account(&hold.facts.asker)?;
    asker.calls_used = asker.calls_used.saturating_add(1);
    let (Some(key), Some(digest)) = (hold.facts.once, hold.digest) else {
        return Ok(());
    };
    let state = OnceState::Settled(Receipt {
        hold: resolve.hold,
        charged,
        settled_at: resolve.at,
    });
    book.put_once(hold.facts.asker, key, OnceRow { digest, state })
}

fn release_once(hold: &OpenHold, book: &mut Book<'_>) -> Result<(), StoreError> {
    let (Some(key), Some(digest)) = (hold.facts.once, hold.digest) else {
        return Ok(());
    };
    let state = OnceState::Released;
    book.put_once(hold.facts.asker, key, OnceRow { digest, state })
}

/// Takes what is left and not held off the account: it is owed to whoever brought it.
fn owe(resolve: &Resolve, book: &mut Book<'_>) -> Result<(), StoreError> {
    let payer: AccountId = resolve.facts.payer;
    let account = book.account(&payer)?;
    let rail = account.rail();
    let amount = account.free();
    if amount.is_zero() {
        return Ok(());
    }
    let before = book.owed(&payer)?.cloned();
    // What was told is over: what comes after it stays on the account.
    if before.as_ref().is_some_and(|row| !row.view.told.is_empty()) {
        return Ok(());
    }
    let account = book.rewrite(&payer)?.account_mut();
    let account = account.ok_or(StoreError::Corrupt("the account of a hold"))?;
    account.excess = account.excess.min(account.held.excess);
    let moved = Moved::new(amount, TransferKind::Change, resolve.at);
    let transfer = book.fresh_id(resolve.at);
    money::take(book, &payer, &HouseName::Owed(rail), transfer, moved)?;
    let owed = before.as_ref().map_or(Msat::ZERO, |row| row.view.owed);
    let view = ChangeView {
        account: payer,
        rail,
        owed: owed.checked_add(amount).unwrap_or(Msat::MAX),
        since: before.map_or(resolve.at, |row| row.view.since),
        told: Vec::new(),
    };
    let epoch = book.counts.epoch;
    book.put_owed(ChangeRow { view, epoch })
}

/// Notes what the end of a hold tells: nothing, for the whole charge of a fixed price.
fn note_charge(
    resolve: &Resolve,
    charge: Option<Msat>,
    hold: &mut OpenHold,
    book: &mut Book<'_>,
) -> Result<(), StoreError> {
    // What a pass was charged is a transfer of its own.
    if let Kind::Pass(_) = book.account(&hold.facts.payer)?.kind() {
        return Ok(());
    }
    let measured = &resolve.ended.measured;
    let is_childs = hold.facts.child().is_some();
    let is_told = measured.is_some() || (charge.is_some() && (hold.basis.is_some() || is_childs));
    if !is_told {
        return Ok(());
    }
    let route = money::route_of(book, hold)?;
    book.changes.charges.push(Charge {
        id: resolve.hold,
        facts: hold.facts,
        route,
        held: hold.amount,
        used: charge.unwrap_or(Msat::ZERO),
        charged: charge.map(|used| used.min(hold.amount)),
        at: resolve.at,
        basis: hold.basis.take(),
        measured: measured.as_deref().cloned(),
    });
    Ok(())
}

impl Operation for Progress {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Hold(self.hold));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        let used = self.used;
        if let Some(hold) = book.open_hold(&self.hold)?
            && hold.progress.is_none_or(|before| before < used)
        {
            hold.progress = Some(used);
            book.changes.progress.push(self.hold);
        }
        Ok(Ok(()))
    }
}
