//! Swaps, the coins that were received for them, and the coins that are or were ours.

use std::sync::Arc;

use farebox_core::{AccountId, MintId, ProcessEpoch, SwapId, UnixMillis};
use rusqlite::{Connection, Params, Row};

use super::columns::{
    binding_column, instant, instant_column, kind_columns, maybe_instant, methods_column, msat,
    read_terms, span_column,
};
use super::sql::Sql as _;
use crate::money::signed;
use crate::store::StoreError;
use crate::swap::{CoinName, CoinState, CoinView, SwapRow, SwapState, SwapView};

/// The columns of a swap; those of what is sold stand where [`read_terms`] expects them.
const SWAP: &str = "SELECT id, mint, account, amount, kind, calls, span, route, methods, request, \
     terms_epoch, valid_for, claim_by, epoch, received, body, state, begun_at, ended_at FROM swaps";
const COIN: &str = "SELECT mint, y, msat, bytes, state, made_by FROM coins";
pub(super) const POINT: usize = 33;

/// Writes a swap that is begun, or its end.
pub(super) fn write(connection: &Connection, row: &SwapRow) -> Result<(), StoreError> {
    let SwapRow { view, epoch } = row;
    let (kind, calls, span) = kind_columns(view.terms.kind);
    let sql = "INSERT INTO swaps VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
               ?13, ?14, ?15, ?16, ?17, ?18, ?19) ON CONFLICT (id) DO UPDATE \
               SET state = excluded.state, ended_at = excluded.ended_at, body = excluded.body";
    let values = rusqlite::params![
        view.id.as_bytes(),
        view.mint.number().cast_signed(),
        view.account.as_bytes(),
        signed(view.terms.amount),
        kind,
        calls,
        span,
        view.terms.route.as_str(),
        methods_column(view.terms.methods),
        binding_column(&view.terms.binding),
        view.terms.epoch.0,
        span_column(view.terms.valid_for),
        instant_column(view.terms.claim_by),
        epoch.0,
        view.received.concat(),
        &*view.body,
        view.state.code(),
        instant_column(view.begun_at),
        view.ended_at.map(instant_column),
    ];
    connection.run(sql, values).map(std::mem::drop)
}

/// Forgets a swap of which nothing came.
pub(super) fn drop(connection: &Connection, id: &SwapId) -> Result<(), StoreError> {
    let sql = "DELETE FROM swaps WHERE id = ?1";
    connection.run(sql, [id.as_bytes()]).map(std::mem::drop)
}

pub(super) fn find(connection: &Connection, id: &SwapId) -> Result<Option<SwapRow>, StoreError> {
    let sql = format!("{SWAP} WHERE id = ?1");
    connection.first(&sql, [id.as_bytes()], read)
}

/// All swaps that fulfil a condition.
pub(super) fn list(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<SwapView>, StoreError> {
    let sql = format!("{SWAP} WHERE {which}");
    connection.readable(&sql, values, |row| Ok(read(row)?.view))
}

fn read(row: &Row<'_>) -> Result<SwapRow, StoreError> {
    const SWAP: StoreError = StoreError::Corrupt("a swap");
    let received: Vec<u8> = row.get(14)?;
    let (points, rest) = received.as_chunks::<POINT>();
    if !rest.is_empty() {
        return Err(SWAP);
    }
    let body: Vec<u8> = row.get(15)?;
    Ok(SwapRow {
        view: SwapView {
            id: SwapId::from_bytes(row.get(0)?),
            mint: mint(row.get(1)?)?,
            account: AccountId::from_bytes(row.get(2)?),
            received: Arc::from(points),
            terms: read_terms(row)?,
            body: body.into(),
            state: SwapState::from_code(row.get(16)?).ok_or(SWAP)?,
            begun_at: instant(row.get(17)?)?,
            ended_at: maybe_instant(row.get(18)?)?,
        },
        epoch: ProcessEpoch(row.get(13)?),
    })
}

pub(super) fn mint(number: i64) -> Result<MintId, StoreError> {
    MintId::from_number(number.cast_unsigned()).ok_or(StoreError::Corrupt("a mint"))
}

/// The swap that a coin was received for.
pub(super) fn received_for(
    connection: &Connection,
    coin: &CoinName,
) -> Result<Option<SwapRow>, StoreError> {
    let sql = "SELECT swap FROM received WHERE mint = ?1 AND y = ?2";
    let values = (coin.mint.number().cast_signed(), coin.y);
    let swap = connection.first(sql, values, |row| Ok(SwapId::from_bytes(row.get(0)?)))?;
    let Some(id) = swap else { return Ok(None) };
    let swap = find(connection, &id)?;
    swap.map(Some)
        .ok_or(StoreError::Corrupt("the swap of a coin"))
}

/// Notes that a coin was received for a swap, or for none.
pub(super) fn write_received(
    connection: &Connection,
    coin: &CoinName,
    swap: Option<&SwapId>,
) -> Result<(), StoreError> {
    let mint = coin.mint.number().cast_signed();
    match swap {
        Some(swap) => {
            let sql = "INSERT OR REPLACE INTO received VALUES (?1, ?2, ?3)";
            connection.run(sql, (mint, coin.y, swap.as_bytes()))
        }
        None => {
            let sql = "DELETE FROM received WHERE mint = ?1 AND y = ?2";
            connection.run(sql, (mint, coin.y))
        }
    }
    .map(std::mem::drop)
}

/// Writes a coin that is made, given or freed. What it is made of is written once.
pub(super) fn write_coin(connection: &Connection, coin: &CoinView) -> Result<(), StoreError> {
    let sql = "INSERT INTO coins VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (mint, y) DO UPDATE SET state = excluded.state";
    let values = (
        coin.name.mint.number().cast_signed(),
        coin.name.y,
        signed(coin.worth),
        &*coin.bytes,
        coin.state.code(),
        coin.made_by.as_bytes(),
    );
    connection.run(sql, values).map(std::mem::drop)
}

/// Forgets a coin that is spent.
pub(super) fn drop_coin(connection: &Connection, coin: &CoinName) -> Result<(), StoreError> {
    let sql = "DELETE FROM coins WHERE mint = ?1 AND y = ?2";
    let values = (coin.mint.number().cast_signed(), coin.y);
    connection.run(sql, values).map(std::mem::drop)
}

pub(super) fn find_coin(
    connection: &Connection,
    coin: &CoinName,
) -> Result<Option<CoinView>, StoreError> {
    let sql = format!("{COIN} WHERE mint = ?1 AND y = ?2");
    let values = (coin.mint.number().cast_signed(), coin.y);
    connection.first(&sql, values, read_coin)
}

/// All coins that fulfil a condition.
pub(super) fn list_coins(
    connection: &Connection,
    which: &str,
    values: impl Params,
) -> Result<Vec<CoinView>, StoreError> {
    let sql = format!("{COIN} WHERE {which}");
    connection.readable(&sql, values, read_coin)
}

fn read_coin(row: &Row<'_>) -> Result<CoinView, StoreError> {
    let bytes: Vec<u8> = row.get(3)?;
    let state = CoinState::from_code(row.get(4)?);
    Ok(CoinView {
        name: CoinName {
            mint: mint(row.get(0)?)?,
            y: row.get(1)?,
        },
        worth: msat(row.get(2)?)?,
        bytes: bytes.into(),
        state: state.ok_or(StoreError::Corrupt("a coin"))?,
        made_by: SwapId::from_bytes(row.get(5)?),
    })
}

/// Forgets what is kept of an account that goes: its swaps, what was received for them, what was given.
pub(super) fn remove(connection: &Connection, account: &AccountId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM received WHERE swap IN (SELECT id FROM swaps WHERE account = ?1)",
        "DELETE FROM coins WHERE state = 3 \
         AND made_by IN (SELECT id FROM swaps WHERE account = ?1)",
        "DELETE FROM swaps WHERE account = ?1",
        "DELETE FROM change WHERE account = ?1",
    ] {
        connection.run(sql, [account.as_bytes()])?;
    }
    Ok(())
}

/// Forgets swaps that came to nothing so long ago that nothing turns up any more.
pub(super) fn forget(connection: &Connection, before: UnixMillis) -> Result<(), StoreError> {
    let sql = "DELETE FROM swaps WHERE number IN (SELECT number FROM swaps \
               WHERE state IN (3, 4) AND ended_at < ?1 LIMIT 4096)";
    connection
        .run(sql, [instant_column(before)])
        .map(std::mem::drop)
}
