//! Withdrawals, and what there is of each unit of each mint.

use std::collections::BTreeMap;
use std::sync::Arc;

use farebox_core::{MintId, ProcessEpoch, WithdrawalId};
use rusqlite::{Connection, Params, Row};

use super::columns::{instant, instant_column, maybe_instant, msat};
use super::sql::Sql as _;
use super::swaps::{POINT, mint};
use crate::money::signed;
use crate::store::StoreError;
use crate::swap::CoinState;
use crate::withdrawal::{Heap, Stock, WithdrawalRow, WithdrawalState, WithdrawalView};

const WITHDRAWAL: &str = "SELECT id, mint, coins, msat, fee, body, state, token, epoch, begun_at, \
     ended_at FROM withdrawals";

/// Writes a withdrawal that is begun, or its end.
pub(super) fn write(connection: &Connection, row: &WithdrawalRow) -> Result<(), StoreError> {
    let WithdrawalRow { view, epoch } = row;
    let sql = "INSERT INTO withdrawals VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
               ON CONFLICT (id) DO UPDATE SET state = excluded.state, token = excluded.token, \
               ended_at = excluded.ended_at, body = excluded.body";
    let values = (
        view.id.as_bytes(),
        view.mint.number().cast_signed(),
        view.coins.concat(),
        signed(view.amount),
        signed(view.fee),
        &*view.body,
        view.state.code(),
        &*view.token,
        epoch.0,
        instant_column(view.begun_at),
        view.ended_at.map(instant_column),
    );
    connection.run(sql, values).map(drop)
}

pub(super) fn find(
    connection: &Connection,
    id: &WithdrawalId,
) -> Result<Option<WithdrawalRow>, StoreError> {
    let sql = format!("{WITHDRAWAL} WHERE id = ?1");
    connection.first(&sql, [id.as_bytes()], read)
}

/// All withdrawals that fulfil a condition.
pub(super) fn list(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<WithdrawalView>, StoreError> {
    let sql = format!("{WITHDRAWAL} WHERE {which}");
    connection.readable(&sql, values, |row| Ok(read(row)?.view))
}

fn read(row: &Row<'_>) -> Result<WithdrawalRow, StoreError> {
    const WITHDRAWAL: StoreError = StoreError::Corrupt("a withdrawal");
    let coins: Vec<u8> = row.get(2)?;
    let (points, rest) = coins.as_chunks::<POINT>();
    if !rest.is_empty() {
        return Err(WITHDRAWAL);
    }
    let (body, token): (Vec<u8>, String) = (row.get(5)?, row.get(7)?);
    Ok(WithdrawalRow {
        view: WithdrawalView {
            id: WithdrawalId::from_bytes(row.get(0)?),
            mint: mint(row.get(1)?)?,
            coins: Arc::from(points),
            amount: msat(row.get(3)?)?,
            fee: msat(row.get(4)?)?,
            body: body.into(),
            state: WithdrawalState::from_code(row.get(6)?).ok_or(WITHDRAWAL)?,
            token: token.into(),
            begun_at: instant(row.get(9)?)?,
            ended_at: maybe_instant(row.get(10)?)?,
        },
        epoch: ProcessEpoch(row.get(8)?),
    })
}

/// What there is of every unit of every mint of which there was anything.
pub(super) fn stock(connection: &Connection) -> Result<Vec<Stock>, StoreError> {
    let mut all: BTreeMap<MintId, Stock> = BTreeMap::new();
    let sql = "SELECT mint, state, count(*), sum(msat) FROM coins GROUP BY mint, state";
    for (id, state, heap) in connection.readable(sql, (), |row| {
        let state = CoinState::from_code(row.get(1)?);
        let state = state.ok_or(StoreError::Corrupt("a coin"))?;
        Ok((mint(row.get(0)?)?, state, heap(row, 2)?))
    })? {
        let stock = all.entry(id).or_insert_with(|| Stock::none(id));
        *match state {
            CoinState::Reserved => &mut stock.reserved,
            CoinState::Free => &mut stock.free,
            CoinState::Given => &mut stock.given,
            CoinState::Leaving => &mut stock.leaving,
        } = heap;
    }
    let sql = "SELECT mint, count(*), sum(amount), min(begun_at) FROM swaps WHERE state = 1 \
               GROUP BY mint";
    for (id, heap, oldest) in connection.readable(sql, (), |row| {
        Ok((mint(row.get(0)?)?, heap(row, 1)?, instant(row.get(3)?)?))
    })? {
        let stock = all.entry(id).or_insert_with(|| Stock::none(id));
        (stock.in_doubt, stock.oldest_doubt) = (heap, Some(oldest));
    }
    let sql = "SELECT mint, count(*), sum(msat + fee) FROM withdrawals WHERE state = 2 \
               GROUP BY mint";
    for (id, heap) in connection.readable(sql, (), |row| Ok((mint(row.get(0)?)?, heap(row, 1)?)))? {
        all.entry(id).or_insert_with(|| Stock::none(id)).withdrawn = heap;
    }
    Ok(all.into_values().collect())
}

/// The number and the sum in two columns.
fn heap(row: &Row<'_>, at: usize) -> Result<Heap, StoreError> {
    let count: i64 = row.get(at)?;
    Ok(Heap {
        count: count.unsigned_abs(),
        worth: msat(row.get(at + 1)?)?,
    })
}
