//! The working set: rows that are loaded, and what a batch changed of them.
//!
//! An exclusive store keeps them from batch to batch, since nobody else writes; a shared one has
//! them loaded, and locked, for each batch anew.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use farebox_core::{
    AccountId, HoldId, Msat, PaymentHash, PayoutId, SwapId, UnixMillis, WithdrawalId,
};
use lru::LruCache;

use crate::day::Day;
use crate::name::{HouseName, Name};
use crate::rows::{
    Account, Body, Charge, Entry, HoldFacts, OnceRow, OnceState, OpenHold, PayoutGate, PayoutRow,
    Transfer, Unsaved,
};
use crate::store::StoreError;
use crate::swap::{ChangeRow, CoinName, CoinView, SwapRow};
use crate::withdrawal::WithdrawalRow;

/// Days of one key that are kept; more than ever have open holds at once, but by a clock that is set
/// to and fro.
const MAX_DAYS: usize = 8;

/// What a request is sold once under: the account that asks, and the key of its client.
pub type OnceName = (AccountId, [u8; 32]);

/// Rows that are loaded. What was named and is not here does not exist.
#[derive(Debug)]
pub struct Rows {
    entries: LruCache<AccountId, Entry>,
    /// Open holds.
    pub holds: HashMap<HoldId, OpenHold>,
    /// Of the holds that a batch names, those that ended: nothing is kept of them after it.
    pub ended: HashSet<HoldId>,
    /// What is sold once.
    pub onces: HashMap<OnceName, OnceRow>,
    /// Payouts.
    pub payouts: HashMap<PayoutId, PayoutRow>,
    /// Payouts by the outgoing invoice.
    pub outgoing: HashMap<PaymentHash, PayoutId>,
    /// Keys by public name.
    pub public_ids: HashMap<Box<str>, AccountId>,
    /// What counts against the limits of payouts, for the one command that named it.
    pub gate: Option<PayoutGate>,
    /// Change that is owed or was told, by its account.
    pub change: HashMap<AccountId, ChangeRow>,
    /// Swaps, those of coins that were received among them.
    pub swaps: HashMap<SwapId, SwapRow>,
    /// The swap that a coin was received for.
    pub received: HashMap<CoinName, SwapId>,
    /// Coins of ours.
    pub coins: HashMap<CoinName, CoinView>,
    /// Withdrawals.
    pub withdrawals: HashMap<WithdrawalId, WithdrawalRow>,
    house: Vec<House>,
    house_of: HashMap<HouseName, usize>,
}

/// A writer's shard of one of the house's accounts.
#[derive(Clone, Debug)]
pub struct House {
    /// Which.
    pub name: HouseName,
    /// What the shard stands at.
    pub balance: i64,
    /// What of it this batch added.
    pub added: i64,
    /// The store's own number for it; 0 before it is written.
    pub row: i64,
}

/// An account that goes.
#[derive(Debug)]
pub struct Removed {
    /// Its name.
    pub id: AccountId,
    /// As it was.
    pub account: Box<Account>,
    /// When: the time of what its transfers are replaced by.
    pub at: UnixMillis,
}

/// What a batch changed. Rows are named and read from [`Rows`], so that any number of changes to one
/// row is one write.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries of which more changed than what is held.
    pub entries: Vec<AccountId>,
    /// Entries of which only what is held changed: nothing to write for a store that adds up open
    /// holds when it opens.
    pub held: Vec<AccountId>,
    /// What counts against keys on a day.
    pub days: Vec<(AccountId, Day)>,
    /// New holds; some may have ended already.
    pub holds: Vec<HoldId>,
    /// Holds whose recorded progress went up; some may have ended already.
    pub progress: Vec<HoldId>,
    /// Ended holds, with the store's number.
    pub ended: Vec<(HoldId, i64)>,
    /// What is sold once.
    pub onces: Vec<OnceName>,
    /// Payouts, begun or ended.
    pub payouts: Vec<PayoutId>,
    /// Change, owed or told.
    pub change: Vec<AccountId>,
    /// Swaps, begun or ended.
    pub swaps: Vec<SwapId>,
    /// Coins that were received, or are not any more.
    pub received: Vec<CoinName>,
    /// Coins of ours.
    pub coins: Vec<CoinName>,
    /// Withdrawals, begun or ended.
    pub withdrawals: Vec<WithdrawalId>,
    /// Parts of held calls to keep.
    pub bodies: Vec<(AccountId, Body)>,
    /// Held calls that are forgotten.
    pub calls: Vec<AccountId>,
    /// Shards of the house's accounts, by their place.
    pub house: Vec<usize>,
    /// New transfers.
    pub transfers: Vec<Transfer>,
    /// Details of ended holds.
    pub charges: Vec<Charge>,
    /// Accounts that were closed or never paid for: what is kept of them goes.
    pub removed: Vec<Removed>,
    /// How far the settlements of backends were read.
    pub cursors: Vec<(String, u64)>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            entries: LruCache::unbounded(),
            holds: HashMap::new(),
            ended: HashSet::new(),
            onces: HashMap::new(),
            payouts: HashMap::new(),
            outgoing: HashMap::new(),
            public_ids: HashMap::new(),
            gate: None,
            change: HashMap::new(),
            swaps: HashMap::new(),
            received: HashMap::new(),
            coins: HashMap::new(),
            withdrawals: HashMap::new(),
            house: Vec::new(),
            house_of: HashMap::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// One entry, if it is loaded.
    #[must_use]
    pub fn entry(&self, id: &AccountId) -> Option<&Entry> {
        self.entries.peek(id)
    }

    /// The same, to change it.
    pub fn entry_mut(&mut self, id: &AccountId) -> Option<&mut Entry> {
        self.entries.peek_mut(id)
    }

    /// Puts in what was loaded.
    pub fn put(&mut self, id: AccountId, entry: Entry) {
        self.entries.put(id, entry);
    }

    /// The account of a name, if it is loaded and is one.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.entries.peek(id).and_then(Entry::account)
    }

    /// The shard of one of the house's accounts at this place.
    #[must_use]
    pub fn house(&self, place: usize) -> Option<&House> {
        self.house.get(place)
    }

    /// The same, to change it.
    pub fn house_mut(&mut self, place: usize) -> Option<&mut House> {
        self.house.get_mut(place)
    }

    /// The place of one of the house's accounts, which comes to be with its first money.
    pub fn place(&mut self, name: &HouseName) -> usize {
        if let Some(place) = self.house_of.get(name) {
            return *place;
        }
        let place = self.house.len();
        self.house.push(House {
            name: name.clone(),
            balance: 0,
            added: 0,
            row: 0,
        });
        self.house_of.insert(name.clone(), place);
        place
    }

    /// Whether a store has to load something for this name.
    pub(crate) fn lacks(&mut self, name: &Name) -> bool {
        let has_day = |entries: &LruCache<AccountId, Entry>, id: &AccountId, day: &Day| {
            let entry = entries.peek(id);
            entry.is_some_and(|entry| {
                entry
                    .key()
                    .is_none_or(|(_, key)| key.days.contains_key(day))
            })
        };
        match name {
            Name::Account(id) => self.entries.get(id).is_none(),
            Name::Use(id, day) => {
                self.entries.get(id).is_none() || !has_day(&self.entries, id, day)
            }
            Name::Asker(id, day) => {
                let Some(entry) = self.entries.get(id) else {
                    return true;
                };
                let parent = entry.key().and_then(|(_, key)| key.parent);
                let mut all = std::iter::once(*id).chain(parent);
                !all.all(|id| has_day(&self.entries, &id, day))
            }
            Name::Hold(id) => !self.holds.contains_key(id),
            Name::Once(id, key) => !self.onces.contains_key(&(*id, *key)),
            Name::Payout(_)
            | Name::Outgoing(_)
            | Name::PublicId(_)
            | Name::PayoutGate(..)
            | Name::Change(_)
            | Name::Swap(_)
            | Name::Received(_)
            | Name::Coin(_)
            | Name::Withdrawal(_) => true,
        }
    }

    /// Takes in a hold that is open in the store, and counts it: for stores that do not write what
    /// is held. Its accounts are loaded, and the day on which it counts.
    ///
    /// # Errors
    /// [`StoreError::Unloaded`] where they are not.
    pub fn track(&mut self, id: HoldId, hold: OpenHold) -> Result<(), StoreError> {
        let facts = hold.facts;
        self.count(&facts, hold.amount, true)?;
        if let (Some(key), Some(digest)) = (facts.once, hold.digest) {
            let state = OnceState::Open;
            self.onces
                .insert((facts.asker, key), OnceRow { digest, state });
        }
        self.holds.insert(id, hold);
        Ok(())
    }

    /// Counts what a hold reserves of its accounts, or gives it back.
    pub(crate) fn count(
        &mut self,
        facts: &HoldFacts,
        amount: Msat,
        opens: bool,
    ) -> Result<(), StoreError> {
        self.held_account(&facts.payer)?.hold(amount, opens);
        for (id, day) in facts.counted() {
            if let Some(key) = self.held_account(&id)?.key_mut() {
                key.hold(day, amount, opens)?;
            }
        }
        Ok(())
    }

    fn held_account(&mut self, id: &AccountId) -> Result<&mut Account, StoreError> {
        let account = self.entry_mut(id).and_then(Entry::account_mut);
        account.ok_or(StoreError::Unloaded("the account of a hold"))
    }

    /// Takes in that changes are written.
    pub(crate) fn settle(&mut self, changes: &Changes) {
        for id in changes.entries.iter().chain(&changes.held) {
            let Some(entry) = self.entries.peek_mut(id) else {
                continue;
            };
            entry.unsaved = Unsaved::default();
            if let Some(key) = entry.account_mut().and_then(Account::key_mut)
                && key.days.len() > MAX_DAYS
            {
                key.days.retain(|_, on| !on.held.is_zero());
            }
        }
        for place in &changes.house {
            if let Some(house) = self.house.get_mut(*place) {
                house.added = 0;
            }
        }
        self.forget_seldom();
    }

    /// Forgets what is loaded anew for each command that names it.
    pub(crate) fn forget_seldom(&mut self) {
        self.ended.clear();
        self.payouts.clear();
        self.outgoing.clear();
        self.public_ids.clear();
        self.change.clear();
        self.swaps.clear();
        self.received.clear();
        self.coins.clear();
        self.withdrawals.clear();
        self.gate = None;
        if !self.onces.is_empty() {
            self.onces
                .retain(|_, once| matches!(once.state, OnceState::Open));
        }
    }

    /// Lets go of the entries that were not used for longest, but of none that is in use: what is
    /// held of it is known here alone. Looks at somewhat more than the batch that `named` so many rows
    /// could have brought in.
    pub(crate) fn evict(&mut self, max: NonZeroUsize, named: usize) {
        for _ in 0..named.saturating_mul(2).saturating_add(16) {
            if self.entries.len() <= max.get() {
                return;
            }
            if let Some((id, entry)) = self.entries.pop_lru()
                && entry.is_in_use()
            {
                self.entries.put(id, entry);
            }
        }
    }

    /// Forgets everything but the house's accounts: a shared store loads for each batch anew.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
        self.holds.clear();
        self.onces.clear();
        self.forget_seldom();
    }
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.held.is_empty()
            && self.holds.is_empty()
            && self.progress.is_empty()
            && self.ended.is_empty()
            && self.cursors.is_empty()
            && self.change.is_empty()
            && self.swaps.is_empty()
            && self.coins.is_empty()
            && self.withdrawals.is_empty()
            && self.payouts.is_empty()
    }

    /// Empties the lists and keeps their room for the next batch.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.held.clear();
        self.days.clear();
        self.holds.clear();
        self.progress.clear();
        self.ended.clear();
        self.onces.clear();
        self.payouts.clear();
        self.change.clear();
        self.swaps.clear();
        self.received.clear();
        self.coins.clear();
        self.withdrawals.clear();
        self.bodies.clear();
        self.calls.clear();
        self.house.clear();
        self.transfers.clear();
        self.charges.clear();
        self.removed.clear();
        self.cursors.clear();
    }
}
