//! Payouts as rows.

use farebox_core::{AccountId, PaymentHash, PayoutId, ProcessEpoch, UnixMillis};
use rusqlite::{Connection, Params, Row};

use super::columns::{self, instant, instant_column, maybe_instant, maybe_msat, msat};
use super::sql::Sql as _;
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
        let values = (
            view.id.as_bytes(),
            view.state.code(),
            view.fee.map(signed),
            view.ended_at.map(instant_column),
        );
        return connection.change_one("an open payout", sql, values);
    }
    let sql = "INSERT INTO payouts (id, account, epoch, destination_hash, bolt11, backend, amount, \
               max_fee, sold, excess, calls, asked_by, state, asked_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let values = (
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
    );
    connection.run(sql, values).map(drop)
}

/// What counts against the limits of payouts since an instant.
pub(super) fn gate(
    connection: &Connection,
    account: &AccountId,
    since: UnixMillis,
) -> Result<PayoutGate, StoreError> {
    let sql = "SELECT (SELECT count(*) FROM payouts WHERE state = 1), \
               (SELECT coalesce(sum(amount), 0) FROM payouts WHERE state = 1) + \
               (SELECT coalesce(sum(amount), 0) FROM payouts WHERE state = 2 AND ended_at > ?2), \
               (SELECT coalesce(sum(amount), 0) FROM payouts WHERE account = ?1 \
               AND (state = 1 OR state = 2 AND ended_at > ?2)), \
               (SELECT count(*) FROM payouts WHERE account = ?1 AND asked_at > ?2)";
    let values = (account.as_bytes(), instant_column(since));
    let gate = connection.first(sql, values, |row| {
        Ok(PayoutGate {
            open: row.get(0)?,
            total: row.get::<_, i64>(1)?.unsigned_abs(),
            own: row.get::<_, i64>(2)?.unsigned_abs(),
            begun: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })?;
    gate.ok_or(StoreError::Corrupt("the payouts"))
}

/// The payout that fulfils a condition.
pub(super) fn find(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Option<PayoutRow>, StoreError> {
    connection.first(&format!("{PAYOUT} WHERE {which}"), values, read)
}

/// All payouts that fulfil a condition, as people read them.
pub(super) fn list(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<PayoutView>, StoreError> {
    let view = |row: &Row<'_>| Ok(read(row)?.view);
    connection.readable(&format!("{PAYOUT} WHERE {which}"), values, view)
}

fn read(row: &Row<'_>) -> Result<PayoutRow, StoreError> {
    let asked_by = AskedBy::from_code(row.get(12)?);
    let state = PayoutState::from_code(row.get(13)?);
    let view = PayoutView {
        cursor: columns::cursor(row.get(0)?)?,
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
