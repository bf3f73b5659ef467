//! Payouts, overpayments and settlement cursors as rows.

use farebox_core::{AccountId, PaymentHash, PayoutId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::columns::{instant, instant_column, msat};
use super::flush::expect_one;
use crate::book::{OpenPayout, Payout, signed};
use crate::decide::Reserve;
use crate::store::StoreError;
use crate::{AskedBy, PayoutState, PayoutView};

const PAYOUT: &str = "SELECT number, id, payment_hash, destination_hash, bolt11, backend, amount, \
     max_fee, fee, sold, excess, calls, asked_by, state, asked_at, ended_at FROM payouts";

pub(super) fn insert(connection: &Connection, payout: &Payout) -> Result<u64, StoreError> {
    let Payout { view, reserve } = payout;
    connection
        .prepare_cached(
            "INSERT INTO payouts (id, payment_hash, destination_hash, bolt11, backend, amount, \
             max_fee, sold, excess, calls, asked_by, state, asked_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            view.id.as_bytes(),
            view.account.as_bytes(),
            view.destination_hash.as_bytes(),
            &view.bolt11,
            &view.backend,
            signed(view.amount),
            signed(view.max_fee),
            signed(reserve.sold),
            signed(reserve.excess),
            reserve.calls,
            view.asked_by.code(),
            view.state.code(),
            instant_column(view.asked_at),
        ))?;
    cursor(connection.last_insert_rowid())
}

pub(super) fn end(connection: &Connection, payout: &PayoutView) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE payouts SET state = ?2, fee = ?3, ended_at = ?4 WHERE id = ?1 AND state = 1",
        )?
        .execute((
            payout.id.as_bytes(),
            payout.state.code(),
            payout.fee.map(signed),
            payout.ended_at.map(instant_column),
        ))?;
    expect_one(changed, "an open payout")
}

pub(super) fn find(connection: &Connection, id: &PayoutId) -> Result<Option<Payout>, StoreError> {
    one(connection, "id = ?1", [id.as_bytes()])
}

pub(super) fn find_by_destination(
    connection: &Connection,
    hash: &PaymentHash,
) -> Result<Option<Payout>, StoreError> {
    one(connection, "destination_hash = ?1", [hash.as_bytes()])
}

pub(super) fn begun_after(
    connection: &Connection,
    hash: &AccountId,
    after: UnixMillis,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM payouts WHERE payment_hash = ?1 AND asked_at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let count: i64 =
        statement.query_row((hash.as_bytes(), instant_column(after)), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) fn paid_after(connection: &Connection, after: UnixMillis) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(amount), 0) FROM payouts WHERE state = 2 AND ended_at > ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let sum: i64 = statement.query_row([instant_column(after)], |row| row.get(0))?;
    Ok(sum.unsigned_abs())
}

/// What the writer's picture keeps of every open payout.
pub(super) fn load(connection: &Connection) -> Result<Vec<(PayoutId, OpenPayout)>, StoreError> {
    let open = many(connection, "state = 1 ORDER BY number", ())?;
    Ok(open
        .into_iter()
        .map(|payout| {
            let open = OpenPayout {
                account: payout.view.account,
                amount: payout.view.amount,
                reserve: payout.reserve,
            };
            (payout.view.id, open)
        })
        .collect())
}

pub(super) fn list_open(connection: &Connection) -> Result<Vec<PayoutView>, StoreError> {
    views(connection, "state = 1 ORDER BY number", ())
}

pub(super) fn list(
    connection: &Connection,
    after: u64,
    limit: u32,
) -> Result<Vec<PayoutView>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    views(
        connection,
        "number > ?1 ORDER BY number LIMIT ?2",
        (after, limit),
    )
}

pub(super) fn list_of(
    connection: &Connection,
    hash: &AccountId,
    limit: u32,
) -> Result<Vec<PayoutView>, StoreError> {
    let which = "payment_hash = ?1 ORDER BY number DESC LIMIT ?2";
    views(connection, which, (hash.as_bytes(), limit))
}

fn views(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<PayoutView>, StoreError> {
    let found = many(connection, which, values)?;
    Ok(found.into_iter().map(|payout| payout.view).collect())
}

fn one(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Option<Payout>, StoreError> {
    many(connection, which, values).map(|found| found.into_iter().next())
}

fn many(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<Payout>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{PAYOUT} WHERE {which}"))?;
    let mut found = statement.query(values)?;
    let mut payouts = Vec::new();
    while let Some(row) = found.next()? {
        payouts.push(read(row)?);
    }
    Ok(payouts)
}

fn read(row: &Row<'_>) -> Result<Payout, StoreError> {
    let asked_by = AskedBy::from_code(row.get(12)?);
    let state = PayoutState::from_code(row.get(13)?);
    let view = PayoutView {
        cursor: cursor(row.get(0)?)?,
        id: PayoutId::from_bytes(row.get(1)?),
        account: AccountId::from_bytes(row.get(2)?),
        destination_hash: PaymentHash::from_bytes(row.get(3)?),
        bolt11: row.get(4)?,
        backend: row.get(5)?,
        amount: msat(row.get(6)?)?,
        max_fee: msat(row.get(7)?)?,
        fee: row.get::<_, Option<i64>>(8)?.map(msat).transpose()?,
        calls: row.get(11)?,
        asked_by: asked_by.ok_or(StoreError::Corrupt("who asked for a payout"))?,
        state: state.ok_or(StoreError::Corrupt("the state of a payout"))?,
        asked_at: instant(row.get(14)?)?,
        ended_at: row.get::<_, Option<i64>>(15)?.map(instant).transpose()?,
    };
    let reserve = Reserve {
        sold: msat(row.get(9)?)?,
        excess: msat(row.get(10)?)?,
        calls: row.get(11)?,
    };
    Ok(Payout { view, reserve })
}

fn cursor(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("the number of a payout"))
}

pub(super) fn received(
    connection: &Connection,
    hash: &AccountId,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT msat FROM received WHERE payment_hash = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row([hash.as_bytes()], |row| row.get(0))
        .optional()?)
}

pub(super) fn settlement_cursor(
    connection: &Connection,
    name: &str,
) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT cursor FROM settlement_cursors WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(found.map(i64::cast_unsigned))
}
