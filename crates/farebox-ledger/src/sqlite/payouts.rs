//! Payouts and settlement cursors as rows.

use farebox_core::{AccountId, PaymentHash, PayoutId, ProcessEpoch, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::columns::{expect_one, instant, instant_column, maybe_instant, maybe_msat, msat};
use crate::money::signed;
use crate::rows::{PayoutGate, PayoutRow, Reserve};
use crate::store::StoreError;
use crate::{AskedBy, PayoutState, PayoutView};

const PAYOUT: &str = "SELECT number, id, account, destination_hash, bolt11, backend, amount, \
     max_fee, fee, sold, excess, calls, asked_by, state, asked_at, ended_at, epoch FROM payouts";

/// Writes a payout that is begun, or its end.
pub(super) fn write(connection: &Connection, payout: &PayoutRow) -> Result<(), StoreError> {
    let PayoutRow {
        view,
        reserve,
        epoch,
    } = payout;
    if view.cursor > 0 {
        let sql =
            "UPDATE payouts SET state = ?2, fee = ?3, ended_at = ?4 WHERE id = ?1 AND state = 1";
        let ended = connection.prepare_cached(sql)?.execute((
            view.id.as_bytes(),
            view.state.code(),
            view.fee.map(signed),
            view.ended_at.map(instant_column),
        ))?;
        return expect_one(ended, "an open payout");
    }
    connection
        .prepare_cached(
            "INSERT INTO payouts (id, account, epoch, destination_hash, bolt11, backend, amount, \
             max_fee, sold, excess, calls, asked_by, state, asked_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute((
            view.id.as_bytes(),
            view.account.as_bytes(),
            epoch.0,
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
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    id: &PayoutId,
) -> Result<Option<PayoutRow>, StoreError> {
    one(connection, "id = ?1", [id.as_bytes()])
}

pub(super) fn find_by_destination(
    connection: &Connection,
    hash: &PaymentHash,
) -> Result<Option<PayoutRow>, StoreError> {
    one(connection, "destination_hash = ?1", [hash.as_bytes()])
}

/// What counts against the limits of payouts since an instant.
pub(super) fn gate(
    connection: &Connection,
    account: &AccountId,
    since: UnixMillis,
) -> Result<PayoutGate, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM payouts WHERE state = 1), \
         (SELECT coalesce(sum(amount), 0) FROM payouts WHERE state = 1) + \
         (SELECT coalesce(sum(amount), 0) FROM payouts WHERE state = 2 AND ended_at > ?2), \
         (SELECT count(*) FROM payouts WHERE account = ?1 AND asked_at > ?2)",
    )?;
    Ok(
        statement.query_row((account.as_bytes(), instant_column(since)), |row| {
            Ok(PayoutGate {
                open: row.get(0)?,
                total: row.get::<_, i64>(1)?.unsigned_abs(),
                begun: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        })?,
    )
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
    let which = "account = ?1 ORDER BY number DESC LIMIT ?2";
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
) -> Result<Option<PayoutRow>, StoreError> {
    many(connection, which, values).map(|found| found.into_iter().next())
}

fn many(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<PayoutRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{PAYOUT} WHERE {which}"))?;
    let mut found = statement.query(values)?;
    let mut payouts = Vec::new();
    while let Some(row) = found.next()? {
        payouts.push(read(row)?);
    }
    Ok(payouts)
}

fn read(row: &Row<'_>) -> Result<PayoutRow, StoreError> {
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
        fee: maybe_msat(row.get(8)?)?,
        calls: row.get(11)?,
        asked_by: asked_by.ok_or(StoreError::Corrupt("who asked for a payout"))?,
        state: state.ok_or(StoreError::Corrupt("the state of a payout"))?,
        asked_at: instant(row.get(14)?)?,
        ended_at: maybe_instant(row.get(15)?)?,
    };
    let reserve = Reserve {
        sold: msat(row.get(9)?)?,
        excess: msat(row.get(10)?)?,
        calls: row.get(11)?,
    };
    let epoch = ProcessEpoch(row.get(16)?);
    Ok(PayoutRow {
        view,
        reserve,
        epoch,
    })
}

fn cursor(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("the number of a payout"))
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
