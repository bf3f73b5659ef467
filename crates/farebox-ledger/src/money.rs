//! Movements of money: every one takes from one account what it gives another.

use farebox_core::{AccountId, HoldId, MintId, Msat, RouteName, UnixMillis};

use crate::book::Book;
use crate::name::HouseName;
use crate::rows::{Account, Is, OpenHold, Side, Transfer, TransferId};
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{Funding, LedgerError, Rail};

/// A refusal that concerns one command alone, or a failure of the store.
pub(crate) type Verdict<T> = Result<Result<T, LedgerError>, StoreError>;

/// Makes the account of a payment at its first sight: what was sold, and what came beyond it.
pub(crate) fn claim(
    book: &mut Book<'_>,
    id: &AccountId,
    funding: &Funding,
    now: UnixMillis,
) -> Verdict<()> {
    let entry = book.entry(id)?;
    let (revoked_at, received) = (entry.revoked_at, entry.noted().max(funding.amount));
    let sold = funding.terms.amount;
    let extra = received.saturating_sub(sold);
    let all = sold.checked_add(extra);
    if !all.is_some_and(|all| fits(book, funding.rail, all)) {
        return Ok(Err(LedgerError::TooMuchMoney));
    }
    let mut account = Account::claimed(funding, now);
    account.revoked_at = revoked_at;
    let entry = book.rewrite(id)?;
    entry.is = Is::Account(Box::new(account));
    entry.unsaved.new = true;
    credit(
        book,
        id,
        funding.rail,
        Moved::new(sold, TransferKind::Claim, now),
    )?;
    book.notes.credited = Some((funding.rail, sold));
    Ok(Ok(excess(book, id, funding.rail, extra, now)?))
}

/// Credits money beyond what was sold, which fits.
pub(crate) fn excess(
    book: &mut Book<'_>,
    id: &AccountId,
    rail: Rail,
    extra: Msat,
    at: UnixMillis,
) -> Result<(), StoreError> {
    if extra.is_zero() {
        return Ok(());
    }
    book.rewrite(id)?;
    let account = book.change_account(id)?;
    account.excess = account.excess.checked_add(extra).unwrap_or(Msat::MAX);
    credit(book, id, rail, Moved::new(extra, TransferKind::Excess, at))
}

/// What moves: how much, what for, and when.
#[derive(Clone, Copy)]
pub(crate) struct Moved {
    amount: Msat,
    kind: TransferKind,
    at: UnixMillis,
}

impl Moved {
    pub(crate) const fn new(amount: Msat, kind: TransferKind, at: UnixMillis) -> Self {
        Self { amount, kind, at }
    }
}

/// Moves money that came by a rail to a payer's account.
pub(crate) fn credit(
    book: &mut Book<'_>,
    id: &AccountId,
    rail: Rail,
    moved: Moved,
) -> Result<(), StoreError> {
    give_back(book, id, &HouseName::Clearing(rail), moved)
}

/// Moves money from a payer's account to one of the house's.
pub(crate) fn take(
    book: &mut Book<'_>,
    id: &AccountId,
    to: &HouseName,
    transfer: TransferId,
    moved: Moved,
) -> Result<(), StoreError> {
    let account = book.change_account(id)?;
    account.balance = account.balance.saturating_sub(moved.amount);
    let to = house(book, to, signed(moved.amount));
    append(book, id, transfer, (Side::Payer(*id), to), moved)
}

/// Moves money from one of the house's accounts to a payer's.
pub(crate) fn give_back(
    book: &mut Book<'_>,
    id: &AccountId,
    from: &HouseName,
    moved: Moved,
) -> Result<(), StoreError> {
    let account = book.change_account(id)?;
    let sum = account.balance.checked_add(moved.amount);
    account.balance = sum.unwrap_or(Msat::MAX);
    let from = house(book, from, -signed(moved.amount));
    let transfer = book.fresh_id(moved.at);
    append(book, id, transfer, (from, Side::Payer(*id)), moved)
}

/// Moves money between two of the house's accounts, in the chain of the account that it was of.
pub(crate) fn between(
    book: &mut Book<'_>,
    id: &AccountId,
    from: &HouseName,
    to: &HouseName,
    moved: Moved,
) -> Result<(), StoreError> {
    let debit = house(book, from, -signed(moved.amount));
    let credit = house(book, to, signed(moved.amount));
    let transfer = book.fresh_id(moved.at);
    append(book, id, transfer, (debit, credit), moved)
}

/// Moves money between two of the house's accounts, where it was nobody's any more.
pub(crate) fn in_house(book: &mut Book<'_>, from: &HouseName, to: &HouseName, moved: Moved) {
    if moved.amount.is_zero() {
        return;
    }
    let debit = house(book, from, -signed(moved.amount));
    let credit = house(book, to, signed(moved.amount));
    let id = book.fresh_id(moved.at);
    book.changes.transfers.push(Transfer {
        id,
        debit,
        credit,
        amount: moved.amount,
        kind: moved.kind,
        at: moved.at,
        previous: None,
    });
}

/// Ends a hold with a charge: money goes to what earns it, and usage above the hold is booked
/// against the seller.
pub(crate) fn charge(
    book: &mut Book<'_>,
    id: HoldId,
    hold: &OpenHold,
    used: Msat,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let payer = hold.facts.payer;
    let revenue = HouseName::Revenue(route_of(book, hold)?);
    let charged = used.min(hold.amount);
    let moved = Moved::new(charged, TransferKind::Settle, at);
    take(book, &payer, &revenue, *id.as_bytes(), moved)?;
    lose(book, &payer, &revenue, used.saturating_sub(charged), at)
}

/// Moves the whole price of a pass to revenue, and lets it run until `expires_at`: once.
pub(crate) fn begin_pass(
    book: &mut Book<'_>,
    id: &AccountId,
    expires_at: UnixMillis,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let account = book.account(id)?;
    let price = account.balance.saturating_sub(account.excess);
    let Some(terms) = account.terms().filter(|_| !price.is_zero()) else {
        return Ok(());
    };
    let revenue = HouseName::Revenue(terms.route.clone());
    let transfer = book.fresh_id(at);
    let moved = Moved::new(price, TransferKind::Pass, at);
    take(book, id, &revenue, transfer, moved)?;
    book.notes.charged = price;
    book.rewrite(id)?;
    book.change_account(id)?.expires_at = expires_at;
    Ok(())
}

/// What earns the money of a hold.
pub(crate) fn route_of(book: &Book<'_>, hold: &OpenHold) -> Result<RouteName, StoreError> {
    if let Some(route) = &hold.route {
        return Ok(route.clone());
    }
    let terms = book.account(&hold.facts.payer)?.terms();
    let terms = terms.ok_or(StoreError::Corrupt("the route of a hold"))?;
    Ok(terms.route.clone())
}

/// Books a loss against the seller, in the chain of the account that caused it.
pub(crate) fn lose(
    book: &mut Book<'_>,
    id: &AccountId,
    to: &HouseName,
    loss: Msat,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let lost = shard(book, &HouseName::SellerLoss).unsigned_abs();
    let most = Msat::new(Msat::MAX.get().saturating_sub(lost)).unwrap_or(Msat::ZERO);
    let loss = loss.min(most);
    if loss.is_zero() {
        return Ok(());
    }
    book.notes.lost = loss;
    let moved = Moved::new(loss, TransferKind::SellerLoss, at);
    between(book, id, &HouseName::SellerLoss, to, moved)
}

/// Whether so much more can be credited without exceeding all money there is. With it, and the same
/// limit on losses, no balance leaves the range of its column.
pub(crate) fn fits(book: &mut Book<'_>, rail: Rail, amount: Msat) -> bool {
    let sum = shard(book, &HouseName::Clearing(rail))
        .unsigned_abs()
        .checked_add(amount.get());
    sum.is_some_and(|sum| sum <= Msat::MAX.get())
}

/// Whether so much more of a unit of a mint may be ours, where no more than `most` may.
pub(crate) fn has_room(book: &mut Book<'_>, mint: MintId, amount: Msat, most: Msat) -> bool {
    let ours = shard(book, &HouseName::Clearing(Rail::Ecash(mint))).unsigned_abs();
    let sum = ours.checked_add(amount.get());
    sum.is_some_and(|sum| sum <= most.get())
}

/// An amount as a database column has it.
pub(crate) const fn signed(amount: Msat) -> i64 {
    amount.get().cast_signed()
}

/// Appends a transfer to the chain of one payer's account.
fn append(
    book: &mut Book<'_>,
    id: &AccountId,
    transfer: TransferId,
    (debit, credit): (Side, Side),
    moved: Moved,
) -> Result<(), StoreError> {
    let previous = book.change_account(id)?.last_transfer.replace(transfer);
    book.changes.transfers.push(Transfer {
        id: transfer,
        debit,
        credit,
        amount: moved.amount,
        kind: moved.kind,
        at: moved.at,
        previous,
    });
    Ok(())
}

fn shard(book: &mut Book<'_>, name: &HouseName) -> i64 {
    let place = book.rows.place(name);
    book.rows.house(place).map_or(0, |house| house.balance)
}

/// Changes this writer's shard of one of the house's accounts.
fn house(book: &mut Book<'_>, name: &HouseName, amount: i64) -> Side {
    let place = book.rows.place(name);
    if let Some(house) = book.rows.house_mut(place) {
        house.balance += amount;
        house.added += amount;
    }
    if !book.changes.house.contains(&place) {
        book.changes.house.push(place);
    }
    Side::House(place)
}
