//! Reading the store in memory.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use farebox_core::{
    AccountId, HoldId, KeyEpoch, KeyHash, MintId, Msat, PaymentHash, PayoutId, ProcessEpoch,
    SwapId, UnixMillis, WithdrawalId,
};
use farebox_ledger::seam::{
    Account, Charge, Entry, Is, Key, Origin, SwapRow, TransferId, WithdrawalRow, shown_voids,
};
use farebox_ledger::{
    AccountName, AccountView, ChangeView, ChargePage, ChargeQuery, ChargeView, CoinState, CoinView,
    Deposit, HeldCall, HeldSummary, KeyView, PayoutState, PayoutView, PendingDeposit, Reader,
    Stock, StoreError, SwapState, SwapView, TransferKind, TransferView, TrialBalance,
    WithdrawalState, WithdrawalView,
};

use super::tables::{Moved, Party, Tables};
use super::trial::trial_balance;
use super::{Shared, State, stock};

pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    epoch: ProcessEpoch,
}

impl MemoryReader {
    pub(super) const fn new(shared: Arc<Shared>, epoch: ProcessEpoch) -> Self {
        Self { shared, epoch }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn swaps(&self, which: impl Fn(&SwapRow) -> bool) -> Vec<SwapView> {
        let state = self.lock();
        let all = state.tables.swaps.iter().filter(|row| which(row));
        all.map(|row| row.view.clone()).collect()
    }

    /// By what they are worth.
    fn coins(&self, which: impl Fn(&CoinView) -> bool) -> Vec<CoinView> {
        let state = self.lock();
        let all = state.tables.coins.values().filter(|coin| which(coin));
        let mut coins: Vec<_> = all.cloned().collect();
        coins.sort_by_key(|coin| (coin.worth, coin.name));
        coins
    }

    fn find_payouts(&self, which: impl Fn(&PayoutView) -> bool) -> Vec<PayoutView> {
        let state = self.lock();
        let all = state.tables.payouts.iter().map(|row| &row.view);
        all.filter(|view| which(view)).cloned().collect()
    }

    fn find_keys(&self, today: u32, which: impl Fn(&KeyView) -> bool) -> Vec<KeyView> {
        let state = self.lock();
        let all = state.tables.entries.iter();
        let views = all.filter_map(|(id, entry)| {
            let (account, key) = entry.key()?;
            Some(key_view(id, account, key, today, &state.tables))
        });
        let mut views: Vec<_> = views.filter(|view| which(view)).collect();
        views.sort_by_key(|view| view.cursor);
        views
    }

    fn waiting(&self, which: impl Fn(&PendingDeposit) -> bool) -> Vec<PendingDeposit> {
        let state = self.lock();
        let all = state.tables.entries.iter().filter_map(|(id, entry)| {
            let Is::Pending {
                key,
                amount,
                expires_at,
            } = entry.is
            else {
                return None;
            };
            Some(PendingDeposit {
                payment_hash: PaymentHash::from_bytes(*id.as_bytes()),
                key: KeyHash::from_bytes(*key.as_bytes()),
                amount,
                expires_at,
            })
        });
        all.filter(|pending| which(pending)).collect()
    }
}

impl Reader for MemoryReader {
    fn account(&mut self, account: AccountId) -> Result<Option<AccountView>, StoreError> {
        let state = self.lock();
        let entry = state.tables.entries.get(&account);
        Ok(entry.and_then(|entry| account_view(&account, entry)))
    }

    fn accounts(&mut self, after: u64, limit: u32) -> Result<Vec<AccountView>, StoreError> {
        let state = self.lock();
        let all = state.tables.entries.iter();
        let mut views: Vec<_> = all
            .filter_map(|(id, entry)| account_view(id, entry))
            .filter(|view| view.cursor > after)
            .collect();
        views.sort_by_key(|view| view.cursor);
        views.truncate(limit as usize);
        Ok(views)
    }

    fn transfers(
        &mut self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, StoreError> {
        let state = self.lock();
        let tables = &state.tables;
        let last = match before {
            Some(id) => tables.transfers.get(&id).and_then(|moved| moved.previous),
            None => {
                let entry = tables.entries.get(&account);
                entry
                    .and_then(Entry::account)
                    .and_then(|it| it.last_transfer)
            }
        };
        let chain = tables.chain(last).into_iter().take(limit as usize);
        Ok(chain
            .filter_map(|id| transfer_view(id, tables.transfers.get(&id)?, tables))
            .collect())
    }

    fn payout(&mut self, id: PayoutId) -> Result<Option<PayoutView>, StoreError> {
        Ok(self.find_payouts(|view| view.id == id).pop())
    }

    fn open_payouts(&mut self) -> Result<Vec<PayoutView>, StoreError> {
        let (epoch, state) = (self.epoch, self.lock());
        let open = state.tables.payouts.iter().filter(|row| {
            row.view.state == PayoutState::Open && state.tables.is_free(row.epoch, epoch)
        });
        Ok(open.map(|row| row.view.clone()).collect())
    }

    fn payouts(&mut self, after: u64, limit: u32) -> Result<Vec<PayoutView>, StoreError> {
        let mut views = self.find_payouts(|view| view.cursor > after);
        views.truncate(limit as usize);
        Ok(views)
    }

    fn payouts_of(
        &mut self,
        account: AccountId,
        limit: u32,
    ) -> Result<Vec<PayoutView>, StoreError> {
        let mut views = self.find_payouts(|view| view.account == account);
        views.reverse();
        views.truncate(limit as usize);
        Ok(views)
    }

    fn newest_claim(&mut self) -> Result<Option<(KeyEpoch, UnixMillis)>, StoreError> {
        let state = self.lock();
        let entries = state.tables.entries.iter();
        let views = entries.filter_map(|(id, entry)| account_view(id, entry));
        Ok(views.map(|view| (view.key_epoch, view.claimed_at)).max())
    }

    fn settlement_cursor(&mut self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().tables.cursors.get(name).copied())
    }

    fn held_call(&mut self, hash: PaymentHash) -> Result<Option<HeldCall>, StoreError> {
        let (id, state) = (hash.account(), self.lock());
        let tables = &state.tables;
        let call = tables
            .entries
            .get(&id)
            .and_then(|entry| entry.call.as_ref());
        Ok(call.map(|row| HeldCall {
            request: tables
                .requests
                .get(&id)
                .map_or_else(Vec::new, |it| it.to_vec()),
            answer: tables.answers.get(&id).map(|it| it.to_vec()),
            ..row.call.clone()
        }))
    }

    fn held_calls(&mut self) -> Result<Vec<HeldSummary>, StoreError> {
        let (epoch, state) = (self.epoch, self.lock());
        let tables = &state.tables;
        let rows = tables
            .entries
            .values()
            .filter_map(|entry| entry.call.as_ref());
        let open = rows.filter(|row| !row.call.state.is_end() && tables.is_free(row.epoch, epoch));
        let mut calls: Vec<_> = open
            .map(|row| HeldSummary {
                payment_hash: row.call.payment_hash,
                state: row.call.state,
                backend: row.call.backend.clone(),
                created_at: row.call.created_at,
                expires_at: row.call.expires_at,
            })
            .collect();
        calls.sort_by_key(|call| call.created_at);
        Ok(calls)
    }

    fn key(&mut self, key: KeyHash, today: u32) -> Result<Option<KeyView>, StoreError> {
        Ok(self.find_keys(today, |view| view.key == key).pop())
    }

    fn key_by_public_id(&mut self, id: &str, today: u32) -> Result<Option<KeyView>, StoreError> {
        Ok(self.find_keys(today, |view| view.public_id == id).pop())
    }

    fn key_names(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, KeyHash)>, StoreError> {
        let mut views = self.find_keys(0, |view| view.cursor > after);
        views.truncate(limit as usize);
        Ok(views.iter().map(|view| (view.cursor, view.key)).collect())
    }

    fn keys(&mut self, after: u64, limit: u32, today: u32) -> Result<Vec<KeyView>, StoreError> {
        let mut views = self.find_keys(today, |view| view.cursor > after);
        views.truncate(limit as usize);
        Ok(views)
    }

    fn children(
        &mut self,
        parent: KeyHash,
        after: u64,
        limit: u32,
        today: u32,
    ) -> Result<Vec<KeyView>, StoreError> {
        let is_next = |view: &KeyView| view.parent == Some(parent) && view.cursor > after;
        let mut children = self.find_keys(today, is_next);
        children.truncate(limit as usize);
        Ok(children)
    }

    fn pending_deposits(
        &mut self,
        key: Option<KeyHash>,
    ) -> Result<Vec<PendingDeposit>, StoreError> {
        Ok(self.waiting(|pending| key.is_none_or(|key| pending.key == key)))
    }

    fn deposits_of(&mut self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, StoreError> {
        let state = self.lock();
        let of_key = state.tables.entries.iter().filter_map(|(id, entry)| {
            let Is::Deposited {
                key: of,
                amount,
                at,
            } = entry.is
            else {
                return None;
            };
            (of == key.account()).then(|| Deposit {
                payment_hash: PaymentHash::from_bytes(*id.as_bytes()),
                amount,
                at,
            })
        });
        let mut deposits: Vec<_> = of_key.collect();
        deposits.sort_by_key(|deposit| std::cmp::Reverse(deposit.amount));
        deposits.truncate(limit as usize);
        Ok(deposits)
    }

    fn pending_deposit(&mut self, hash: PaymentHash) -> Result<Option<PendingDeposit>, StoreError> {
        Ok(self.waiting(|pending| pending.payment_hash == hash).pop())
    }

    fn charge(&mut self, hold: HoldId) -> Result<Option<ChargeView>, StoreError> {
        let state = self.lock();
        let tables = &state.tables;
        Ok(charge_view(hold, tables))
    }

    fn charges(&mut self, query: &ChargeQuery, limit: u32) -> Result<ChargePage, StoreError> {
        let state = self.lock();
        let tables = &state.tables;
        let settled = tables.transfers.iter().rev();
        let settled = settled.filter(|(_, moved)| moved.kind == TransferKind::Settle);
        let ids = settled.map(|(id, _)| HoldId::from_bytes(*id));
        let before = |id: &HoldId| query.before.is_none_or(|before| *id < before);
        let views = ids.filter(before).filter_map(|id| charge_view(id, tables));
        let charges: Vec<_> = views
            .filter(|view| is_asked_for(view, query))
            .take(limit as usize)
            .collect();
        let is_full = charges.len() == limit as usize;
        let next = charges.last().filter(|_| is_full).map(|last| last.hold);
        Ok(ChargePage { charges, next })
    }

    fn change(&mut self, account: AccountId) -> Result<Option<ChangeView>, StoreError> {
        let state = self.lock();
        let found = state.tables.change.get(&account);
        Ok(found.map(|row| row.view.clone()))
    }

    fn owed_change(&mut self) -> Result<Vec<ChangeView>, StoreError> {
        let (epoch, state) = (self.epoch, self.lock());
        let owed = state.tables.change.values();
        let owed = owed.filter(|row| !row.view.owed.is_zero());
        let free = owed.filter(|row| state.tables.is_free(row.epoch, epoch));
        let mut views: Vec<_> = free.map(|row| row.view.clone()).collect();
        views.sort_by_key(|view| view.since);
        Ok(views)
    }

    fn swap(&mut self, id: SwapId) -> Result<Option<SwapView>, StoreError> {
        Ok(self.swaps(|row| row.view.id == id).pop())
    }

    fn swap_of(&mut self, account: AccountId) -> Result<Option<SwapView>, StoreError> {
        let is = |row: &SwapRow| row.view.account == account && !row.view.state.came_to_nothing();
        Ok(self.swaps(is).pop())
    }

    fn open_swaps(&mut self) -> Result<Vec<SwapView>, StoreError> {
        let (epoch, state) = (self.epoch, self.lock());
        let open = |row: &&SwapRow| {
            row.view.state == SwapState::Open && state.tables.is_free(row.epoch, epoch)
        };
        let swaps = state.tables.swaps.iter().filter(open);
        Ok(swaps.map(|row| row.view.clone()).collect())
    }

    fn vain_swaps(
        &mut self,
        mint: MintId,
        span: Range<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<SwapView>, StoreError> {
        let mut swaps = self.swaps(|row| row.view.state.came_to_nothing());
        let is_in = |at: UnixMillis| span.contains(&at);
        swaps.retain(|view| view.mint == mint && view.ended_at.is_some_and(is_in));
        swaps.sort_by_key(|view| view.ended_at);
        swaps.truncate(limit as usize);
        Ok(swaps)
    }

    fn coins_of(&mut self, account: AccountId) -> Result<Vec<CoinView>, StoreError> {
        let swaps = self.swaps(|row| row.view.account == account);
        Ok(self.coins(|coin| swaps.iter().any(|swap| swap.id == coin.made_by)))
    }

    fn reserved_accounts(
        &mut self,
        mint: MintId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, AccountId)>, StoreError> {
        let reserved = self.coins(|coin| coin.state == CoinState::Reserved);
        let has_coins = |row: &SwapRow| reserved.iter().any(|it| it.made_by == row.view.id);
        let state = self.lock();
        let numbered = (1_u64..).zip(&state.tables.swaps);
        let found = numbered
            .filter(|(number, row)| *number > after && row.view.mint == mint && has_coins(row));
        let found = found.map(|(number, row)| (number, row.view.account));
        Ok(found.take(limit as usize).collect())
    }

    fn withdrawal(&mut self, id: WithdrawalId) -> Result<Option<WithdrawalView>, StoreError> {
        let state = self.lock();
        let found = state
            .tables
            .withdrawals
            .iter()
            .find(|row| row.view.id == id);
        Ok(found.map(|row| row.view.clone()))
    }

    fn withdrawals(&mut self, limit: u32) -> Result<Vec<WithdrawalView>, StoreError> {
        let state = self.lock();
        let latest = state.tables.withdrawals.iter().rev().take(limit as usize);
        Ok(latest.map(|row| row.view.clone()).collect())
    }

    fn open_withdrawals(&mut self) -> Result<Vec<WithdrawalView>, StoreError> {
        let (epoch, state) = (self.epoch, self.lock());
        let open = |row: &&WithdrawalRow| {
            row.view.state == WithdrawalState::Open && state.tables.is_free(row.epoch, epoch)
        };
        let found = state.tables.withdrawals.iter().filter(open);
        Ok(found.map(|row| row.view.clone()).collect())
    }

    fn stock(&mut self) -> Result<Vec<Stock>, StoreError> {
        let state = self.lock();
        Ok(stock::stock(&state.tables))
    }

    fn free_coins(&mut self, mint: MintId, limit: u32) -> Result<Vec<CoinView>, StoreError> {
        let is_free = |coin: &CoinView| coin.state == CoinState::Free && coin.name.mint == mint;
        let mut coins = self.coins(is_free);
        coins.sort_by_key(|coin| (std::cmp::Reverse(coin.worth), coin.name));
        coins.truncate(limit as usize);
        Ok(coins)
    }

    fn trial_balance(&mut self) -> Result<TrialBalance, StoreError> {
        Ok(trial_balance(&self.lock().tables))
    }
}

fn account_view(id: &AccountId, entry: &Entry) -> Option<AccountView> {
    let (account, terms) = entry.claimed()?;
    let Origin::Payment { key_epoch, .. } = account.origin else {
        return None;
    };
    let held = account.held.msat.checked_add(account.held.excess);
    Some(AccountView {
        cursor: account.row.unsigned_abs(),
        account: *id,
        key_epoch,
        terms: terms.clone(),
        balance: account.balance,
        excess: account.excess,
        held: held.unwrap_or(Msat::MAX),
        calls_used: account.calls_used,
        calls_held: account.held.calls,
        voids: shown_voids(account.voids),
        claimed_at: account.claimed_at,
        expires_at: account.expires_at,
        revoked_at: account.revoked_at,
    })
}

fn key_view(id: &AccountId, account: &Account, key: &Key, today: u32, tables: &Tables) -> KeyView {
    let on = key.days.get(&today).copied().unwrap_or_default();
    let deposits = tables.entries.values().filter_map(|entry| match entry.is {
        Is::Deposited { key, amount, .. } if key == *id => Some(amount.get()),
        _ => None,
    });
    let is_child = key.parent.is_some();
    KeyView {
        cursor: account.row.unsigned_abs(),
        key: KeyHash::from_bytes(*id.as_bytes()),
        public_id: key.public_id.to_string(),
        parent: key
            .parent
            .map(|parent| KeyHash::from_bytes(*parent.as_bytes())),
        note: key.note.clone(),
        created_at: account.claimed_at,
        funded_at: key.funded_at,
        revoked_at: account.revoked_at,
        deposited: Msat::new(deposits.sum()).unwrap_or(Msat::MAX),
        balance: account.balance,
        held: if is_child {
            key.held
        } else {
            account.held.msat
        },
        spent: key.spent,
        spent_today: on.spent,
        held_today: on.held,
        calls: account.calls_used,
        voids: shown_voids(account.voids),
        limits: key.limits.clone(),
    }
}

fn name(party: &Party, tables: &Tables) -> AccountName {
    match party {
        Party::House(name) => AccountName::House(name.to_string()),
        Party::Payer(id) if tables.entries.get(id).is_some_and(|it| it.key().is_some()) => {
            AccountName::Key(KeyHash::from_bytes(*id.as_bytes()))
        }
        Party::Payer(id) => AccountName::Payer(*id),
    }
}

fn transfer_view(id: TransferId, moved: &Moved, tables: &Tables) -> Option<TransferView> {
    Some(TransferView {
        id,
        debit: name(&moved.debit, tables),
        credit: name(&moved.credit, tables),
        amount: moved.amount,
        kind: moved.kind,
        at: moved.at,
    })
}

fn charge_view(hold: HoldId, tables: &Tables) -> Option<ChargeView> {
    let details: Option<&Charge> = tables.charges.get(&hold);
    let settled = tables.transfers.get(hold.as_bytes());
    let settled = settled.filter(|moved| moved.kind == TransferKind::Settle);
    let payer = match (details, settled) {
        (Some(charge), _) => Party::Payer(charge.facts.payer),
        (None, Some(moved)) => moved.debit.clone(),
        (None, None) => return None,
    };
    let route = match (details, settled.map(|moved| &moved.credit)) {
        (Some(charge), _) => charge.route.clone(),
        (None, Some(Party::House(farebox_ledger::seam::HouseName::Revenue(route)))) => {
            route.clone()
        }
        _ => return None,
    };
    let charged = settled.map(|moved| moved.amount);
    let measured = details.and_then(|charge| charge.measured.as_ref());
    let usage = measured.map_or(&[][..], |it| it.usage.as_slice()).iter();
    Some(ChargeView {
        hold,
        account: name(&payer, tables),
        asker: details.and_then(|charge| charge.facts.child()),
        route,
        at: settled
            .map(|moved| moved.at)
            .or(details.map(|charge| charge.at))?,
        held: details.map(|charge| charge.held),
        used: details
            .map(|charge| charge.used)
            .or(charged)
            .unwrap_or_default(),
        charged: charged.unwrap_or_default(),
        released: charged.is_none(),
        basis: details
            .and_then(|charge| charge.basis.as_deref().cloned())
            .unwrap_or_default(),
        terminal: measured.map(|it| it.terminal.to_owned()),
        usage: usage
            .map(|(class, count)| ((*class).to_owned(), *count))
            .collect(),
        quantity: measured.and_then(|it| it.quantity.clone()),
    })
}

fn is_asked_for(view: &ChargeView, query: &ChargeQuery) -> bool {
    let at = admitted_at(view.hold);
    let of_account = query.account.as_ref().is_none_or(|account| {
        let of_child = |key: &KeyHash| *account == AccountName::Key(*key);
        view.account == *account || view.asker.as_ref().is_some_and(of_child)
    });
    of_account
        && query
            .route
            .as_ref()
            .is_none_or(|route| view.route == *route)
        && query.since.is_none_or(|since| at >= since.get())
        && query.until.is_none_or(|until| at < until.get())
}

/// The instant with which an id begins.
fn admitted_at(hold: HoldId) -> u64 {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&hold.as_bytes()[..6]);
    u64::from_be_bytes(millis)
}
