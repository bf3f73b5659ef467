//! Holds on the money of prepaid keys, and what they count against the limits of those who ask.
//!
//! What a key spent is kept by day, in the transaction that charges; what its open holds reserve is
//! the sum of the open holds. Both count on the day on which a request was admitted.

use std::collections::BTreeMap;

use farebox_core::{AccountId, Msat};

use super::{Account, AccountRow, Book, KeyUse, OnceKey, OpenHold, Rows};
use crate::day::{self, Day};
use crate::decide::{self, Grant, KeyStanding, Purse};
use crate::store::{Granted, StoreError};
use crate::{Admitted, Cost, HoldRequest, KeyRefusal, LedgerError};

/// Days of one key that the picture keeps; more than ever have open holds at once, but by a clock
/// that is set to and fro.
const MAX_DAYS: usize = 8;

/// What the open holds of a key reserve: of a parent, its children's too.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    holds: usize,
    msat: Msat,
    days: BTreeMap<Day, Msat>,
}

impl Book {
    pub(super) fn admit_key(
        &mut self,
        request: &HoldRequest,
        rows: &mut dyn Rows,
    ) -> Result<Result<Admitted<Granted>, LedgerError>, StoreError> {
        let Cost::Amount(amount) = request.cost else {
            return Ok(Err(LedgerError::CallOnBalance));
        };
        if let Some(error) = self.refuse_hold(request.hold, rows)? {
            return Ok(Err(error));
        }
        let asker = request.account;
        let today = day::of(request.now);
        if !self.fetch_day(&asker, today, rows)? {
            return Ok(Ok(Admitted::Key(KeyRefusal::Unknown)));
        }
        let parent = self.key_of(&asker)?.1.parent;
        if let Some(parent) = &parent
            && !self.fetch_day(parent, today, rows)?
        {
            return Err(StoreError::Corrupt("a key without its parent"));
        }
        let earlier = self.earlier(&asker, request.once, rows)?;
        let payer = parent.unwrap_or(asker);
        let of_parent = parent.map(|parent| self.key_standing(&parent, today));
        let decision = decide::key(
            request,
            amount,
            &self.key_standing(&asker, today)?,
            of_parent.transpose()?.as_ref(),
            &self.purse(&payer)?,
            earlier,
        );
        let (payer_row, asker_row) = (self.key_of(&payer)?.0.row, self.key_of(&asker)?.0.row);
        let used = KeyUse {
            asker,
            asker_row,
            route: request.route.clone(),
            day: today,
        };
        Ok(Ok(decision.map_held(|grant| {
            self.hold_for_key(request, grant, (payer, payer_row), used)
        })))
    }

    fn hold_for_key(
        &mut self,
        request: &HoldRequest,
        grant: Grant,
        (payer, payer_row): (AccountId, AccountRow),
        used: KeyUse,
    ) -> Granted {
        let once = request.once.map(|once| OnceKey {
            key: once.key,
            digest: once.digest,
        });
        let hold = OpenHold {
            payer,
            account: payer_row,
            amount: grant.charge,
            progress: None,
            once,
            number: self.next_hold,
            stored: false,
            key: Some(Box::new(used)),
            basis: request.basis.clone(),
        };
        self.open_hold(request.hold, hold);
        Granted {
            hold: request.hold,
            charge: grant.charge,
            remaining: grant.remaining,
            expires_at: grant.expires_at,
        }
    }

    fn key_of(&self, name: &AccountId) -> Result<(&Account, &super::Key), StoreError> {
        let account = self.accounts.peek(name);
        account
            .and_then(|account| Some((account, account.key()?)))
            .ok_or(StoreError::Corrupt("a key that was just read"))
    }

    fn key_standing(&self, name: &AccountId, today: Day) -> Result<KeyStanding<'_>, StoreError> {
        let (account, key) = self.key_of(name)?;
        let uses = self.key_uses.get(name);
        let of_day = |days: &BTreeMap<Day, Msat>| days.get(&today).copied().unwrap_or_default();
        Ok(KeyStanding {
            limits: &key.limits,
            revoked: account.revoked_at.is_some(),
            calls_used: account.calls_used,
            voids: account.voids,
            spent: key.spent,
            held: uses.map_or(Msat::ZERO, |uses| uses.msat),
            spent_today: of_day(&key.days),
            held_today: uses.map_or(Msat::ZERO, |uses| of_day(&uses.days)),
        })
    }

    fn purse(&self, payer: &AccountId) -> Result<Purse, StoreError> {
        let (account, key) = self.key_of(payer)?;
        let held = self.held.get(payer);
        Ok(Purse {
            funded: key.funded,
            balance: account.balance,
            held: held.map_or(Msat::ZERO, |held| held.msat),
        })
    }

    /// Brings a key, and what counts against it on a day, into the picture. Whether there is one.
    pub(super) fn fetch_day(
        &mut self,
        name: &AccountId,
        day: Day,
        rows: &mut dyn Rows,
    ) -> Result<bool, StoreError> {
        if !self.fetch_key(name, rows)? {
            return Ok(false);
        }
        let unsaved = &self.changes.key_days;
        let Some(account) = self.accounts.peek_mut(name) else {
            return Ok(false);
        };
        let row = account.row;
        if let Some(key) = account.key_mut()
            && !key.days.contains_key(&day)
        {
            if key.days.len() >= MAX_DAYS {
                key.days
                    .retain(|known, _| unsaved.contains_key(&(row, *known)));
            }
            key.days.insert(day, rows.key_day(row, day)?);
        }
        Ok(true)
    }

    /// Those whose limits a hold counts against: who asked, and whose money it is.
    fn counted(hold: &OpenHold) -> impl Iterator<Item = (AccountId, Day)> + use<> {
        let payer = hold.payer;
        let asked = hold.key.as_ref().map(|key| (key.asker, key.day));
        asked.into_iter().flat_map(move |(asker, day)| {
            let other = (asker != payer).then_some((payer, day));
            std::iter::once((asker, day)).chain(other)
        })
    }

    pub(super) fn track_uses(&mut self, hold: &OpenHold) {
        for (name, day) in Self::counted(hold) {
            let uses = self.key_uses.entry(name).or_default();
            let today = uses.days.entry(day).or_default();
            uses.holds += 1;
            *today = today.checked_add(hold.amount).unwrap_or(Msat::MAX);
            uses.msat = uses.msat.checked_add(hold.amount).unwrap_or(Msat::MAX);
        }
    }

    pub(super) fn untrack_uses(&mut self, hold: &OpenHold) {
        for (name, day) in Self::counted(hold) {
            let Some(uses) = self.key_uses.get_mut(&name) else {
                continue;
            };
            uses.holds = uses.holds.saturating_sub(1);
            uses.msat = uses.msat.saturating_sub(hold.amount);
            if let Some(today) = uses.days.get_mut(&day) {
                *today = today.saturating_sub(hold.amount);
            }
            if uses.holds == 0 {
                self.key_uses.remove(&name);
            }
        }
    }

    /// Counts what was charged for a hold, on the day on which it was admitted.
    pub(super) fn count_uses(&mut self, hold: &OpenHold, charged: Msat) {
        if charged.is_zero() {
            return;
        }
        for (name, day) in Self::counted(hold) {
            let Some(account) = self.accounts.peek_mut(&name) else {
                continue;
            };
            let row = account.row;
            let Some(key) = account.key_mut() else {
                continue;
            };
            key.spent = key.spent.checked_add(charged).unwrap_or(Msat::MAX);
            let today = key.days.entry(day).or_default();
            *today = today.checked_add(charged).unwrap_or(Msat::MAX);
            self.changes.key_days.insert((row, day), *today);
        }
    }
}
