//! Held calls as rows: one for the state, and one each for request and answer while they are kept.

use farebox_core::{AccountId, KeyEpoch, PaymentHash, ProcessEpoch, RequestDigest};
use rusqlite::{Connection, Row};

use super::columns::{
    binding_column, instant, instant_column, maybe_instant, methods_column, read_terms, span_column,
};
use super::sql::Sql as _;
use crate::money::signed;
use crate::rows::{Body, HeldRow};
use crate::store::StoreError;
use crate::{HeldCall, HeldState, HeldSummary};

const REQUEST: i64 = 1;
const ANSWER: i64 = 2;

/// Columns 3 to 12 are those of [`read_terms`]: a single call.
const HELD_CALL: &str = "SELECT token_id, name, key_epoch, amount, 1, 1, NULL, route, \
     methods, request, terms_epoch, valid_for, claim_by, digest, backend, state, created_at, \
     expires_at, bytes, epoch, ended_at FROM held_calls";

/// Writes a held call, new or moved on. When it has ended its request goes at once, and the answer
/// too where nobody may have it.
pub(super) fn write(connection: &Connection, row: &HeldRow) -> Result<(), StoreError> {
    let HeldRow {
        call,
        bytes,
        epoch,
        ended_at,
    } = row;
    let name = call.payment_hash.account();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO held_calls (name, token_id, epoch, key_epoch, amount, route, \
             methods, request, terms_epoch, valid_for, claim_by, digest, backend, state, \
             created_at, expires_at, ended_at, bytes) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(rusqlite::params![
            name.as_bytes(),
            call.token_id,
            epoch.0,
            call.key_epoch.0,
            signed(call.terms.amount),
            call.terms.route.as_str(),
            methods_column(call.terms.methods),
            binding_column(&call.terms.binding),
            call.terms.epoch.0,
            span_column(call.terms.valid_for),
            instant_column(call.terms.claim_by),
            call.digest.as_bytes(),
            &call.backend,
            call.state.code(),
            instant_column(call.created_at),
            instant_column(call.expires_at),
            ended_at.map(instant_column),
            i64::try_from(*bytes).unwrap_or(i64::MAX),
        ])?;
    if call.state.is_end() {
        let settled = call.state == HeldState::Settled;
        let kept = if settled { ANSWER } else { 0 };
        let sql = "DELETE FROM held_bodies WHERE name = ?1 AND part <> ?2";
        connection.run(sql, (name.as_bytes(), kept))?;
    }
    Ok(())
}

pub(super) fn put_body(
    connection: &Connection,
    name: &AccountId,
    body: &Body,
) -> Result<(), StoreError> {
    let (part, bytes) = match body {
        Body::Request(bytes) => (REQUEST, bytes),
        Body::Answer(bytes) => (ANSWER, bytes),
    };
    let sql = "INSERT INTO held_bodies VALUES (?1, ?2, ?3)";
    connection
        .run(sql, (name.as_bytes(), part, &**bytes))
        .map(drop)
}

/// The row of a held call.
pub(super) fn row(connection: &Connection, name: &AccountId) -> Result<HeldRow, StoreError> {
    find(connection, name)?.ok_or(StoreError::Corrupt("a held call"))
}

fn find(connection: &Connection, name: &AccountId) -> Result<Option<HeldRow>, StoreError> {
    let sql = format!("{HELD_CALL} WHERE name = ?1");
    connection.first(&sql, [name.as_bytes()], read)
}

/// A held call with what is kept of its request and answer.
pub(super) fn find_whole(
    connection: &Connection,
    name: &AccountId,
) -> Result<Option<HeldCall>, StoreError> {
    let Some(HeldRow { mut call, .. }) = find(connection, name)? else {
        return Ok(None);
    };
    let body = |part: i64| {
        let sql = "SELECT body FROM held_bodies WHERE name = ?1 AND part = ?2";
        connection.first(sql, (name.as_bytes(), part), |row| Ok(row.get(0)?))
    };
    call.request = body(REQUEST)?.unwrap_or_default();
    call.answer = body(ANSWER)?;
    Ok(Some(call))
}

fn read(row: &Row<'_>) -> Result<HeldRow, StoreError> {
    let call = HeldCall {
        payment_hash: PaymentHash::from_bytes(row.get(1)?),
        token_id: row.get(0)?,
        key_epoch: KeyEpoch(row.get(2)?),
        terms: read_terms(row)?,
        digest: RequestDigest::from_bytes(row.get(13)?),
        request: Vec::new(),
        backend: row.get(14)?,
        state: state(row.get(15)?)?,
        created_at: instant(row.get(16)?)?,
        expires_at: instant(row.get(17)?)?,
        answer: None,
    };
    Ok(HeldRow {
        call,
        bytes: row.get::<_, i64>(18)?.unsigned_abs(),
        epoch: ProcessEpoch(row.get(19)?),
        ended_at: maybe_instant(row.get(20)?)?,
    })
}

fn state(code: i64) -> Result<HeldState, StoreError> {
    HeldState::from_code(code).ok_or(StoreError::Corrupt("the state of a held call"))
}

pub(super) fn list_open(connection: &Connection) -> Result<Vec<HeldSummary>, StoreError> {
    let sql = "SELECT name, state, backend, created_at, expires_at FROM held_calls \
               WHERE state < 4 ORDER BY created_at";
    connection.readable(sql, (), |row| {
        Ok(HeldSummary {
            payment_hash: PaymentHash::from_bytes(row.get(0)?),
            state: state(row.get(1)?)?,
            backend: row.get(2)?,
            created_at: instant(row.get(3)?)?,
            expires_at: instant(row.get(4)?)?,
        })
    })
}

/// How many held calls have not ended, and the bytes of their requests.
pub(super) fn totals(connection: &Connection) -> Result<(u32, u64), StoreError> {
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM held_calls WHERE state < 4";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
    let (calls, bytes) = connection.query_row(sql, [], read)?;
    Ok((calls, bytes.unsigned_abs()))
}

pub(super) fn remove(connection: &Connection, name: &AccountId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM held_calls WHERE name = ?1",
        "DELETE FROM held_bodies WHERE name = ?1",
    ] {
        connection.run(sql, [name.as_bytes()])?;
    }
    Ok(())
}
