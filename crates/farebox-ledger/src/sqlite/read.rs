//! Readers: connections of their own, on committed data, that cannot write.

use std::path::PathBuf;

use farebox_core::{AccountId, HoldId, KeyHash, PaymentHash, PayoutId};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction};

use super::columns::{self, CLAIM, CLAIM_WIDTH, Claim};
use super::{change, charges, held, key_views, payouts, trial};
use crate::ledger::MAX_PAGE;
use crate::store::{OpenReader, Reader, StoreError};
use crate::view::{AccountView, TransferKind, TransferView, TrialBalance};
use crate::{
    ChangeView, ChargePage, ChargeQuery, ChargeView, Deposit, HeldCall, HeldSummary, KeyView,
    PayoutView, PendingDeposit,
};

/// Opens read-only connections on one file.
pub(super) struct OpenSqlite {
    path: PathBuf,
}

struct SqliteReader {
    connection: Connection,
}

impl OpenSqlite {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl OpenReader for OpenSqlite {
    fn open(&self) -> Result<Box<dyn Reader>, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Box::new(SqliteReader { connection }))
    }
}

impl Reader for SqliteReader {
    fn account(&mut self, hash: AccountId) -> Result<Option<AccountView>, StoreError> {
        let sql =
            accounts_sql("c.account = (SELECT account FROM names WHERE name = ?1 AND state = 1)");
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query([hash.as_bytes()])?;
        found.next()?.map(read_view).transpose()
    }

    fn accounts(&mut self, after: u64, limit: u32) -> Result<Vec<AccountView>, StoreError> {
        let sql = accounts_sql("c.account > ?1 ORDER BY c.account LIMIT ?2");
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query((after, limit.min(MAX_PAGE)))?;
        let mut views = Vec::new();
        while let Some(row) = found.next()? {
            views.push(read_view(row)?);
        }
        Ok(views)
    }

    fn transfers(
        &mut self,
        hash: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, StoreError> {
        let snapshot = self.connection.transaction()?;
        let mut next = match before {
            Some(id) => previous(&snapshot, id)?,
            None => head(&snapshot, hash)?,
        };
        let mut views = Vec::new();
        while let Some(id) = next.filter(|_| views.len() < limit.min(MAX_PAGE) as usize) {
            views.push(read_transfer(&snapshot, id)?);
            next = previous(&snapshot, id)?;
        }
        Ok(views)
    }

    fn payout(&mut self, id: PayoutId) -> Result<Option<PayoutView>, StoreError> {
        let found = payouts::find(&self.connection, &id)?;
        Ok(found.map(|payout| payout.view))
    }

    fn open_payouts(&mut self) -> Result<Vec<PayoutView>, StoreError> {
        payouts::list_open(&self.connection)
    }

    fn payouts(&mut self, after: u64, limit: u32) -> Result<Vec<PayoutView>, StoreError> {
        payouts::list(&self.connection, after, limit.min(MAX_PAGE))
    }

    fn payouts_of(&mut self, hash: AccountId, limit: u32) -> Result<Vec<PayoutView>, StoreError> {
        payouts::list_of(&self.connection, &hash, limit.min(MAX_PAGE))
    }

    fn settlement_cursor(&mut self, name: &str) -> Result<Option<u64>, StoreError> {
        payouts::settlement_cursor(&self.connection, name)
    }

    fn held_call(&mut self, hash: PaymentHash) -> Result<Option<HeldCall>, StoreError> {
        let snapshot = self.connection.transaction()?;
        held::find_whole(&snapshot, &hash.account())
    }

    fn held_calls(&mut self) -> Result<Vec<HeldSummary>, StoreError> {
        held::list_open(&self.connection)
    }

    fn key(&mut self, key: KeyHash, today: u32) -> Result<Option<KeyView>, StoreError> {
        key_views::find(&self.connection, &key, today)
    }

    fn key_by_public_id(&mut self, id: &str, today: u32) -> Result<Option<KeyView>, StoreError> {
        key_views::find_by_id(&self.connection, id, today)
    }

    fn keys(&mut self, after: u64, limit: u32, today: u32) -> Result<Vec<KeyView>, StoreError> {
        key_views::list(&self.connection, after, limit.min(MAX_PAGE), today)
    }

    fn children(&mut self, parent: KeyHash, today: u32) -> Result<Vec<KeyView>, StoreError> {
        key_views::children(&self.connection, &parent, today)
    }

    fn pending_deposits(
        &mut self,
        key: Option<KeyHash>,
    ) -> Result<Vec<PendingDeposit>, StoreError> {
        key_views::list_pending(&self.connection, key.as_ref())
    }

    fn deposits_of(&mut self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, StoreError> {
        key_views::list_deposits(&self.connection, &key, limit.min(MAX_PAGE))
    }

    fn pending_deposit(&mut self, hash: PaymentHash) -> Result<Option<PendingDeposit>, StoreError> {
        key_views::find_pending(&self.connection, &hash)
    }

    fn charge(&mut self, hold: HoldId) -> Result<Option<ChargeView>, StoreError> {
        charges::find(&self.connection, &hold)
    }

    fn charges(&mut self, query: &ChargeQuery, limit: u32) -> Result<ChargePage, StoreError> {
        charges::list(&self.connection.transaction()?, query, limit.min(MAX_PAGE))
    }

    fn change(&mut self, hold: HoldId) -> Result<Option<ChangeView>, StoreError> {
        let found = change::find(&self.connection, &hold)?;
        Ok(found.map(|row| row.view))
    }

    fn owed_change(&mut self) -> Result<Vec<ChangeView>, StoreError> {
        change::list_owed(&self.connection)
    }

    fn trial_balance(&mut self) -> Result<TrialBalance, StoreError> {
        trial::balance(&self.connection.transaction()?)
    }
}

fn accounts_sql(which: &str) -> String {
    format!(
        "SELECT {CLAIM}, a.balance, a.calls_used, a.voids, \
         coalesce(h.msat, 0) + coalesce(p.msat, 0), coalesce(h.calls, 0) + coalesce(p.calls, 0) \
         FROM claims c JOIN accounts a ON a.id = c.account LEFT JOIN (SELECT account, \
         sum(msat) AS msat, count(*) AS calls FROM holds GROUP BY account) h \
         ON h.account = c.account LEFT JOIN (SELECT account, sum(sold + excess) AS msat, \
         sum(calls) AS calls FROM payouts WHERE state = 1 GROUP BY account) p \
         ON p.account = c.name WHERE {which}"
    )
}

fn read_view(row: &Row<'_>) -> Result<AccountView, StoreError> {
    let claim = Claim::read(row)?;
    Ok(AccountView {
        cursor: u64::try_from(claim.account)
            .map_err(|_| StoreError::Corrupt("an account's row"))?,
        account: claim.name,
        key_epoch: claim.key_epoch,
        terms: claim.terms,
        balance: columns::msat(row.get(CLAIM_WIDTH)?)?,
        excess: claim.excess,
        held: columns::msat(row.get(CLAIM_WIDTH + 3)?)?,
        calls_used: row.get(CLAIM_WIDTH + 1)?,
        calls_held: row.get(CLAIM_WIDTH + 4)?,
        voids: row.get(CLAIM_WIDTH + 2)?,
        claimed_at: claim.claimed_at,
        expires_at: claim.expires_at,
        revoked_at: claim.revoked_at,
    })
}

fn head(snapshot: &Transaction<'_>, hash: AccountId) -> Result<Option<[u8; 16]>, StoreError> {
    let sql = "SELECT last_transfer FROM accounts WHERE id = \
               (SELECT account FROM names WHERE name = ?1 AND state IN (1, 2))";
    Ok(snapshot
        .query_row(sql, [hash.as_bytes()], |row| row.get(0))
        .optional()?
        .flatten())
}

fn previous(snapshot: &Transaction<'_>, id: [u8; 16]) -> Result<Option<[u8; 16]>, StoreError> {
    let mut statement = snapshot.prepare_cached("SELECT previous FROM transfers WHERE id = ?1")?;
    Ok(statement
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten())
}

fn read_transfer(snapshot: &Transaction<'_>, id: [u8; 16]) -> Result<TransferView, StoreError> {
    let mut statement = snapshot.prepare_cached(
        "SELECT t.msat, t.kind, t.at, dc.name, dk.name, dh.name, \
         cc.name, ck.name, ch.name \
         FROM transfers t LEFT JOIN claims dc ON dc.account = t.debit \
         LEFT JOIN keys dk ON dk.account = t.debit LEFT JOIN house dh ON dh.account = t.debit \
         LEFT JOIN claims cc ON cc.account = t.credit LEFT JOIN keys ck ON ck.account = t.credit \
         LEFT JOIN house ch ON ch.account = t.credit WHERE t.id = ?1",
    )?;
    let mut found = statement.query([id])?;
    let row = found
        .next()?
        .ok_or(StoreError::Corrupt("a chain of transfers"))?;
    let kind = TransferKind::from_code(row.get(1)?);
    Ok(TransferView {
        id,
        debit: columns::account_name(row.get(3)?, row.get(4)?, row.get(5)?)?,
        credit: columns::account_name(row.get(6)?, row.get(7)?, row.get(8)?)?,
        amount: columns::msat(row.get(0)?)?,
        kind: kind.ok_or(StoreError::Corrupt("a kind of transfer"))?,
        at: columns::instant(row.get(2)?)?,
    })
}
