//! Movements of money in the picture: every one takes from one account what it gives another.

use farebox_core::{AccountId, HoldId, Msat, RouteName, UnixMillis};

use crate::Rail;

use super::{
    Account, AccountRow, Book, House, LIGHTNING_FEES, OpenHold, SELLER_LOSS, Transfer, TransferId,
    TransferKind, signed,
};

/// On which side of a transfer an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Debit,
    Credit,
}

/// The name of the account that collects what a route earned.
fn revenue(route: &RouteName) -> String {
    format!("revenue:{route}")
}

impl Book {
    /// Moves money from a payer to the revenue of its route.
    pub(super) fn charge(
        &mut self,
        hash: &AccountId,
        id: TransferId,
        amount: Msat,
        kind: TransferKind,
        at: UnixMillis,
    ) {
        let terms = self.accounts.peek(hash).and_then(Account::terms);
        if let Some(name) = terms.map(|terms| revenue(&terms.route)) {
            self.charge_to(&name, hash, id, amount, kind, at);
        }
    }

    /// Ends a hold with a charge: money goes to the revenue of the route that served the request.
    /// Gives what was used above the hold, booked against the seller.
    pub(super) fn charge_hold(
        &mut self,
        id: HoldId,
        hold: &OpenHold,
        used: Msat,
        at: UnixMillis,
    ) -> Msat {
        let Some(name) = self.route_of(hold).map(revenue) else {
            return Msat::ZERO;
        };
        let charged = used.min(hold.amount);
        let kind = TransferKind::Settle;
        let hash = &hold.payer;
        self.charge_to(&name, hash, *id.as_bytes(), charged, kind, at);
        self.lose_to(&name, hash, used.saturating_sub(charged), at)
    }

    /// What earns the money of a hold.
    pub(super) fn route_of<'a>(&'a self, hold: &'a OpenHold) -> Option<&'a RouteName> {
        let payer = self.accounts.peek(&hold.payer);
        let sold_for = payer.and_then(Account::terms).map(|terms| &terms.route);
        hold.key.as_ref().map(|key| &key.route).or(sold_for)
    }

    fn charge_to(
        &mut self,
        name: &str,
        hash: &AccountId,
        id: TransferId,
        amount: Msat,
        kind: TransferKind,
        at: UnixMillis,
    ) {
        let debit = self.accounts.peek(hash).map_or(0, |account| account.row);
        let credit = self.move_house(name, amount, Side::Credit);
        self.change(hash, |account| {
            account.balance = account.balance.saturating_sub(amount);
        });
        self.append(
            hash,
            Transfer {
                id,
                debit,
                credit,
                amount,
                kind,
                at,
                previous: None,
            },
        );
    }

    /// Books the fee of a payout above its limit against the seller. It went to the network: the
    /// money that came in with payments has nothing to do with it.
    pub(super) fn lose_fee(&mut self, hash: &AccountId, loss: Msat, at: UnixMillis) -> Msat {
        self.lose_to(LIGHTNING_FEES, hash, loss, at)
    }

    fn lose_to(&mut self, name: &str, hash: &AccountId, loss: Msat, at: UnixMillis) -> Msat {
        let lost = self
            .house
            .get(SELLER_LOSS)
            .map_or(0, |house| house.balance.unsigned_abs());
        let loss = loss.min(Msat::new(Msat::MAX.get().saturating_sub(lost)).unwrap_or(Msat::ZERO));
        if loss.is_zero() {
            return Msat::ZERO;
        }
        let id = self.fresh_id(at);
        let debit = self.move_house(SELLER_LOSS, loss, Side::Debit);
        let credit = self.move_house(name, loss, Side::Credit);
        let kind = TransferKind::SellerLoss;
        self.append(
            hash,
            Transfer {
                id,
                debit,
                credit,
                amount: loss,
                kind,
                at,
                previous: None,
            },
        );
        loss
    }

    /// Appends a transfer to the chain of one payer's account.
    pub(super) fn append(&mut self, hash: &AccountId, mut transfer: Transfer) {
        let id = transfer.id;
        self.change(hash, |account| {
            transfer.previous = account.last_transfer.replace(id);
        });
        self.newest = self.newest.max(id);
        self.changes.transfers.push(transfer);
    }

    /// Changes the balance of one of the house's accounts, which comes to be with its first money.
    pub(super) fn move_house(&mut self, name: &str, amount: Msat, side: Side) -> AccountRow {
        if !self.house.contains_key(name) {
            let house = House::empty(self.take_row());
            self.house.insert(name.to_owned(), house);
        }
        let Some(house) = self.house.get_mut(name) else {
            return 0;
        };
        let amount = signed(amount);
        house.balance += if side == Side::Debit { -amount } else { amount };
        if !house.unsaved.listed {
            house.unsaved.listed = true;
            self.changes.house.push(name.to_owned());
        }
        house.row
    }

    /// Whether so much more can be claimed without exceeding all money there is. With it, and the
    /// same limit on losses, no balance leaves the range of its column.
    pub(super) fn fits(&self, rail: Rail, amount: Msat) -> bool {
        let claimed = self
            .house
            .get(rail.clearing())
            .map_or(0, |house| house.balance.unsigned_abs());
        claimed
            .checked_add(amount.get())
            .is_some_and(|sum| sum <= Msat::MAX.get())
    }

    pub(super) fn take_row(&mut self) -> AccountRow {
        let row = self.next_row;
        self.next_row += 1;
        row
    }

    /// A new id for a transfer that is not a settlement: ordered by time, then by run and number.
    /// It differs from every UUID of version 7 in the place of the version.
    pub(crate) fn fresh_id(&mut self, at: UnixMillis) -> TransferId {
        self.sequence += 1;
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.get().to_be_bytes()[2..]);
        id[6..10].copy_from_slice(&self.epoch.0.to_be_bytes());
        id[10..].copy_from_slice(&self.sequence.to_be_bytes()[2..]);
        self.newest = self.newest.max(id);
        id
    }
}
