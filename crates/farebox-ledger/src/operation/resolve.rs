//! The end of a hold, and how far it has come before.

use farebox_core::{AccountId, HoldId, Msat, UnixMillis};

use super::Operation;
use crate::book::{Book, Moment};
use crate::hold::{Resolution, Rest};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::rows::{ChangeRow, Charge, HoldFacts, OnceRow, OnceState, OpenHold};
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{ChangeView, Measured, Receipt};

/// Ends a hold.
#[derive(Clone, Debug)]
pub(crate) struct Resolve {
    pub(crate) hold: HoldId,
    pub(crate) facts: HoldFacts,
    pub(crate) how: Resolution,
    /// What its answer showed, which is kept with the charge.
    pub(crate) measured: Option<Box<Measured>>,
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
        } = self.how
        {
            names.push(Name::Change(self.hold));
        }
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.notes.moment = Some(Moment::Settle);
        let Some(mut hold) = book.end_hold(&self.hold)? else {
            return Ok(Ok(()));
        };
        note_charge(self, &mut hold, book)?;
        match self.how {
            Resolution::Settle { used, rest } => {
                settle(self, &hold, used, book)?;
                if rest == Rest::Owed {
                    owe(self, book)?;
                }
            }
            Resolution::Void { reason } => {
                release_once(&hold, book)?;
                if reason.counts() {
                    let asker = book.change_account(&self.facts.asker)?;
                    asker.voids = asker.voids.saturating_add(1);
                }
            }
        }
        Ok(Ok(()))
    }
}

fn settle(
    resolve: &Resolve,
    hold: &OpenHold,
    used: Msat,
    book: &mut Book<'_>,
) -> Result<(), StoreError> {
    let charged = used.min(hold.amount);
    money::charge(book, resolve.hold, hold, used, resolve.at)?;
    if !charged.is_zero() {
        for (id, day) in hold.facts.counted() {
            book.spend_on(&id, day, charged)?;
        }
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
    let reserved = account.held.msat.checked_add(account.held.excess);
    let amount = account
        .balance
        .saturating_sub(reserved.unwrap_or(Msat::MAX));
    if amount.is_zero() {
        return Ok(());
    }
    let account = book.rewrite(&payer)?.account_mut();
    let account = account.ok_or(StoreError::Corrupt("the account of a hold"))?;
    account.excess = account.excess.min(account.held.excess);
    let moved = Moved::new(amount, TransferKind::Change, resolve.at);
    let transfer = book.fresh_id(resolve.at);
    money::take(book, &payer, &HouseName::Owed(rail), transfer, moved)?;
    let view = ChangeView {
        hold: resolve.hold,
        account: payer,
        rail,
        amount,
        owed_at: resolve.at,
        told: None,
    };
    let epoch = book.counts.epoch;
    book.put_owed(ChangeRow { view, epoch })
}

/// Notes what the end of a hold tells: nothing, for the whole charge of a fixed price.
fn note_charge(
    resolve: &Resolve,
    hold: &mut OpenHold,
    book: &mut Book<'_>,
) -> Result<(), StoreError> {
    let (used, charged) = match resolve.how {
        Resolution::Settle { used, .. } => (used, Some(used.min(hold.amount))),
        Resolution::Void { .. } => (Msat::ZERO, None),
    };
    let is_childs = hold.facts.child().is_some();
    let is_told =
        resolve.measured.is_some() || (charged.is_some() && (hold.basis.is_some() || is_childs));
    if !is_told {
        return Ok(());
    }
    let route = money::route_of(book, hold)?;
    book.changes.charges.push(Charge {
        id: resolve.hold,
        facts: hold.facts,
        route,
        held: hold.amount,
        used,
        charged,
        at: resolve.at,
        basis: hold.basis.take(),
        measured: resolve.measured.as_deref().cloned(),
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
