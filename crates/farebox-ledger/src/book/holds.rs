//! The life of a hold in the picture: made, moved on, ended once.

use farebox_core::{HoldId, Msat, UnixMillis};

use super::{Book, OnceKey, OpenHold, Retry, RetryKey, Rows};
use crate::decide::Grant;
use crate::store::{Granted, Resolution, StoreError};
use crate::{HoldRequest, Measured, VoidReason};

impl Book {
    pub(crate) fn open_ids(&self) -> Vec<HoldId> {
        self.holds.keys().copied().collect()
    }

    pub(super) fn hold(&mut self, request: &HoldRequest, grant: Grant) -> Granted {
        let Grant {
            charge,
            remaining,
            expires_at,
        } = grant;
        let row = self
            .accounts
            .peek(&request.account)
            .map_or(0, |account| account.row);
        let once = request.once.map(|once| OnceKey {
            key: once.key,
            digest: once.digest,
        });
        let hold = OpenHold {
            payer: request.account,
            account: row,
            amount: charge,
            progress: None,
            once,
            number: self.next_hold,
            stored: false,
            key: None,
            basis: request.basis.clone(),
        };
        self.open_hold(request.hold, hold);
        Granted {
            hold: request.hold,
            charge,
            remaining,
            expires_at,
        }
    }

    /// Counts a new hold.
    pub(super) fn open_hold(&mut self, id: HoldId, hold: OpenHold) {
        self.next_hold += 1;
        self.track(id, hold);
        self.changes.holds.push(id);
    }

    pub(super) fn track(&mut self, id: HoldId, hold: OpenHold) {
        let held = self.held.entry(hold.payer).or_default();
        held.calls = held.calls.saturating_add(1);
        held.msat = held.msat.checked_add(hold.amount).unwrap_or(Msat::MAX);
        if let Some(once) = hold.once {
            self.open_keys.insert((hold.asker().0, once.key), id);
        }
        self.track_uses(&hold);
        self.holds.insert(id, hold);
    }

    pub(super) fn untrack(&mut self, id: &HoldId) -> Option<OpenHold> {
        let hold = self.holds.remove(id)?;
        if let Some(once) = hold.once {
            self.open_keys.remove(&(hold.asker().0, once.key));
        }
        if let Some(held) = self.held.get_mut(&hold.payer) {
            held.calls = held.calls.saturating_sub(1);
            held.msat = held.msat.saturating_sub(hold.amount);
            if held.is_nothing() {
                self.held.remove(&hold.payer);
            }
        }
        self.untrack_uses(&hold);
        Some(hold)
    }

    /// Ends an open hold; gives what was used above it.
    pub(super) fn resolve(
        &mut self,
        id: HoldId,
        how: Resolution,
        measured: Option<&Measured>,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Msat, StoreError> {
        let Some(hold) = self.holds.get(&id) else {
            return Ok(Msat::ZERO);
        };
        let (asker, payer) = (hold.asker().0, hold.payer);
        let key_day = hold.key.as_ref().map(|key| key.day);
        let known = match key_day {
            None => self.fetch(&payer, rows)?,
            Some(day) => self.fetch_day(&payer, day, rows)? && self.fetch_day(&asker, day, rows)?,
        };
        if !known {
            return Err(StoreError::Corrupt("a hold without an account"));
        }
        let Some(mut hold) = self.untrack(&id) else {
            return Ok(Msat::ZERO);
        };
        if hold.stored {
            self.changes.ended.push(hold.number);
        }
        self.note_charge(id, &mut hold, how, measured, at);
        match how {
            Resolution::Settle { used } => Ok(self.settle(id, &hold, used, at)),
            Resolution::Void { reason } => {
                if reason.counts() {
                    self.change(&asker, |account| {
                        account.voids = account.voids.saturating_add(1);
                    });
                }
                Ok(Msat::ZERO)
            }
        }
    }

    pub(super) fn settle(
        &mut self,
        id: HoldId,
        hold: &OpenHold,
        used: Msat,
        at: UnixMillis,
    ) -> Msat {
        let charged = used.min(hold.amount);
        let loss = self.charge_hold(id, hold, used, at);
        self.count_uses(hold, charged);
        let (asker, asker_row) = hold.asker();
        self.change(&asker, |account| {
            account.calls_used = account.calls_used.saturating_add(1);
        });
        if let Some(once) = hold.once {
            let retry = Retry {
                digest: once.digest,
                hold: id,
                charged,
                settled_at: at,
            };
            self.changes.retries.insert(
                RetryKey {
                    account: asker_row,
                    key: once.key,
                },
                retry,
            );
        }
        loss
    }

    pub(super) fn progress(&mut self, id: HoldId, used: Msat) {
        let Some(hold) = self.holds.get_mut(&id) else {
            return;
        };
        if hold.progress.is_none_or(|before| before < used) {
            hold.progress = Some(used);
            self.changes.progress.push(id);
        }
    }

    /// Ends every open hold of the picture by the rule of recovery: what was recorded as used is
    /// charged, the rest is released. Gives whether and what was charged, hold by hold.
    pub(crate) fn recover(
        &mut self,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Vec<Option<Msat>>, StoreError> {
        self.open_ids()
            .into_iter()
            .map(|id| self.recover_one(id, at, rows))
            .collect()
    }

    pub(super) fn recover_one(
        &mut self,
        id: HoldId,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Option<Msat>, StoreError> {
        let hold = self.holds.get(&id);
        let recorded = hold.and_then(|hold| Some((hold.progress?, hold.amount)));
        let how = recorded.map_or(
            Resolution::Void {
                reason: VoidReason::Recovered,
            },
            |(used, _)| Resolution::Settle { used },
        );
        let measured = recorded.map(|_| Measured::recovered());
        self.resolve(id, how, measured.as_ref(), at, rows)?;
        Ok(recorded.map(|(used, amount)| used.min(amount)))
    }
}
