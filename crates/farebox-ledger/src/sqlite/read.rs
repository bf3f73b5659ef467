//! Readers: connections of their own, on committed data, that cannot write.

use std::ops::Range;
use std::path::PathBuf;

use farebox_core::{
    AccountId, HoldId, KeyEpoch, KeyHash, MintId, PaymentHash, PayoutId, SwapId, UnixMillis,
    WithdrawalId,
};
use rusqlite::{Connection, OpenFlags, Row, Transaction};

use super::columns::{self, CLAIM, CLAIM_WIDTH, Claim};
use super::sql::Sql as _;
use super::{change, charges, held, key_views, payouts, swaps, trial, withdrawals};
use crate::day::Day;
use crate::rows::shown_voids;
use crate::store::{OpenReader, Reader, StoreError};
use crate::view::{AccountView, TransferKind, TransferView, TrialBalance};
use crate::withdrawal::{Stock, WithdrawalView};
use crate::{
    ChangeView, ChargePage, ChargeQuery, ChargeView, CoinView, Deposit, HeldCall, HeldSummary,
    KeyView, PayoutView, PendingDeposit, SwapView,
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

/// The number of the account that a name has: of a payment, or of a key.
const OF_PAYMENT: &str = "(SELECT account FROM names WHERE name = ?1 AND state = 1)";
const OF_KEY: &str = "(SELECT account FROM names WHERE name = ?1 AND state = 2)";
/// The same where `?1` is the day.
const OF_KEY_ON: &str = "(SELECT account FROM names WHERE name = ?2 AND state = 2)";

impl Reader for SqliteReader {
    fn account(&mut self, id: AccountId) -> Result<Option<AccountView>, StoreError> {
        let sql = accounts_sql(&format!("c.account = {OF_PAYMENT}"));
        self.connection.first(&sql, [id.as_bytes()], read_view)
    }

    fn accounts(&mut self, after: u64, limit: u32) -> Result<Vec<AccountView>, StoreError> {
        let sql = accounts_sql("c.account > ?1 ORDER BY c.account LIMIT ?2");
        self.connection
            .readable(&sql, (place(after), limit), read_view)
    }

    fn transfers(
        &mut self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, StoreError> {
        let snapshot = self.connection.transaction()?;
        let mut next = match before {
            Some(id) => previous(&snapshot, id)?,
            None => head(&snapshot, account)?,
        };
        let mut views = Vec::new();
        while let Some(id) = next.filter(|_| views.len() < limit as usize) {
            views.push(read_transfer(&snapshot, id)?);
            next = previous(&snapshot, id)?;
        }
        Ok(views)
    }

    fn payout(&mut self, id: PayoutId) -> Result<Option<PayoutView>, StoreError> {
        let found = payouts::find(&self.connection, "id = ?1", [id.as_bytes()])?;
        Ok(found.map(|payout| payout.view))
    }

    fn open_payouts(&mut self) -> Result<Vec<PayoutView>, StoreError> {
        payouts::list(&self.connection, "state = 1 ORDER BY number", ())
    }

    fn payouts(&mut self, after: u64, limit: u32) -> Result<Vec<PayoutView>, StoreError> {
        let which = "number > ?1 ORDER BY number LIMIT ?2";
        payouts::list(&self.connection, which, (place(after), limit))
    }

    fn payouts_of(&mut self, id: AccountId, limit: u32) -> Result<Vec<PayoutView>, StoreError> {
        let which = "account = ?1 ORDER BY number DESC LIMIT ?2";
        payouts::list(&self.connection, which, (id.as_bytes(), limit))
    }

    fn newest_claim(&mut self) -> Result<Option<(KeyEpoch, UnixMillis)>, StoreError> {
        let sql = "SELECT key_epoch, max(claimed_at) FROM claims \
                   WHERE rail = 1 GROUP BY key_epoch ORDER BY key_epoch DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((KeyEpoch(row.get(0)?), columns::instant(row.get(1)?)?));
        self.connection.first(sql, (), read)
    }

    fn settlement_cursor(&mut self, name: &str) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT cursor FROM settlement_cursors WHERE name = ?1";
        let read = |row: &Row<'_>| Ok(row.get::<_, i64>(0)?.cast_unsigned());
        self.connection.first(sql, [name], read)
    }

    fn held_call(&mut self, hash: PaymentHash) -> Result<Option<HeldCall>, StoreError> {
        held::find_whole(&*self.connection.transaction()?, &hash.account())
    }

    fn held_calls(&mut self) -> Result<Vec<HeldSummary>, StoreError> {
        held::list_open(&self.connection)
    }

    fn key(&mut self, key: KeyHash, today: Day) -> Result<Option<KeyView>, StoreError> {
        let which = format!("k.account = {OF_KEY_ON}");
        let values = (today, key.as_bytes());
        key_views::find(&self.connection, &which, values)
    }

    fn key_by_public_id(&mut self, id: &str, today: Day) -> Result<Option<KeyView>, StoreError> {
        let which = "k.public_id = ?2";
        key_views::find(&self.connection, which, (today, id))
    }

    fn key_names(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, KeyHash)>, StoreError> {
        let sql = "SELECT account, name FROM keys WHERE account > ?1 ORDER BY account LIMIT ?2";
        self.connection.readable(sql, (place(after), limit), |row| {
            let cursor: i64 = row.get(0)?;
            Ok((cursor.unsigned_abs(), KeyHash::from_bytes(row.get(1)?)))
        })
    }

    fn keys(&mut self, after: u64, limit: u32, today: Day) -> Result<Vec<KeyView>, StoreError> {
        let which = "k.account > ?2 ORDER BY k.account LIMIT ?3";
        key_views::list(&self.connection, which, (today, place(after), limit))
    }

    fn children(
        &mut self,
        parent: KeyHash,
        after: u64,
        limit: u32,
        today: Day,
    ) -> Result<Vec<KeyView>, StoreError> {
        let which =
            format!("k.parent = {OF_KEY_ON} AND k.account > ?3 ORDER BY k.account LIMIT ?4");
        let values = (today, parent.as_bytes(), place(after), limit);
        key_views::list(&self.connection, &which, values)
    }

    fn pending_deposits(
        &mut self,
        key: Option<KeyHash>,
    ) -> Result<Vec<PendingDeposit>, StoreError> {
        let Some(key) = key else {
            return key_views::list_pending(&self.connection, "TRUE", ());
        };
        let which = format!("p.account = {OF_KEY}");
        key_views::list_pending(&self.connection, &which, [key.as_bytes()])
    }

    fn deposits_of(&mut self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, StoreError> {
        key_views::list_deposits(&self.connection, &key, limit)
    }

    fn pending_deposit(&mut self, hash: PaymentHash) -> Result<Option<PendingDeposit>, StoreError> {
        key_views::find_pending(&self.connection, &hash)
    }

    fn charge(&mut self, hold: HoldId) -> Result<Option<ChargeView>, StoreError> {
        charges::find(&self.connection, &hold)
    }

    fn charges(&mut self, query: &ChargeQuery, limit: u32) -> Result<ChargePage, StoreError> {
        charges::list(&self.connection.transaction()?, query, limit)
    }

    fn change(&mut self, account: AccountId) -> Result<Option<ChangeView>, StoreError> {
        let found = change::find(&self.connection, &account)?;
        Ok(found.map(|row| row.view))
    }

    fn owed_change(&mut self) -> Result<Vec<ChangeView>, StoreError> {
        let owed = change::list(&self.connection, "msat > 0 ORDER BY at", ())?;
        Ok(owed.into_iter().map(|row| row.view).collect())
    }

    fn swap(&mut self, id: SwapId) -> Result<Option<SwapView>, StoreError> {
        let found = swaps::find(&self.connection, &id)?;
        Ok(found.map(|row| row.view))
    }

    fn swap_of(&mut self, account: AccountId) -> Result<Option<SwapView>, StoreError> {
        let which = "account = ?1 AND state IN (1, 2) ORDER BY number DESC LIMIT 1";
        let mut found = swaps::list(&self.connection, which, [account.as_bytes()])?;
        Ok(found.pop())
    }

    fn open_swaps(&mut self) -> Result<Vec<SwapView>, StoreError> {
        swaps::list(&self.connection, "state = 1 ORDER BY number", ())
    }

    fn vain_swaps(
        &mut self,
        mint: MintId,
        span: Range<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<SwapView>, StoreError> {
        let which = "state IN (3, 4) AND mint = ?1 AND ended_at >= ?2 AND ended_at < ?3 \
                     ORDER BY ended_at LIMIT ?4";
        let (from, to) = (
            columns::instant_column(span.start),
            columns::instant_column(span.end),
        );
        let mint = mint.number().cast_signed();
        swaps::list(&self.connection, which, (mint, from, to, limit))
    }

    fn coins_of(&mut self, account: AccountId) -> Result<Vec<CoinView>, StoreError> {
        let which = "made_by IN (SELECT id FROM swaps WHERE account = ?1) ORDER BY msat, y";
        swaps::list_coins(&self.connection, which, [account.as_bytes()])
    }

    fn reserved_accounts(
        &mut self,
        mint: MintId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, AccountId)>, StoreError> {
        let sql = "SELECT s.number, s.account FROM swaps s WHERE s.number > ?2 AND s.mint = ?1 \
                   AND s.state = 2 AND EXISTS (SELECT 1 FROM coins c WHERE c.made_by = s.id \
                   AND c.state = 1) ORDER BY s.number LIMIT ?3";
        let values = (mint.number().cast_signed(), place(after), limit);
        self.connection.readable(sql, values, |row| {
            let number: i64 = row.get(0)?;
            Ok((number.unsigned_abs(), AccountId::from_bytes(row.get(1)?)))
        })
    }

    fn withdrawal(&mut self, id: WithdrawalId) -> Result<Option<WithdrawalView>, StoreError> {
        let found = withdrawals::find(&self.connection, &id)?;
        Ok(found.map(|row| row.view))
    }

    fn withdrawals(&mut self, limit: u32) -> Result<Vec<WithdrawalView>, StoreError> {
        let which = "TRUE ORDER BY number DESC LIMIT ?1";
        withdrawals::list(&self.connection, which, [limit])
    }

    fn open_withdrawals(&mut self) -> Result<Vec<WithdrawalView>, StoreError> {
        withdrawals::list(&self.connection, "state = 1 ORDER BY number", ())
    }

    fn stock(&mut self) -> Result<Vec<Stock>, StoreError> {
        withdrawals::stock(&*self.connection.transaction()?)
    }

    fn free_coins(&mut self, mint: MintId, limit: u32) -> Result<Vec<CoinView>, StoreError> {
        let which = "mint = ?1 AND state = 2 ORDER BY msat DESC, y LIMIT ?2";
        let mint = mint.number().cast_signed();
        swaps::list_coins(&self.connection, which, (mint, limit))
    }

    fn trial_balance(&mut self) -> Result<TrialBalance, StoreError> {
        trial::balance(&self.connection.transaction()?)
    }
}

/// A place in a listing, as its column has it.
fn place(cursor: u64) -> i64 {
    i64::try_from(cursor).unwrap_or(i64::MAX)
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
        cursor: columns::cursor(claim.account)?,
        account: claim.name,
        key_epoch: claim.key_epoch,
        terms: claim.terms,
        balance: columns::msat(row.get(CLAIM_WIDTH)?)?,
        excess: claim.excess,
        held: columns::msat(row.get(CLAIM_WIDTH + 3)?)?,
        calls_used: row.get(CLAIM_WIDTH + 1)?,
        calls_held: row.get(CLAIM_WIDTH + 4)?,
        voids: shown_voids(row.get(CLAIM_WIDTH + 2)?),
        claimed_at: claim.claimed_at,
        expires_at: claim.expires_at,
        revoked_at: claim.revoked_at,
    })
}

fn head(snapshot: &Transaction<'_>, id: AccountId) -> Result<Option<[u8; 16]>, StoreError> {
    let sql = "SELECT last_transfer FROM accounts WHERE id = \
               (SELECT account FROM names WHERE name = ?1 AND state IN (1, 2))";
    let head = snapshot.first(sql, [id.as_bytes()], |row| Ok(row.get(0)?))?;
    Ok(head.flatten())
}

fn previous(snapshot: &Transaction<'_>, id: [u8; 16]) -> Result<Option<[u8; 16]>, StoreError> {
    let sql = "SELECT previous FROM transfers WHERE id = ?1";
    let previous = snapshot.first(sql, [id], |row| Ok(row.get(0)?))?;
    Ok(previous.flatten())
}

fn read_transfer(snapshot: &Transaction<'_>, id: [u8; 16]) -> Result<TransferView, StoreError> {
    let sql = "SELECT t.msat, t.kind, t.at, dc.name, dk.name, dh.name, \
               cc.name, ck.name, ch.name FROM transfers t \
               LEFT JOIN claims dc ON dc.account = t.debit \
               LEFT JOIN keys dk ON dk.account = t.debit \
               LEFT JOIN house dh ON dh.account = t.debit \
               LEFT JOIN claims cc ON cc.account = t.credit \
               LEFT JOIN keys ck ON ck.account = t.credit \
               LEFT JOIN house ch ON ch.account = t.credit WHERE t.id = ?1";
    let found = snapshot.first(sql, [id], |row| {
        let kind = TransferKind::from_code(row.get(1)?);
        Ok(TransferView {
            id,
            debit: columns::account_name(row.get(3)?, row.get(4)?, row.get(5)?)?,
            credit: columns::account_name(row.get(6)?, row.get(7)?, row.get(8)?)?,
            amount: columns::msat(row.get(0)?)?,
            kind: kind.ok_or(StoreError::Corrupt("a kind of transfer"))?,
            at: columns::instant(row.get(2)?)?,
        })
    })?;
    found.ok_or(StoreError::Corrupt("a chain of transfers"))
}
