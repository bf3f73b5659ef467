//! Rows as the engine works on them: what a store loads, and what it writes.
//!
//! Values only. What decides is on the row itself: balance, what is held of it, voids, use by day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{
    AccountId, HoldId, KeyEpoch, KeyHash, Kind, Msat, PayoutId, ProcessEpoch, RequestDigest,
    RouteName, Terms, UnixMillis,
};

use crate::day::Day;
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{
    ChargeBasis, Funding, HeldCall, HeldState, KeyLimits, Measured, PayoutView, Rail, Receipt,
};

const NO_DAY: StoreError = StoreError::Unloaded("what counts against a key on a day");

/// The id of a transfer: of a settlement, that of its hold.
pub type TransferId = [u8; 16];

/// Whatever a payment or a key has become: one row for each name.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What it is.
    pub is: Is,
    /// What the payment brought in all, where that was noted, and when.
    pub received: Option<(Msat, UnixMillis)>,
    /// When it was revoked before its first claim.
    pub revoked_at: Option<UnixMillis>,
    /// The held call of this payment.
    pub call: Option<Box<HeldRow>>,
    /// What of it is not written yet.
    pub unsaved: Unsaved,
}

/// What a name stands for.
#[derive(Clone, Debug, Default)]
pub enum Is {
    /// Nothing yet.
    #[default]
    Nothing,
    /// An account.
    Account(Box<Account>),
    /// An invoice for a key that waits to be paid.
    Pending {
        /// The key's account.
        key: AccountId,
        /// What it asks for.
        amount: Msat,
        /// When it can no longer be paid.
        expires_at: UnixMillis,
    },
    /// A payment that was credited to a key.
    Deposited {
        /// The key's account.
        key: AccountId,
        /// What it brought.
        amount: Msat,
        /// When.
        at: UnixMillis,
    },
    /// A payment whose account was pruned: it buys nothing again.
    Spent,
}

/// An account with money, or a key that spends its parent's.
#[derive(Clone, Debug)]
pub struct Account {
    /// The store's own number for it; 0 before it is written.
    pub row: i64,
    /// What made it.
    pub origin: Origin,
    /// All there is: what is left of what was sold, and the excess.
    pub balance: Msat,
    /// The part of it that is not for sale; of a balance, all that ever came on top of it.
    pub excess: Msat,
    /// What open holds and an open payout reserve of it.
    pub held: Held,
    /// Requests settled so far.
    pub calls_used: u32,
    /// Releases that its clients caused, less the requests that it was charged money for: of a key
    /// those of its children too.
    pub voids: i64,
    /// When it came to be.
    pub claimed_at: UnixMillis,
    /// Until when it may be spent.
    pub expires_at: UnixMillis,
    /// When it was revoked.
    pub revoked_at: Option<UnixMillis>,
    /// The head of the chain of its transfers.
    pub last_transfer: Option<TransferId>,
}

/// What open holds and an open payout of one account reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of what was sold; on a balance, of all there is.
    pub msat: Msat,
    /// Of the excess.
    pub excess: Msat,
    /// Requests.
    pub calls: u32,
    /// The open payout.
    pub payout: Option<PayoutId>,
}

/// What made an account.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A payment that was claimed with a token.
    Payment {
        /// How it came.
        rail: Rail,
        /// Which secret signed the token.
        key_epoch: KeyEpoch,
        /// What was sold.
        terms: Terms,
    },
    /// A prepaid key.
    Key(Box<Key>),
}

/// What is particular to a prepaid key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public name.
    pub public_id: Box<str>,
    /// The account of the key whose money it spends, where that is not its own.
    pub parent: Option<AccountId>,
    /// What its maker wants to remember.
    pub note: Option<String>,
    /// What it may spend.
    pub limits: KeyLimits,
    /// When it was first paid for.
    pub funded_at: Option<UnixMillis>,
    /// What was charged in all.
    pub spent: Msat,
    /// What open holds reserve that count against it: of a parent, its children's too.
    pub held: Msat,
    /// How many they are.
    pub holds: u32,
    /// The parts of both that count on a day, for days that were loaded: an empty one too.
    pub days: BTreeMap<Day, Use>,
    /// Its children.
    pub children: u32,
    /// When each of its invoices that wait can no longer be paid; some may be over.
    pub pending: Vec<UnixMillis>,
}

/// What counts against a key on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Charged.
    pub spent: Msat,
    /// Reserved by open holds.
    pub held: Msat,
}

/// What of a row is not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// It is in the list of changes.
    pub listed: bool,
    /// Its account does not exist in the store.
    pub new: bool,
    /// More than what changes with every request: what the name stands for, or what was sold.
    pub whole: bool,
}

/// A held call without its request and answer.
#[derive(Clone, Debug)]
pub struct HeldRow {
    /// The call; its bodies are kept apart.
    pub call: HeldCall,
    /// The bytes of its request as it was offered.
    pub bytes: u64,
    /// The run of a process that offered it.
    pub epoch: ProcessEpoch,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
}

/// A part of a held call that is kept apart from its row.
#[derive(Clone, Debug)]
pub enum Body {
    /// What is sent to the upstream; it goes when the call ends.
    Request(Arc<[u8]>),
    /// What came back.
    Answer(Arc<[u8]>),
}

/// Money reserved for one open request.
#[derive(Clone, Debug)]
pub struct OpenHold {
    /// What never changes of it.
    pub facts: HoldFacts,
    /// How much.
    pub amount: Msat,
    /// The most that was recorded as used: what recovery charges.
    pub progress: Option<Msat>,
    /// What was asked for under the key of the client.
    pub digest: Option<RequestDigest>,
    /// What earns the money of a key.
    pub route: Option<RouteName>,
    /// The run of a process that owns it.
    pub epoch: ProcessEpoch,
    /// What its price was found by.
    pub basis: Option<Box<ChargeBasis>>,
    /// The store's own number for it; 0 before it is written.
    pub number: i64,
}

/// What never changes of a hold, so that its end can name its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldFacts {
    /// Whose money it is.
    pub payer: AccountId,
    /// The account that asked: the payer, or a child of it.
    pub asker: AccountId,
    /// The day on which it counts against the limits of a key.
    pub day: Option<Day>,
    /// The key of the client under which it is sold once.
    pub once: Option<[u8; 32]>,
}

/// What was asked for under a key of the client.
#[derive(Clone, Copy, Debug)]
pub struct OnceRow {
    /// The request.
    pub digest: RequestDigest,
    /// What came of it.
    pub state: OnceState,
}

/// What came of a request that is sold once.
#[derive(Clone, Copy, Debug)]
pub enum OnceState {
    /// It is held.
    Open,
    /// It was charged: a retry must not pay again.
    Settled(Receipt),
    /// It was released: nothing is remembered.
    Released,
}

/// A payout, and what it reserves while it is open.
#[derive(Clone, Debug)]
pub struct PayoutRow {
    /// What people read of it.
    pub view: PayoutView,
    /// What it reserves.
    pub reserve: Reserve,
    /// The run of a process that began it.
    pub epoch: ProcessEpoch,
}

/// What a payout reserves while it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// Of what is for sale: on an account of calls all that is free, since the calls go with it.
    pub sold: Msat,
    /// Of the excess.
    pub excess: Msat,
    /// Calls that are used up when it is paid. A pass that was not begun counts as one.
    pub calls: u32,
}

/// What counts against the limits of payouts.
#[derive(Clone, Copy, Debug, Default)]
pub struct PayoutGate {
    /// Payouts open, of all accounts.
    pub open: u32,
    /// Their sum, and that of those paid since, without fees, in msat.
    pub total: u64,
    /// The part of it that went out of the account, in msat.
    pub own: u64,
    /// Payouts of the account begun since, however they ended.
    pub begun: u64,
}

/// An ended hold of which there is more to tell than its transfer does.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Of the hold.
    pub id: HoldId,
    /// Whose money it was, and who asked.
    pub facts: HoldFacts,
    /// What earned it.
    pub route: RouteName,
    /// What was held.
    pub held: Msat,
    /// What was used.
    pub used: Msat,
    /// What was charged; none where the hold was released.
    pub charged: Option<Msat>,
    /// When it ended.
    pub at: UnixMillis,
    /// What its price was found by.
    pub basis: Option<Box<ChargeBasis>>,
    /// What its answer showed.
    pub measured: Option<Measured>,
}

/// The account on one side of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A payer's.
    Payer(AccountId),
    /// One of the house's, by its place in [`Rows::house`](crate::seam::Rows).
    House(usize),
}

/// One movement of money.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// The account that gave.
    pub debit: Side,
    /// The account that received.
    pub credit: Side,
    /// How much.
    pub amount: Msat,
    /// What for.
    pub kind: TransferKind,
    /// When.
    pub at: UnixMillis,
    /// The transfer before it in the chain of the payer's account it concerns.
    pub previous: Option<TransferId>,
}

impl Entry {
    /// The account, if it is one.
    #[must_use]
    pub const fn account(&self) -> Option<&Account> {
        match &self.is {
            Is::Account(account) => Some(account),
            Is::Nothing | Is::Pending { .. } | Is::Deposited { .. } | Is::Spent => None,
        }
    }

    /// The same, to change it.
    pub const fn account_mut(&mut self) -> Option<&mut Account> {
        match &mut self.is {
            Is::Account(account) => Some(account),
            Is::Nothing | Is::Pending { .. } | Is::Deposited { .. } | Is::Spent => None,
        }
    }

    /// The account of a payment, if it is one.
    #[must_use]
    pub fn claimed(&self) -> Option<(&Account, &Terms)> {
        self.account()
            .and_then(|account| Some((account, account.terms()?)))
    }

    /// The account of a key, if it is one.
    #[must_use]
    pub fn key(&self) -> Option<(&Account, &Key)> {
        self.account()
            .and_then(|account| Some((account, account.key()?)))
    }

    /// Whether anything open concerns it: a hold, a payout, or a held call.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let call = self.call.as_ref();
        call.is_some_and(|call| !call.call.state.is_end())
            || self.account().is_some_and(Account::is_in_use)
    }

    /// Whether a held call is under way that will claim this payment itself.
    #[must_use]
    pub fn is_being_served(&self) -> bool {
        let state = self.call.as_ref().map(|call| call.call.state);
        matches!(state, Some(HeldState::Running | HeldState::Answered))
    }

    /// Whether the name belongs to a key, or to a payment of one: no token buys anything with it.
    #[must_use]
    pub fn is_of_key(&self) -> bool {
        matches!(self.is, Is::Pending { .. } | Is::Deposited { .. }) || self.key().is_some()
    }

    /// What the payment was said to have brought.
    #[must_use]
    pub fn noted(&self) -> Msat {
        self.received.map_or(Msat::ZERO, |(msat, _)| msat)
    }
}

impl Account {
    /// The account of a payment at its first claim, before its money is on it.
    #[must_use]
    pub fn claimed(funding: &Funding, now: UnixMillis) -> Self {
        Self {
            expires_at: first_expiry(&funding.terms, now),
            ..Self::empty(
                Origin::Payment {
                    rail: funding.rail,
                    key_epoch: funding.key_epoch,
                    terms: funding.terms.clone(),
                },
                now,
            )
        }
    }

    /// An account without money, which never expires.
    #[must_use]
    pub const fn empty(origin: Origin, now: UnixMillis) -> Self {
        Self {
            row: 0,
            origin,
            balance: Msat::ZERO,
            excess: Msat::ZERO,
            held: Held {
                msat: Msat::ZERO,
                excess: Msat::ZERO,
                calls: 0,
                payout: None,
            },
            calls_used: 0,
            voids: 0,
            claimed_at: now,
            expires_at: UnixMillis::new(u64::MAX),
            revoked_at: None,
            last_transfer: None,
        }
    }

    /// What was sold, of the account of a payment.
    #[must_use]
    pub const fn terms(&self) -> Option<&Terms> {
        match &self.origin {
            Origin::Payment { terms, .. } => Some(terms),
            Origin::Key(_) => None,
        }
    }

    /// The key, of a key's account.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match &self.origin {
            Origin::Payment { .. } => None,
            Origin::Key(key) => Some(key),
        }
    }

    /// The same, to change it.
    pub const fn key_mut(&mut self) -> Option<&mut Key> {
        match &mut self.origin {
            Origin::Payment { .. } => None,
            Origin::Key(key) => Some(key),
        }
    }

    /// How it is spent: a key's money is a balance.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.origin {
            Origin::Payment { terms, .. } => terms.kind,
            Origin::Key(_) => Kind::Balance,
        }
    }

    /// The rail that its money came by. Keys are paid for over Lightning.
    #[must_use]
    pub const fn rail(&self) -> Rail {
        match &self.origin {
            Origin::Payment { rail, .. } => *rail,
            Origin::Key(_) => Rail::Lightning,
        }
    }

    /// What is neither spent nor held.
    pub(crate) fn free(&self) -> Msat {
        let held = self.held.msat.checked_add(self.held.excess);
        self.balance.saturating_sub(held.unwrap_or(Msat::MAX))
    }

    pub(crate) fn is_in_use(&self) -> bool {
        let asks = self.key().is_some_and(|key| key.holds > 0);
        self.held.calls > 0 || self.held.payout.is_some() || asks
    }

    /// Reserves what a hold takes, or gives it back.
    pub(crate) fn hold(&mut self, amount: Msat, opens: bool) {
        let held = &mut self.held;
        held.msat = moved(held.msat, amount, opens);
        held.calls = counted(held.calls, opens);
    }

    /// Reserves what a payout takes.
    pub(crate) fn reserve(&mut self, id: PayoutId, reserve: &Reserve) {
        let held = &mut self.held;
        held.payout = Some(id);
        held.msat = moved(held.msat, reserve.sold, true);
        held.excess = moved(held.excess, reserve.excess, true);
        held.calls = held.calls.saturating_add(reserve.calls);
    }

    /// Gives it back.
    pub(crate) fn release(&mut self, reserve: &Reserve) {
        let held = &mut self.held;
        held.payout = None;
        held.msat = moved(held.msat, reserve.sold, false);
        held.excess = moved(held.excess, reserve.excess, false);
        held.calls = held.calls.saturating_sub(reserve.calls);
    }
}

impl Key {
    /// Counts what a hold reserves against its limits, or no longer.
    pub(crate) fn hold(&mut self, day: Day, amount: Msat, opens: bool) -> Result<(), StoreError> {
        let today = self.on_mut(day)?;
        today.held = moved(today.held, amount, opens);
        self.held = moved(self.held, amount, opens);
        self.holds = counted(self.holds, opens);
        Ok(())
    }

    /// What counts on a day. One that was not loaded is no empty one.
    pub(crate) fn on(&self, day: Day) -> Result<Use, StoreError> {
        self.days.get(&day).copied().ok_or(NO_DAY)
    }

    /// The same, to change it.
    pub(crate) fn on_mut(&mut self, day: Day) -> Result<&mut Use, StoreError> {
        self.days.get_mut(&day).ok_or(NO_DAY)
    }
}

impl HoldFacts {
    /// Those whose limits it counts against, with the day: who asked, and whose money it is.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (AccountId, Day)> + use<> {
        let (asker, payer) = (self.asker, self.payer);
        let other = (asker != payer).then_some(payer);
        self.day
            .into_iter()
            .flat_map(move |day| std::iter::once(asker).chain(other).map(move |id| (id, day)))
    }

    /// The prepaid key that asked, where it is a child.
    #[must_use]
    pub fn child(&self) -> Option<KeyHash> {
        (self.asker != self.payer).then(|| KeyHash::from_bytes(*self.asker.as_bytes()))
    }
}

/// What views show of [`Account::voids`]: how many they are beyond the requests that were charged.
#[must_use]
pub fn shown_voids(voids: i64) -> u32 {
    u32::try_from(voids.max(0)).unwrap_or(u32::MAX)
}

fn moved(sum: Msat, amount: Msat, up: bool) -> Msat {
    if up {
        sum.checked_add(amount).unwrap_or(Msat::MAX)
    } else {
        sum.saturating_sub(amount)
    }
}

const fn counted(count: u32, up: bool) -> u32 {
    if up {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    }
}

/// How long a pass can be begun after it was first tried. It does not run meanwhile.
const PASS_WAITS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When a payment claimed at `now` can no longer be spent, or a pass no longer be begun. Claimed too
/// late, it never could.
fn first_expiry(terms: &Terms, now: UnixMillis) -> UnixMillis {
    let span = match terms.kind {
        Kind::Pass(_) => PASS_WAITS,
        Kind::Single | Kind::Calls(_) | Kind::Balance => terms.valid_for,
    };
    if now > terms.claim_by {
        terms.claim_by
    } else {
        now.plus(span)
    }
}
