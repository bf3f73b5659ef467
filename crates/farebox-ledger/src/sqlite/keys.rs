//! Prepaid keys, their deposits and what they spent by day, as rows.

use std::collections::BTreeMap;

use farebox_core::{AccountId, Msat, RouteName, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{instant, instant_column, msat};
use super::flush::expect_one;
use super::rows::SqliteRows;
use crate::book::{Account, AccountRow, Book, Key, KeyRows, KeyUse, NewKey, Unsaved, signed};
use crate::day::Day;
use crate::store::StoreError;
use crate::{Deposit, KeyLimits, PendingDeposit};

/// The columns of [`KeyLimits`], in the order that [`read_limits`] expects.
pub(super) const LIMITS: &str = "k.total, k.per_day, k.routes, k.models, k.expires_at";

impl KeyRows for SqliteRows<'_> {
    fn key(&mut self, name: &AccountId) -> Result<Option<Account>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {LIMITS}, k.account, p.key_hash, k.created_at, k.funded_at, k.revoked_at, \
             a.balance, a.calls_used, a.voids, a.last_transfer, \
             (SELECT coalesce(sum(msat), 0) FROM key_days WHERE account = k.account) \
             FROM keys k JOIN accounts a ON a.id = k.account \
             LEFT JOIN keys p ON p.account = k.parent WHERE k.key_hash = ?1"
        ))?;
        let mut found = statement.query([name.as_bytes()])?;
        found.next()?.map(read_account).transpose()
    }

    fn key_day(&mut self, account: AccountRow, day: Day) -> Result<Msat, StoreError> {
        let sql = "SELECT msat FROM key_days WHERE account = ?1 AND day = ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        let found: Option<i64> = statement
            .query_row((account, day), |row| row.get(0))
            .optional()?;
        found.map_or(Ok(Msat::ZERO), msat)
    }

    fn key_by_id(&mut self, public_id: &str) -> Result<Option<AccountRow>, StoreError> {
        let sql = "SELECT account FROM keys WHERE public_id = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_row([public_id], |row| row.get(0));
        Ok(found.optional()?)
    }

    fn count_children(&mut self, parent: AccountRow) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM keys WHERE parent = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row([parent], |row| row.get(0))?)
    }

    fn insert_key(&mut self, account: AccountRow, key: &NewKey<'_>) -> Result<(), StoreError> {
        self.0
            .prepare_cached("INSERT INTO accounts (id, balance) VALUES (?1, 0)")?
            .execute([account])?;
        self.0
            .prepare_cached(
                "INSERT INTO keys (account, key_hash, public_id, parent, note, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                account,
                key.key.as_bytes(),
                key.public_id,
                key.parent,
                key.note,
                instant_column(key.created_at),
            ))?;
        self.limit_key(account, key.limits)
    }

    fn limit_key(&mut self, account: AccountRow, limits: &KeyLimits) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET total = ?2, per_day = ?3, routes = ?4, models = ?5, \
                   expires_at = ?6 WHERE account = ?1";
        let routes = limits.routes.as_ref();
        let routes = routes.map(|routes| lines(routes.iter().map(RouteName::as_str)));
        let models = limits.models.as_ref();
        let models = models.map(|models| lines(models.iter().map(String::as_str)));
        let changed = self.0.prepare_cached(sql)?.execute((
            account,
            limits.total.map(signed),
            limits.per_day.map(signed),
            routes,
            models,
            limits.expires_at.map(instant_column),
        ))?;
        expect_one(changed, "a key that was just read")
    }

    fn revoke_key(&mut self, account: AccountRow, at: UnixMillis) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET revoked_at = ?2 WHERE account = ?1";
        let at = instant_column(at);
        let changed = self.0.prepare_cached(sql)?.execute((account, at))?;
        expect_one(changed, "a key that was just read")
    }

    fn deposit(&mut self, hash: &AccountId) -> Result<Option<AccountRow>, StoreError> {
        let sql = "SELECT account FROM deposits WHERE payment_hash = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_row([hash.as_bytes()], |row| row.get(0));
        Ok(found.optional()?)
    }

    fn insert_deposit(&mut self, account: AccountRow, deposit: &Deposit) -> Result<(), StoreError> {
        let (amount, at) = (signed(deposit.amount), instant_column(deposit.at));
        self.0
            .prepare_cached("INSERT INTO deposits VALUES (?1, ?2, ?3, ?4)")?
            .execute((deposit.payment_hash.as_bytes(), account, amount, at))?;
        self.0
            .prepare_cached(
                "UPDATE keys SET funded_at = coalesce(funded_at, ?2) WHERE account = ?1",
            )?
            .execute((account, at))?;
        Ok(())
    }

    fn pending(&mut self, hash: &AccountId) -> Result<Option<AccountRow>, StoreError> {
        let sql = "SELECT account FROM pending_deposits WHERE payment_hash = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_row([hash.as_bytes()], |row| row.get(0));
        Ok(found.optional()?)
    }

    fn count_pending(&mut self, account: AccountRow, at: UnixMillis) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM pending_deposits WHERE account = ?1 AND expires_at > ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row((account, instant_column(at)), |row| row.get(0))?)
    }

    fn insert_pending(
        &mut self,
        account: AccountRow,
        pending: &PendingDeposit,
    ) -> Result<(), StoreError> {
        self.0
            .prepare_cached("INSERT INTO pending_deposits VALUES (?1, ?2, ?3, ?4)")?
            .execute((
                pending.payment_hash.as_bytes(),
                account,
                signed(pending.amount),
                instant_column(pending.expires_at),
            ))?;
        Ok(())
    }

    fn remove_pending(&mut self, hash: &AccountId) -> Result<(), StoreError> {
        let sql = "DELETE FROM pending_deposits WHERE payment_hash = ?1";
        self.0.prepare_cached(sql)?.execute([hash.as_bytes()])?;
        Ok(())
    }
}

/// Names in one column, one a line; none of them has a line break in it.
fn lines<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.flat_map(|name| [name, "\n"]).collect()
}

/// The limits in the first five columns of a row.
pub(super) fn read_limits(row: &Row<'_>) -> Result<KeyLimits, StoreError> {
    let amount = |column| -> Result<Option<Msat>, StoreError> {
        let found: Option<i64> = row.get(column)?;
        found.map(msat).transpose()
    };
    let routes: Option<String> = row.get(2)?;
    let routes = routes.map(|text| text.lines().map(route).collect());
    let models: Option<String> = row.get(3)?;
    Ok(KeyLimits {
        total: amount(0)?,
        per_day: amount(1)?,
        routes: routes.transpose()?,
        models: models.map(|text| text.lines().map(str::to_owned).collect()),
        expires_at: row.get::<_, Option<i64>>(4)?.map(instant).transpose()?,
    })
}

fn route(name: &str) -> Result<RouteName, StoreError> {
    RouteName::parse(name).map_err(|_| StoreError::Corrupt("a route's name"))
}

fn read_account(row: &Row<'_>) -> Result<Account, StoreError> {
    let parent: Option<[u8; 32]> = row.get(6)?;
    let funded_at: Option<i64> = row.get(8)?;
    let revoked_at: Option<i64> = row.get(9)?;
    let key = Key {
        parent: parent.map(AccountId::from_bytes),
        limits: read_limits(row)?,
        funded: funded_at.is_some(),
        spent: msat(row.get(14)?)?,
        days: BTreeMap::new(),
    };
    Ok(Account {
        balance: msat(row.get(10)?)?,
        calls_used: row.get(11)?,
        voids: row.get(12)?,
        revoked_at: revoked_at.map(instant).transpose()?,
        last_transfer: row.get(13)?,
        unsaved: Unsaved::default(),
        ..Account::opened(row.get(5)?, key, instant(row.get(7)?)?)
    })
}

/// What is known of a hold on the money of a key, from columns 8 to 11 of an open hold.
pub(super) fn read_use(row: &Row<'_>) -> Result<Option<KeyUse>, StoreError> {
    let Some(asker_row) = row.get(8)? else {
        return Ok(None);
    };
    let asker: Option<[u8; 32]> = row.get(9)?;
    let asker = asker.ok_or(StoreError::Corrupt("a hold without its key"))?;
    let name: String = row.get(10)?;
    Ok(Some(KeyUse {
        asker: AccountId::from_bytes(asker),
        asker_row,
        route: route(&name)?,
        day: row.get(11)?,
    }))
}

/// Writes what counts against keys by day.
pub(super) fn write_days(book: &Book, connection: &Connection) -> Result<(), StoreError> {
    for ((account, day), spent) in &book.changes().key_days {
        connection
            .prepare_cached("INSERT OR REPLACE INTO key_days VALUES (?1, ?2, ?3)")?
            .execute((account, day, signed(*spent)))?;
    }
    Ok(())
}

pub(super) fn count_all_pending(connection: &Connection) -> Result<u32, StoreError> {
    let sql = "SELECT count(*) FROM pending_deposits";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
