//! The writer's picture of the rows it works on, and the rules applied to it.
//!
//! The writer is the only one that writes, so what it has read stays true: decisions are made here,
//! in memory, and collected as [`Changes`] that a store writes in one transaction. Rows come in
//! through [`Rows`]. Never here: a statement, a clock, a commit.
//!
//! What open holds reserve is not stored on accounts: it is the sum of the open holds, kept here.

mod changes;
mod charges;
mod claim;
mod held;
mod holds;
mod key_holds;
mod keys;
mod money;
mod payout_end;
mod payouts;
mod rows;

use std::collections::HashMap;
use std::num::NonZeroUsize;

use farebox_core::{AccountId, HoldId, Msat, PayoutId, ProcessEpoch, UnixMillis};
use lru::LruCache;

pub(crate) use changes::{Changes, RetryKey};
pub(crate) use rows::{
    Account, AccountRow, Charge, House, Key, KeyRows, KeyUse, NewKey, OnceKey, OpenHeldCall,
    OpenHold, OpenPayout, Origin, Payment, Payout, Retry, Rows, SeldomRows, Transfer, TransferId,
    Unclaimed, Unsaved,
};

use crate::decide::{self, Earlier, Standing};
use crate::store::{Command, Granted, Outcome, StoreError};
use crate::view::TransferKind;
use crate::{Admitted, Funding, HoldRequest, LedgerError, Once, Rail};

/// Usage above its hold and fees above theirs, which the seller bears: stands below zero.
const SELLER_LOSS: &str = "seller_loss";
/// Fees above what a payout had reserved for them: what the seller paid the network.
const LIGHTNING_FEES: &str = "lightning_fees";

/// Whether an account of the house stands on the wrong side of zero: clearing and losses stand
/// below it, what was earned above.
pub(crate) fn is_impossible(name: &str, balance: i64) -> bool {
    let is_clearing = Rail::ALL.iter().any(|rail| rail.clearing() == name);
    if is_clearing || name == SELLER_LOSS {
        balance > 0
    } else {
        balance < 0
    }
}

pub(crate) struct Book {
    epoch: ProcessEpoch,
    max_open_holds: usize,
    max_cached: NonZeroUsize,
    sequence: u64,
    /// Payments credited by this book.
    claims: u64,
    next_row: AccountRow,
    next_hold: i64,
    /// No transfer has an id above this one.
    newest: TransferId,
    accounts: LruCache<AccountId, Account>,
    house: HashMap<String, House>,
    holds: HashMap<HoldId, OpenHold>,
    held: HashMap<AccountId, Held>,
    /// What open holds count against the limits of keys, payouts left out.
    key_uses: HashMap<AccountId, key_holds::Uses>,
    /// Invoices for keys that wait to be paid.
    pending: u32,
    payouts: HashMap<PayoutId, OpenPayout>,
    held_calls: HashMap<AccountId, OpenHeldCall>,
    open_keys: HashMap<(AccountId, [u8; 32]), HoldId>,
    changes: Changes,
}

/// What the open holds and the open payout of one account reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    /// Of what was sold; on a balance, of all there is.
    msat: Msat,
    /// Of the excess.
    excess: Msat,
    calls: u32,
    payouts: u32,
}

impl Held {
    const fn is_nothing(&self) -> bool {
        self.calls == 0 && self.payouts == 0
    }
}

/// What is read once, when a store is opened or has rolled back.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) next_row: AccountRow,
    pub(crate) newest: TransferId,
    pub(crate) house: HashMap<String, House>,
    pub(crate) holds: Vec<(HoldId, OpenHold)>,
    pub(crate) payouts: Vec<(PayoutId, OpenPayout)>,
    pub(crate) held_calls: Vec<(AccountId, OpenHeldCall)>,
    pub(crate) pending: u32,
}

impl Book {
    pub(crate) fn new(
        epoch: ProcessEpoch,
        max_open_holds: usize,
        max_cached: NonZeroUsize,
    ) -> Self {
        Self {
            epoch,
            max_open_holds,
            max_cached,
            sequence: 0,
            claims: 0,
            next_row: 1,
            next_hold: 1,
            newest: [0; 16],
            accounts: LruCache::unbounded(),
            house: HashMap::new(),
            holds: HashMap::new(),
            held: HashMap::new(),
            key_uses: HashMap::new(),
            pending: 0,
            payouts: HashMap::new(),
            held_calls: HashMap::new(),
            open_keys: HashMap::new(),
            changes: Changes::default(),
        }
    }

    /// Forgets everything in favour of what the store says.
    pub(crate) fn load(&mut self, loaded: Loaded) {
        self.accounts.clear();
        self.holds.clear();
        self.held.clear();
        self.key_uses.clear();
        self.pending = loaded.pending;
        self.payouts.clear();
        self.open_keys.clear();
        self.changes = Changes::default();
        self.next_row = loaded.next_row;
        self.next_hold = 1 + loaded
            .holds
            .iter()
            .map(|(_, hold)| hold.number)
            .max()
            .unwrap_or(0);
        self.newest = loaded.newest;
        self.house = loaded.house;
        for (id, hold) in loaded.holds {
            self.track(id, hold);
        }
        for (id, payout) in loaded.payouts {
            self.reserve(id, payout);
        }
        self.held_calls = loaded.held_calls.into_iter().collect();
    }

    pub(crate) const fn epoch(&self) -> ProcessEpoch {
        self.epoch
    }

    pub(crate) fn open_holds(&self) -> usize {
        self.holds.len()
    }

    pub(crate) fn find_hold(&self, id: &HoldId) -> Option<&OpenHold> {
        self.holds.get(id)
    }

    /// Whether anything open concerns an account: a hold, a payout, or a held call.
    pub(crate) fn is_in_use(&self, hash: &AccountId) -> bool {
        self.held.contains_key(hash)
            || self.held_calls.contains_key(hash)
            || self.key_uses.contains_key(hash)
    }

    /// Lets go of so many invoices for keys that were removed from the store.
    pub(crate) fn forget_pending(&mut self, count: u32) {
        self.pending = self.pending.saturating_sub(count);
    }

    /// Lets go of an account that was removed from the store.
    pub(crate) fn forget(&mut self, hash: &AccountId) {
        self.accounts.pop(hash);
    }

    /// What the commands since the last commit changed.
    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn account(&self, hash: &AccountId) -> Option<&Account> {
        self.accounts.peek(hash)
    }

    pub(crate) fn house(&self, name: &str) -> Option<&House> {
        self.house.get(name)
    }

    /// The changes are written: later ones start from here.
    pub(crate) fn committed(&mut self) {
        for hash in self.changes.accounts.drain(..) {
            if let Some(account) = self.accounts.peek_mut(&hash) {
                account.unsaved = Unsaved::default();
            }
        }
        for name in self.changes.house.drain(..) {
            if let Some(house) = self.house.get_mut(&name) {
                house.unsaved = Unsaved::default();
            }
        }
        for id in &self.changes.holds {
            if let Some(hold) = self.holds.get_mut(id) {
                hold.stored = true;
            }
        }
        self.changes.clear();
        while self.accounts.len() > self.max_cached.get() {
            self.accounts.pop_lru();
        }
    }

    /// Applies one command to the picture.
    pub(crate) fn apply(
        &mut self,
        command: &Command,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        match command {
            Command::Hold(request) => self.hold_and_tell(request, rows),
            Command::Resolve {
                hold,
                how,
                measured,
                at,
            } => {
                let loss = self.resolve(*hold, *how, measured.as_deref(), *at, rows)?;
                Ok(Outcome::Resolved { loss })
            }
            Command::Progress { hold, used } => {
                self.progress(*hold, *used);
                Ok(Outcome::Noted)
            }
            Command::Revoke { account, at } => {
                self.revoke(*account, *at, rows).map(Outcome::Revoked)
            }
            Command::BeginPayout(request) => self.begin_payout_and_tell(request, rows),
            Command::FinishPayout { id, end, at } => self.finish_payout(*id, *end, *at, rows),
            Command::Received(payment) => self.note_received(payment, rows).map(Outcome::Received),
            Command::Held(step) => {
                let (hash, step, at) = step.as_ref();
                self.held_step(&hash.account(), step, *at, rows)
            }
            Command::Cursor(cursor) => {
                rows.put_cursor(&cursor.0, cursor.1)?;
                Ok(Outcome::Noted)
            }
            Command::Key(step) => self.key_step(&step.0, step.1, rows),
        }
    }

    fn hold_and_tell(
        &mut self,
        request: &HoldRequest,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let Some(funding) = &request.funding else {
            return Ok(Outcome::Admitted {
                answer: self.admit_key(request, rows)?,
                claimed: None,
            });
        };
        let claims_before = self.claims;
        let answer = self.admit(request, funding, rows)?;
        let claimed = (self.claims > claims_before).then_some(funding.amount);
        Ok(Outcome::Admitted { answer, claimed })
    }

    fn admit(
        &mut self,
        request: &HoldRequest,
        funding: &Funding,
        rows: &mut dyn Rows,
    ) -> Result<Result<Admitted<Granted>, LedgerError>, StoreError> {
        if let Some(error) = self.refuse_hold(request.hold, rows)? {
            return Ok(Err(error));
        }
        if !self.fetch(&request.account, rows)?
            && let Some(refusal) = self.claim(request, funding, rows)?
        {
            return Ok(refusal);
        }
        let earlier = self.earlier(&request.account, request.once, rows)?;
        let account = known(&mut self.accounts, &request.account)?;
        let held = self.held.get(&request.account).copied().unwrap_or_default();
        let decision = decide::admit(request, &standing(account, held), earlier);
        if let Ok(Admitted::Pass { .. }) = decision {
            self.sell_pass(request);
        }
        Ok(decision.map(|answer| answer.map_held(|grant| self.hold(request, grant))))
    }

    /// Why there can be no hold with this id, if so.
    fn refuse_hold(
        &self,
        id: HoldId,
        rows: &mut dyn Rows,
    ) -> Result<Option<LedgerError>, StoreError> {
        if self.holds.len() >= self.max_open_holds {
            return Ok(Some(LedgerError::TooManyHolds));
        }
        let taken = self.id_is_taken(id, rows)?;
        Ok(taken.then_some(LedgerError::HoldExists))
    }

    /// Whether the account of a payment is in the picture, after a look into the store.
    fn fetch(&mut self, hash: &AccountId, rows: &mut dyn Rows) -> Result<bool, StoreError> {
        if let Some(known) = self.accounts.get(hash) {
            return Ok(known.terms().is_some());
        }
        let Some(account) = rows.account(hash)? else {
            return Ok(false);
        };
        self.accounts.put(*hash, account);
        Ok(true)
    }

    /// Moves the whole price of a pass to revenue, once.
    fn sell_pass(&mut self, request: &HoldRequest) {
        let hash = request.account;
        let price = self.accounts.peek(&hash).map_or(Msat::ZERO, |account| {
            account.balance.saturating_sub(account.excess)
        });
        if !price.is_zero() {
            let id = self.fresh_id(request.now);
            self.charge(&hash, id, price, TransferKind::Pass, request.now);
        }
    }

    fn revoke(
        &mut self,
        hash: AccountId,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<bool, StoreError> {
        if !self.fetch(&hash, rows)? {
            if !rows.unclaimed(&hash)?.spent {
                self.changes.revoked.insert(hash, at);
            }
            return Ok(false);
        }
        self.change(&hash, |account| {
            if account.revoked_at.is_none() {
                account.revoked_at = Some(at);
                account.unsaved.revoked = true;
            }
        });
        Ok(true)
    }

    fn earlier(
        &self,
        hash: &AccountId,
        once: Option<Once>,
        rows: &mut dyn Rows,
    ) -> Result<Earlier, StoreError> {
        let Some(once) = once else {
            return Ok(Earlier::Nothing);
        };
        if let Some(open) = self.open_keys.get(&(*hash, once.key)) {
            let known = self.holds.get(open).and_then(|hold| hold.once);
            let same = known.is_some_and(|known| known.digest == once.digest);
            return Ok(Earlier::Open { same });
        }
        let account = self.accounts.peek(hash);
        let Some(account) = account.filter(|account| account.calls_used > 0) else {
            return Ok(Earlier::Nothing);
        };
        let key = RetryKey {
            account: account.row,
            key: once.key,
        };
        let settled = match self.changes.retries.get(&key) {
            Some(retry) => Some(*retry),
            None => rows.retry(&key)?,
        };
        Ok(settled.map_or(Earlier::Nothing, |retry| Earlier::Settled {
            same: retry.digest == once.digest,
            receipt: retry.receipt(),
        }))
    }

    /// Whether a hold or a transfer with this id exists. Ids are ordered by time, so one above all
    /// others needs no look into the store.
    fn id_is_taken(&self, id: HoldId, rows: &mut dyn Rows) -> Result<bool, StoreError> {
        if self.holds.contains_key(&id) {
            return Ok(true);
        }
        if *id.as_bytes() > self.newest {
            return Ok(false);
        }
        let unsaved = self
            .changes
            .transfers
            .iter()
            .any(|transfer| transfer.id == *id.as_bytes());
        Ok(unsaved || rows.transfer_exists(id.as_bytes())?)
    }

    fn change(&mut self, hash: &AccountId, edit: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.peek_mut(hash) else {
            return;
        };
        edit(account);
        if !account.unsaved.listed {
            account.unsaved.listed = true;
            self.changes.accounts.push(*hash);
        }
    }
}

/// An amount as a database column has it.
pub(crate) fn signed(amount: Msat) -> i64 {
    amount.get().cast_signed()
}

fn known<'a>(
    accounts: &'a mut LruCache<AccountId, Account>,
    hash: &AccountId,
) -> Result<&'a Account, StoreError> {
    accounts
        .peek(hash)
        .ok_or(StoreError::Corrupt("an account that was just read"))
}

fn standing(account: &Account, held: Held) -> Standing<'_> {
    Standing {
        terms: account.terms(),
        kind: account.kind(),
        balance: account.balance,
        excess: account.excess,
        held: held.msat,
        excess_held: held.excess,
        calls_used: account.calls_used,
        calls_held: held.calls,
        voids: account.voids,
        expires_at: account.expires_at,
        revoked: account.revoked_at.is_some(),
    }
}
