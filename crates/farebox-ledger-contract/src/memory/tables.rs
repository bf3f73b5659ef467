//! The rows of the store in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{
    AccountId, HoldId, KeyHash, Msat, PaymentHash, ProcessEpoch, SwapId, UnixMillis,
};
use farebox_ledger::seam::{
    Account, Body, ChangeRow, Changes, Charge, Closed, Day, Entry, HouseName, Is, Name, OnceName,
    OnceRow, OnceState, OpenHold, PayoutGate, PayoutRow, PruneStep, Rows, Side, SwapRow, Totals,
    TransferId, Unsaved, WithdrawalRow,
};
use farebox_ledger::{
    CoinName, CoinState, CoinView, HeldState, PayoutState, Rail, SwapView, TransferKind,
};

const HOUR: u64 = 60 * 60;
const ANSWER_KEEP: Duration = Duration::from_secs(25 * HOUR);
const UNCLAIMED_KEEP: Duration = Duration::from_secs(365 * 24 * HOUR);
const VAIN_KEEP: Duration = Duration::from_secs(8 * 24 * HOUR);
const PENDING_KEEP: Duration = Duration::from_secs(7 * 24 * HOUR);

/// One side of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Payer(AccountId),
    House(HouseName),
}

/// A transfer as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) debit: Party,
    pub(super) credit: Party,
    pub(super) amount: Msat,
    pub(super) kind: TransferKind,
    pub(super) at: UnixMillis,
    pub(super) previous: Option<TransferId>,
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) entries: HashMap<AccountId, Entry>,
    pub(super) holds: BTreeMap<HoldId, OpenHold>,
    onces: HashMap<OnceName, OnceRow>,
    /// By their cursor, from 1.
    pub(super) payouts: Vec<PayoutRow>,
    public_ids: HashMap<Box<str>, AccountId>,
    pub(super) change: HashMap<AccountId, ChangeRow>,
    /// In the order in which they were begun.
    pub(super) swaps: Vec<SwapRow>,
    received: HashMap<CoinName, SwapId>,
    pub(super) coins: BTreeMap<CoinName, CoinView>,
    pub(super) withdrawals: Vec<WithdrawalRow>,
    /// The shards of the house's accounts; those of closed runs are folded into run 0.
    pub(super) house: BTreeMap<(HouseName, u32), i64>,
    pub(super) transfers: BTreeMap<TransferId, Moved>,
    pub(super) charges: BTreeMap<HoldId, Charge>,
    pub(super) requests: HashMap<AccountId, Arc<[u8]>>,
    pub(super) answers: HashMap<AccountId, Arc<[u8]>>,
    pub(super) cursors: HashMap<String, u64>,
    epoch: u32,
    open: BTreeSet<u32>,
    next_row: i64,
    summaries: u64,
}

impl Tables {
    pub(super) fn open_epoch(&mut self) -> ProcessEpoch {
        self.epoch += 1;
        self.open.insert(self.epoch);
        ProcessEpoch(self.epoch)
    }

    /// Closes a run for ever, and folds its shards.
    pub(super) fn close_epoch(&mut self, epoch: ProcessEpoch) {
        self.open.remove(&epoch.0);
        let shards = std::mem::take(&mut self.house);
        for ((name, run), balance) in shards {
            let run = if run == epoch.0 { 0 } else { run };
            *self.house.entry((name, run)).or_default() += balance;
        }
    }

    /// Whether what this run owns may be taken by another one, `by`.
    pub(super) fn is_free(&self, owner: ProcessEpoch, by: ProcessEpoch) -> bool {
        owner == by || !self.open.contains(&owner.0)
    }

    pub(super) fn parent(&self, id: &AccountId) -> Option<AccountId> {
        self.entries.get(id)?.key()?.1.parent
    }

    pub(super) fn fill_house(&self, epoch: ProcessEpoch, rows: &mut Rows) {
        for ((name, run), balance) in &self.house {
            let place = rows.place(name);
            if let Some(house) = rows.house_mut(place).filter(|_| *run == epoch.0) {
                house.balance = *balance;
            }
        }
    }

    pub(super) fn totals(&self, epoch: ProcessEpoch) -> Totals {
        let own = self.holds.values().filter(|hold| hold.epoch == epoch);
        let calls = self
            .entries
            .values()
            .filter_map(|entry| entry.call.as_ref());
        let open: Vec<_> = calls.filter(|row| !row.call.state.is_end()).collect();
        let pending = self.entries.values();
        let pending = pending.filter(|entry| matches!(entry.is, Is::Pending { .. }));
        Totals {
            open_holds: own.count(),
            calls: count(open.len()),
            call_bytes: open.iter().map(|row| row.bytes).sum(),
            pending: count(pending.count()),
        }
    }

    pub(super) fn abandoned(&self, limit: usize) -> Vec<(HoldId, OpenHold)> {
        let closed = |hold: &&OpenHold| !self.open.contains(&hold.epoch.0);
        let all = self.holds.iter().filter(|(_, hold)| closed(hold));
        all.take(limit)
            .map(|(id, hold)| (*id, hold.clone()))
            .collect()
    }

    pub(super) fn load(&self, names: &[Name], rows: &mut Rows) {
        for name in names {
            match name {
                Name::Account(id) => self.load_entry(id, rows),
                Name::Use(id, day) => self.load_entry_on(id, *day, rows),
                Name::Asker(id, day) => {
                    self.load_entry_on(id, *day, rows);
                    if let Some(parent) = self.parent(id) {
                        self.load_entry_on(&parent, *day, rows);
                    }
                }
                Name::Hold(id) => {
                    if let Some(hold) = self.holds.get(id) {
                        rows.holds.insert(*id, hold.clone());
                    } else if self.transfers.contains_key(id.as_bytes()) {
                        rows.ended.insert(*id);
                    }
                }
                Name::Once(id, key) => {
                    if let Some(row) = self.onces.get(&(*id, *key)) {
                        rows.onces.insert((*id, *key), *row);
                    }
                }
                Name::Payout(id) => self.load_payout(|row| row.view.id == *id, rows),
                Name::Outgoing(hash) => {
                    self.load_payout(|row| row.view.destination_hash == *hash, rows);
                }
                Name::PublicId(public_id) => {
                    if let Some(id) = self.public_ids.get(public_id) {
                        rows.public_ids.insert(public_id.clone(), *id);
                    }
                }
                Name::PayoutGate(id, since) => rows.gate = Some(self.gate(id, *since)),
                Name::Change(account) => {
                    let row = self.change.get(account);
                    rows.change.extend(row.map(|row| (*account, row.clone())));
                }
                Name::Swap(id) => self.load_swap(id, rows),
                Name::Received(coin) => {
                    if let Some(id) = self.received.get(coin) {
                        rows.received.insert(*coin, *id);
                        self.load_swap(id, rows);
                    }
                }
                Name::Withdrawal(id) => {
                    let row = self.withdrawals.iter().find(|row| row.view.id == *id);
                    rows.withdrawals.extend(row.map(|row| (*id, row.clone())));
                }
                Name::Coin(name) => {
                    let coin = self.coins.get(name);
                    rows.coins.extend(coin.map(|coin| (*name, coin.clone())));
                }
            }
        }
    }

    fn load_entry(&self, id: &AccountId, rows: &mut Rows) {
        if rows.entry(id).is_none() {
            let mut entry = self.entries.get(id).cloned().unwrap_or_default();
            if let Some(key) = entry.account_mut().and_then(Account::key_mut) {
                key.days.clear();
            }
            rows.put(*id, entry);
        }
    }

    /// The same, with what counts on a day.
    fn load_entry_on(&self, id: &AccountId, day: Day, rows: &mut Rows) {
        self.load_entry(id, rows);
        let known = self.entries.get(id).and_then(Entry::key);
        let on = known.and_then(|(_, key)| key.days.get(&day).copied());
        let entry = rows.entry_mut(id).and_then(Entry::account_mut);
        if let Some(key) = entry.and_then(Account::key_mut) {
            key.days.entry(day).or_insert(on.unwrap_or_default());
        }
    }

    fn load_payout(&self, is: impl Fn(&&PayoutRow) -> bool, rows: &mut Rows) {
        if let Some(row) = self.payouts.iter().find(is) {
            let view = &row.view;
            rows.outgoing.insert(view.destination_hash, view.id);
            rows.payouts.insert(view.id, row.clone());
        }
    }

    fn load_swap(&self, id: &SwapId, rows: &mut Rows) {
        let row = self.swaps.iter().find(|row| row.view.id == *id);
        rows.swaps.extend(row.map(|row| (*id, row.clone())));
    }

    fn write_swaps(&mut self, rows: &Rows, changes: &Changes) {
        for id in &changes.swaps {
            let known = self.swaps.iter().position(|known| known.view.id == *id);
            match (rows.swaps.get(id), known) {
                (Some(row), Some(known)) => self.swaps[known] = row.clone(),
                (Some(row), None) => self.swaps.push(row.clone()),
                (None, Some(known)) => drop(self.swaps.remove(known)),
                (None, None) => {}
            }
        }
        for coin in &changes.received {
            match rows.received.get(coin) {
                Some(id) => self.received.insert(*coin, *id),
                None => self.received.remove(coin),
            };
        }
        for name in &changes.coins {
            match rows.coins.get(name) {
                Some(coin) => self.coins.insert(*name, coin.clone()),
                None => self.coins.remove(name),
            };
        }
        let withdrawals = changes.withdrawals.iter();
        for row in withdrawals.filter_map(|id| rows.withdrawals.get(id)) {
            let id = row.view.id;
            match self.withdrawals.iter_mut().find(|it| it.view.id == id) {
                Some(known) => *known = row.clone(),
                None => self.withdrawals.push(row.clone()),
            }
        }
    }

    /// Whether the coins of each unit of a mint are worth what its clearing account says.
    pub(super) fn miscounted_coins(&self) -> u64 {
        let mut worth: BTreeMap<String, i64> = BTreeMap::new();
        for ((name, _), balance) in &self.house {
            if let HouseName::Clearing(rail @ Rail::Ecash(_)) = name {
                *worth.entry(rail.to_string()).or_default() += balance;
            }
        }
        for coin in self
            .coins
            .values()
            .filter(|coin| coin.state != CoinState::Given)
        {
            let rail = Rail::Ecash(coin.name.mint).to_string();
            *worth.entry(rail).or_default() += coin.worth.get().cast_signed();
        }
        worth.values().filter(|sum| **sum != 0).count() as u64
    }

    fn gate(&self, id: &AccountId, since: UnixMillis) -> PayoutGate {
        let mut gate = PayoutGate::default();
        for view in self.payouts.iter().map(|row| &row.view) {
            let is_open = view.state == PayoutState::Open;
            let is_paid = view.state == PayoutState::Paid && view.ended_at > Some(since);
            gate.open += u32::from(is_open);
            let out = if is_open || is_paid {
                view.amount.get()
            } else {
                0
            };
            gate.total += out;
            gate.own += if view.account == *id { out } else { 0 };
            gate.begun += u64::from(view.account == *id && view.asked_at > since);
        }
        gate
    }

    pub(super) fn write(&mut self, rows: &mut Rows, changes: &Changes, epoch: ProcessEpoch) {
        for id in changes.entries.iter().chain(&changes.held) {
            if let Some(entry) = rows.entry_mut(id) {
                self.write_entry(*id, entry);
            }
        }
        self.write_holds(rows, changes);
        for name in &changes.onces {
            match rows.onces.get(name) {
                Some(row) if !matches!(row.state, OnceState::Released) => {
                    self.onces.insert(*name, *row);
                }
                _ => drop(self.onces.remove(name)),
            }
        }
        for row in changes.payouts.iter().filter_map(|id| rows.payouts.get(id)) {
            self.write_payout(row.clone());
        }
        for row in changes.change.iter().filter_map(|id| rows.change.get(id)) {
            self.change.insert(row.view.account, row.clone());
        }
        self.write_swaps(rows, changes);
        for (id, body) in &changes.bodies {
            match body {
                Body::Request(bytes) => self.requests.insert(*id, Arc::clone(bytes)),
                Body::Answer(bytes) => self.answers.insert(*id, Arc::clone(bytes)),
            };
        }
        for house in changes.house.iter().filter_map(|place| rows.house(*place)) {
            *self.house.entry((house.name.clone(), epoch.0)).or_default() += house.added;
        }
        for transfer in &changes.transfers {
            let party = |side| match side {
                Side::Payer(id) => Some(Party::Payer(id)),
                Side::House(place) => rows.house(place).map(|h| Party::House(h.name.clone())),
            };
            if let (Some(debit), Some(credit)) = (party(transfer.debit), party(transfer.credit)) {
                let moved = Moved {
                    debit,
                    credit,
                    amount: transfer.amount,
                    kind: transfer.kind,
                    at: transfer.at,
                    previous: transfer.previous,
                };
                let before = self.transfers.insert(transfer.id, moved);
                assert!(before.is_none(), "a transfer's id is its own");
            }
        }
        self.charges.extend(
            changes
                .charges
                .iter()
                .map(|charge| (charge.id, charge.clone())),
        );
        self.cursors.extend(changes.cursors.iter().cloned());
        let mut net = BTreeMap::new();
        for removed in &changes.removed {
            self.remove(&removed.id, &removed.account, &mut net);
        }
        if let Some(removed) = changes.removed.last() {
            self.summarise(&net, removed.at);
        }
    }

    fn write_entry(&mut self, id: AccountId, entry: &mut Entry) {
        entry.unsaved = Unsaved::default();
        if let Some(account) = entry.account_mut() {
            if account.row == 0 {
                self.next_row += 1;
                account.row = self.next_row;
            }
            if let Some(key) = account.key() {
                self.public_ids.insert(key.public_id.clone(), id);
            }
        }
        if let Some(row) = &entry.call
            && row.call.state.is_end()
        {
            self.requests.remove(&id);
            if row.call.state == HeldState::Canceled {
                self.answers.remove(&id);
            }
        }
        let mut entry = entry.clone();
        // Of its days only those that were named are loaded.
        let before = self.entries.get(&id).and_then(Entry::key);
        let key = entry.account_mut().and_then(Account::key_mut);
        if let (Some((_, before)), Some(key)) = (before, key) {
            for (day, on) in &before.days {
                key.days.entry(*day).or_insert(*on);
            }
        }
        self.entries.insert(id, entry);
    }

    fn write_holds(&mut self, rows: &Rows, changes: &Changes) {
        let moved = changes.holds.iter().chain(&changes.progress);
        for id in moved {
            if let Some(hold) = rows.holds.get(id) {
                self.holds.insert(*id, hold.clone());
            }
        }
        for (id, _) in &changes.ended {
            self.holds.remove(id);
        }
    }

    fn write_payout(&mut self, mut row: PayoutRow) {
        let known = self
            .payouts
            .iter_mut()
            .find(|known| known.view.id == row.view.id);
        if let Some(known) = known {
            *known = row;
        } else {
            row.view.cursor = self.payouts.len() as u64 + 1;
            self.payouts.push(row);
        }
    }

    /// The chain of an account's transfers, the latest first.
    pub(super) fn chain(&self, last: Option<TransferId>) -> Vec<TransferId> {
        std::iter::successors(last, |id| self.transfers.get(id)?.previous).collect()
    }

    fn remove(&mut self, id: &AccountId, account: &Account, net: &mut BTreeMap<Party, i64>) {
        for transfer in self.chain(account.last_transfer) {
            self.charges.remove(&HoldId::from_bytes(transfer));
            if let Some(moved) = self.transfers.remove(&transfer) {
                let amount = moved.amount.get().cast_signed();
                *net.entry(moved.debit).or_default() -= amount;
                *net.entry(moved.credit).or_default() += amount;
            }
        }
        self.onces.retain(|(asker, _), _| asker != id);
        self.change.remove(id);
        let swaps: Vec<_> = self
            .swaps
            .iter()
            .filter(|row| row.view.account == *id)
            .collect();
        let gone: BTreeSet<_> = swaps.iter().map(|row| row.view.id).collect();
        self.received.retain(|_, swap| !gone.contains(swap));
        self.coins
            .retain(|_, coin| coin.state != CoinState::Given || !gone.contains(&coin.made_by));
        self.swaps.retain(|row| row.view.account != *id);
        self.charges
            .retain(|_, charge| charge.charged.is_some() || charge.facts.payer != *id);
        if let Some(key) = account.key() {
            self.public_ids.remove(&key.public_id);
        }
    }

    fn summarise(&mut self, net: &BTreeMap<Party, i64>, at: UnixMillis) {
        let mut givers: Vec<_> = net.iter().filter(|(_, sum)| **sum < 0).collect();
        let mut takers: Vec<_> = net.iter().filter(|(_, sum)| **sum > 0).collect();
        let (mut given, mut taken) = (0, 0);
        while let (Some(giver), Some(taker)) = (givers.last(), takers.last()) {
            let amount = (-giver.1 - given).min(taker.1 - taken);
            self.summaries += 1;
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&self.summaries.to_be_bytes());
            let moved = Moved {
                debit: giver.0.clone(),
                credit: taker.0.clone(),
                amount: Msat::new(amount.unsigned_abs()).unwrap_or(Msat::MAX),
                kind: TransferKind::Summary,
                at,
                previous: None,
            };
            self.transfers.insert(id, moved);
            (given, taken) = (given + amount, taken + amount);
            if given == -giver.1 {
                givers.pop();
                given = 0;
            }
            if taken == *taker.1 {
                takers.pop();
                taken = 0;
            }
        }
    }

    pub(super) fn forget(&mut self, step: PruneStep) -> u64 {
        let old = before(step.now, ANSWER_KEEP);
        let entries = &self.entries;
        self.answers.retain(|id, _| {
            let call = entries.get(id).and_then(|entry| entry.call.as_ref());
            call.is_some_and(|row| row.ended_at.is_none_or(|at| at >= old))
        });
        let vain = before(step.now, VAIN_KEEP);
        let is_old = |view: &SwapView| view.state.came_to_nothing() && view.ended_at < Some(vain);
        self.swaps.retain(|row| !is_old(&row.view));
        let all = self.onces.len();
        self.onces.retain(|_, row| match row.state {
            OnceState::Settled(receipt) => receipt.settled_at >= step.before,
            OnceState::Open | OnceState::Released => true,
        });
        (all - self.onces.len()) as u64
    }

    pub(super) fn find_closed(&self, step: PruneStep) -> Closed {
        let calls = before(step.now, ANSWER_KEEP).min(step.before);
        let unclaimed = before(step.now, UNCLAIMED_KEEP).min(step.before);
        let pending = before(step.now, PENDING_KEEP);
        let mut closed = Closed {
            stays: (calls, unclaimed),
            ..Closed::default()
        };
        for (id, entry) in &self.entries {
            let ended_at = entry.call.as_ref().and_then(|row| row.ended_at);
            let noted_at = entry.received.map(|(_, at)| at);
            if ended_at.is_some_and(|at| at < calls) || noted_at.is_some_and(|at| at < unclaimed) {
                closed.past.push(*id);
            }
            if let Is::Pending {
                key, expires_at, ..
            } = entry.is
                && expires_at < pending
            {
                let payment = PaymentHash::from_bytes(*id.as_bytes());
                closed
                    .unpaid
                    .push((payment, KeyHash::from_bytes(*key.as_bytes())));
            }
            if let Some((_, key)) = entry.key() {
                closed.keys.push((*id, key.parent));
            }
            if let Some((account, terms)) = entry.claimed() {
                closed
                    .accounts
                    .extend(self.closed(id, account, terms, step));
            }
        }
        closed
    }

    fn closed(
        &self,
        id: &AccountId,
        account: &Account,
        terms: &farebox_core::Terms,
        step: PruneStep,
    ) -> Option<(AccountId, TransferId, u64)> {
        use farebox_core::Kind;
        let last = account.last_transfer?;
        let is_over = match terms.kind {
            Kind::Single => account.calls_used >= 1,
            Kind::Calls(calls) => account.calls_used >= calls,
            Kind::Pass(_) => false,
            Kind::Balance => true,
        } || account.expires_at < step.before;
        let owes = |row: &ChangeRow| !row.view.owed.is_zero();
        let is_old = self.transfers.get(&last)?.at < step.before;
        let is_closed = account.balance.is_zero()
            && is_old
            && is_over
            && !self.change.get(id).is_some_and(owes);
        is_closed.then(|| (*id, last, self.chain(Some(last)).len() as u64))
    }
}

fn before(now: UnixMillis, span: Duration) -> UnixMillis {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(span))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
