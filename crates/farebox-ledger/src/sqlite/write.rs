//! Writing what a batch changed: each table once, each row once.

use farebox_core::{AccountId, HoldId, RouteName};
use rusqlite::Connection;

use super::columns::{
    binding_column, instant_column, kind_columns, lines, methods_column, span_column,
};
use super::sql::{Each, Sql as _};
use super::{change, charges, held, payouts, removed, swaps, withdrawals};
use crate::money::signed;
use crate::rows::{Account, Entry, Is, Key, OnceState, OpenHold, Origin, Side, TransferId};
use crate::store::StoreError;
use crate::working::{Changes, Rows};

/// Numbers that this store gave out, and the highest id of a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) row: i64,
    pub(super) hold: i64,
    pub(super) newest: TransferId,
    /// Of summaries.
    pub(super) summary: u64,
}

pub(super) struct Write<'a> {
    pub(super) connection: &'a Connection,
    pub(super) changes: &'a Changes,
    pub(super) epoch: u32,
}

impl Write<'_> {
    /// Writes all changes inside the open transaction.
    pub(super) fn all(&self, rows: &mut Rows, numbers: &mut Numbers) -> Result<(), StoreError> {
        let first_hold = numbers.hold;
        self.number(rows, numbers);
        let rows = &*rows;
        for (name, body) in &self.changes.bodies {
            held::put_body(self.connection, name, body)?;
        }
        self.entries(rows)?;
        self.house(rows)?;
        self.transfers(rows, &mut numbers.newest)?;
        self.holds(rows, first_hold)?;
        self.onces(rows)?;
        let mut insert = self.each(charges::INSERT);
        for charge in &self.changes.charges {
            let account = number_of(&charge.facts.payer, rows)?;
            charges::insert(&mut insert, account, charge)?;
        }
        self.days(rows)?;
        self.seldom(rows)?;
        removed::remove(self.connection, &self.changes.removed, self.epoch, numbers)
    }

    /// Gives numbers to what is new.
    fn number(&self, rows: &mut Rows, numbers: &mut Numbers) {
        let mut next = || {
            numbers.row += 1;
            numbers.row
        };
        for id in &self.changes.entries {
            if let Some(account) = rows.entry_mut(id).and_then(Entry::account_mut)
                && account.row == 0
            {
                account.row = next();
            }
        }
        for place in &self.changes.house {
            if let Some(house) = rows.house_mut(*place)
                && house.row == 0
            {
                house.row = next();
            }
        }
        for id in &self.changes.holds {
            if let Some(hold) = rows.holds.get_mut(id) {
                numbers.hold += 1;
                hold.number = numbers.hold;
            }
        }
    }

    fn each(&self, sql: &'static str) -> Each<'_> {
        Each::of(self.connection, sql)
    }

    fn entries(&self, rows: &Rows) -> Result<(), StoreError> {
        let mut insert = self.each("INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5)");
        let mut update = self.each(
            "UPDATE accounts SET balance = ?2, calls_used = ?3, voids = ?4, last_transfer = ?5 \
             WHERE id = ?1",
        );
        let entries = self.changes.entries.iter();
        for (id, entry) in entries.filter_map(|id| Some((id, rows.entry(id)?))) {
            let unsaved = entry.unsaved;
            if let Some(account) = entry.account() {
                let values = account_columns(account);
                if unsaved.new {
                    insert.run(values)?;
                } else {
                    update.change_one("an account that was loaded", values)?;
                }
                if unsaved.whole {
                    self.origin(id, account, unsaved.new, rows)?;
                }
            }
            if unsaved.whole {
                self.name(id, entry, rows)?;
                if let Some(call) = &entry.call {
                    held::write(self.connection, call)?;
                }
            }
        }
        Ok(())
    }

    /// What made the account, new or as far as it changes.
    fn origin(
        &self,
        id: &AccountId,
        account: &Account,
        is_new: bool,
        rows: &Rows,
    ) -> Result<(), StoreError> {
        match &account.origin {
            Origin::Payment { .. } if is_new => self.insert_claim(id, account),
            Origin::Payment { .. } => {
                let sql = "UPDATE claims SET revoked_at = ?2, excess = ?3, expires_at = ?4 \
                           WHERE account = ?1";
                let revoked_at = account.revoked_at.map(instant_column);
                let expires_at = instant_column(account.expires_at);
                let excess = signed(account.excess);
                let columns = (account.row, revoked_at, excess, expires_at);
                self.connection.change_one("a claim", sql, columns)
            }
            Origin::Key(key) => {
                if is_new {
                    self.insert_key(id, account, key, rows)?;
                }
                self.update_key(account, key)
            }
        }
    }

    fn insert_claim(&self, id: &AccountId, account: &Account) -> Result<(), StoreError> {
        let Origin::Payment {
            rail,
            key_epoch,
            terms,
        } = &account.origin
        else {
            return Err(StoreError::Corrupt("a claim"));
        };
        let (kind, calls, span) = kind_columns(terms.kind);
        let sql = "INSERT INTO claims VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
                   ?13, ?14, ?15, ?16, ?17, ?18)";
        let values = rusqlite::params![
            account.row,
            id.as_bytes(),
            rail.code(),
            key_epoch.0,
            signed(terms.amount),
            kind,
            calls,
            span,
            terms.route.as_str(),
            methods_column(terms.methods),
            binding_column(&terms.binding),
            terms.epoch.0,
            span_column(terms.valid_for),
            instant_column(terms.claim_by),
            instant_column(account.claimed_at),
            instant_column(account.expires_at),
            account.revoked_at.map(instant_column),
            signed(account.excess),
        ];
        self.connection.run(sql, values).map(drop)
    }

    fn insert_key(
        &self,
        id: &AccountId,
        account: &Account,
        key: &Key,
        rows: &Rows,
    ) -> Result<(), StoreError> {
        let parent = key.parent.map(|parent| number_of(&parent, rows));
        let sql = "INSERT INTO keys (account, name, public_id, parent, note, created_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = (
            account.row,
            id.as_bytes(),
            &*key.public_id,
            parent.transpose()?,
            &key.note,
            instant_column(account.claimed_at),
        );
        self.connection.run(sql, values).map(drop)
    }

    fn update_key(&self, account: &Account, key: &Key) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET total = ?2, per_day = ?3, routes = ?4, models = ?5, \
                   expires_at = ?6, funded_at = ?7, revoked_at = ?8 WHERE account = ?1";
        let limits = &key.limits;
        let routes = limits.routes.as_ref();
        let routes = routes.map(|routes| lines(routes.iter().map(RouteName::as_str)));
        let models = limits.models.as_ref();
        let models = models.map(|models| lines(models.iter().map(String::as_str)));
        let values = (
            account.row,
            limits.total.map(signed),
            limits.per_day.map(signed),
            routes,
            models,
            limits.expires_at.map(instant_column),
            key.funded_at.map(instant_column),
            account.revoked_at.map(instant_column),
        );
        self.connection
            .change_one("a key that was loaded", sql, values)
    }

    /// What the name stands for.
    fn name(&self, id: &AccountId, entry: &Entry, rows: &Rows) -> Result<(), StoreError> {
        let (state, account, msat, at) = match &entry.is {
            Is::Nothing => (0, None, None, None),
            Is::Account(account) => {
                let state = if account.key().is_some() { 2 } else { 1 };
                (state, Some(account.row), None, None)
            }
            Is::Pending {
                key,
                amount,
                expires_at,
            } => (
                3,
                Some(number_of(key, rows)?),
                Some(*amount),
                Some(*expires_at),
            ),
            Is::Deposited { key, amount, at } => {
                (4, Some(number_of(key, rows)?), Some(*amount), Some(*at))
            }
            Is::Spent => (5, None, None, None),
        };
        let is_forgotten = state == 0
            && entry.received.is_none()
            && entry.revoked_at.is_none()
            && entry.call.is_none();
        if is_forgotten {
            let sql = "DELETE FROM names WHERE name = ?1";
            return self.connection.run(sql, [id.as_bytes()]).map(drop);
        }
        let sql = "INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = (
            id.as_bytes(),
            state,
            account,
            msat.map(signed),
            at.map(instant_column),
            entry.received.map(|(msat, _)| signed(msat)),
            entry.received.map(|(_, at)| instant_column(at)),
            entry.revoked_at.map(instant_column),
            entry.call.is_some(),
        );
        self.connection.run(sql, values).map(drop)
    }

    fn house(&self, rows: &Rows) -> Result<(), StoreError> {
        let places = self.changes.house.iter();
        for house in places.filter_map(|place| rows.house(*place)) {
            let sql = "INSERT INTO accounts (id, balance) VALUES (?1, ?2) \
                       ON CONFLICT (id) DO UPDATE SET balance = excluded.balance";
            self.connection.run(sql, (house.row, house.balance))?;
            if house.balance == house.added {
                let sql = "INSERT OR IGNORE INTO house (account, name) VALUES (?1, ?2)";
                self.connection
                    .run(sql, (house.row, house.name.to_string()))?;
            }
        }
        Ok(())
    }

    fn transfers(&self, rows: &Rows, newest: &mut TransferId) -> Result<(), StoreError> {
        let number = |side: Side| match side {
            Side::Payer(id) => number_of(&id, rows),
            Side::House(place) => {
                let house = rows.house(place);
                let house = house.ok_or(StoreError::Unloaded("an account of the house"))?;
                Ok(house.row)
            }
        };
        let mut insert = self.each("INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        for transfer in &self.changes.transfers {
            insert.run((
                transfer.id,
                number(transfer.debit)?,
                number(transfer.credit)?,
                signed(transfer.amount),
                transfer.kind.code(),
                instant_column(transfer.at),
                transfer.previous,
            ))?;
            *newest = (*newest).max(transfer.id);
        }
        Ok(())
    }

    /// New holds, progress of those that the store had before, and ends.
    fn holds(&self, rows: &Rows, first: i64) -> Result<(), StoreError> {
        let open = |id| Some((id, rows.holds.get(id)?));
        let mut insert = self
            .each("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
        for (id, hold) in self.changes.holds.iter().filter_map(open) {
            insert_hold(&mut insert, id, hold, rows)?;
        }
        let mut update = self.each("UPDATE holds SET progress = ?2 WHERE number = ?1");
        let moved = self.changes.progress.iter().filter_map(open);
        for (_, hold) in moved.filter(|(_, hold)| hold.number <= first) {
            let values = (hold.number, hold.progress.map(signed));
            update.change_one("an open hold", values)?;
        }
        let mut delete = self.each("DELETE FROM holds WHERE number = ?1");
        for (_, number) in self.changes.ended.iter().filter(|(_, number)| *number > 0) {
            delete.change_one("an open hold", [number])?;
        }
        Ok(())
    }

    /// What was charged once; that something is held once, its hold says.
    fn onces(&self, rows: &Rows) -> Result<(), StoreError> {
        let mut insert =
            self.each("INSERT OR REPLACE INTO retries VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        for name in &self.changes.onces {
            let Some(once) = rows.onces.get(name) else {
                continue;
            };
            let OnceState::Settled(receipt) = once.state else {
                continue;
            };
            let values = (
                number_of(&name.0, rows)?,
                name.1,
                once.digest.as_bytes(),
                receipt.hold.as_bytes(),
                signed(receipt.charged),
                instant_column(receipt.settled_at),
            );
            insert.run(values)?;
        }
        Ok(())
    }

    fn days(&self, rows: &Rows) -> Result<(), StoreError> {
        let mut insert = self.each("INSERT OR REPLACE INTO key_days VALUES (?1, ?2, ?3)");
        for (id, day) in &self.changes.days {
            let account = rows.account(id).ok_or(StoreError::Unloaded("a key"))?;
            let on = account.key().map(|key| key.on(*day)).transpose()?;
            insert.run((account.row, day, on.map(|on| signed(on.spent))))?;
        }
        Ok(())
    }

    fn seldom(&self, rows: &Rows) -> Result<(), StoreError> {
        let payouts = self.changes.payouts.iter();
        for payout in payouts.filter_map(|id| rows.payouts.get(id)) {
            payouts::write(self.connection, payout)?;
        }
        let change = self.changes.change.iter();
        for row in change.filter_map(|id| rows.change.get(id)) {
            change::write(self.connection, row)?;
        }
        for id in &self.changes.swaps {
            match rows.swaps.get(id) {
                Some(row) => swaps::write(self.connection, row)?,
                None => swaps::drop(self.connection, id)?,
            }
        }
        for coin in &self.changes.received {
            swaps::write_received(self.connection, coin, rows.received.get(coin))?;
        }
        for name in &self.changes.coins {
            match rows.coins.get(name) {
                Some(coin) => swaps::write_coin(self.connection, coin)?,
                None => swaps::drop_coin(self.connection, name)?,
            }
        }
        let withdrawals = self.changes.withdrawals.iter();
        for row in withdrawals.filter_map(|id| rows.withdrawals.get(id)) {
            withdrawals::write(self.connection, row)?;
        }
        for name in &self.changes.calls {
            held::remove(self.connection, name)?;
        }
        for (name, cursor) in &self.changes.cursors {
            let sql = "INSERT OR REPLACE INTO settlement_cursors VALUES (?1, ?2)";
            self.connection.run(sql, (name, cursor.cast_signed()))?;
        }
        Ok(())
    }
}

fn insert_hold(
    statement: &mut Each<'_>,
    id: &HoldId,
    hold: &OpenHold,
    rows: &Rows,
) -> Result<(), StoreError> {
    let facts = &hold.facts;
    let asker = facts.day.map(|_| number_of(&facts.asker, rows));
    let values = (
        hold.number,
        id.as_bytes(),
        number_of(&facts.payer, rows)?,
        hold.epoch.0,
        signed(hold.amount),
        hold.progress.map(signed),
        facts.once,
        hold.digest.as_ref().map(|digest| digest.as_bytes()),
        asker.transpose()?,
        hold.route.as_ref().map(RouteName::as_str),
        facts.day,
        hold.basis.as_deref().map(charges::basis_column),
    );
    statement.run(values).map(drop)
}

type AccountColumns = (i64, i64, u32, i64, Option<TransferId>);

const fn account_columns(account: &Account) -> AccountColumns {
    (
        account.row,
        signed(account.balance),
        account.calls_used,
        account.voids,
        account.last_transfer,
    )
}

/// The number of an account that is loaded and written.
fn number_of(id: &AccountId, rows: &Rows) -> Result<i64, StoreError> {
    let account = rows.account(id);
    account
        .map(|account| account.row)
        .ok_or(StoreError::Unloaded("an account"))
}
