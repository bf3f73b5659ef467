//! Held calls as rows: one for the state, and one each for request and answer while they are kept.

use farebox_core::{AccountId, KeyEpoch, Kind, PaymentHash, RequestDigest, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{
    binding_column, instant, instant_column, methods_column, read_terms, span_column,
};
use super::flush::expect_one;
use crate::book::{OpenHeldCall, signed};
use crate::store::StoreError;
use crate::{HeldCall, HeldState, HeldSummary};

const REQUEST: i64 = 1;
const ANSWER: i64 = 2;

/// Columns 3 to 12 are those of [`read_terms`]: a single call.
const HELD_CALL: &str = "SELECT token_id, payment_hash, key_epoch, amount, 1, 1, NULL, route, \
     methods, request, terms_epoch, valid_for, claim_by, digest, backend, state, created_at, \
     expires_at FROM held_calls";

pub(super) fn insert(connection: &Connection, call: &HeldCall) -> Result<(), StoreError> {
    debug_assert_eq!(call.terms.kind, Kind::Single);
    let bytes = i64::try_from(call.request.len()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO held_calls (payment_hash, token_id, key_epoch, amount, route, methods, \
             request, terms_epoch, valid_for, claim_by, digest, backend, state, created_at, \
             expires_at, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1, ?13, ?14, ?15)",
        )?
        .execute((
            call.payment_hash.as_bytes(),
            call.token_id,
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
            instant_column(call.created_at),
            instant_column(call.expires_at),
            bytes,
        ))?;
    put_body(
        connection,
        &call.payment_hash.account(),
        REQUEST,
        &call.request,
    )
}

pub(super) fn put_answer(
    connection: &Connection,
    hash: &AccountId,
    answer: &[u8],
) -> Result<(), StoreError> {
    put_body(connection, hash, ANSWER, answer)
}

fn put_body(
    connection: &Connection,
    hash: &AccountId,
    part: i64,
    body: &[u8],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO held_bodies VALUES (?1, ?2, ?3)";
    connection
        .prepare_cached(sql)?
        .execute((hash.as_bytes(), part, body))?;
    Ok(())
}

pub(super) fn move_on(
    connection: &Connection,
    hash: &AccountId,
    to: HeldState,
) -> Result<(), StoreError> {
    let sql = "UPDATE held_calls SET state = ?2 WHERE payment_hash = ?1 AND state < 4";
    let changed = connection
        .prepare_cached(sql)?
        .execute((hash.as_bytes(), to.code()))?;
    expect_one(changed, "an open held call")
}

/// Writes the end. The request goes at once, and the answer too where nobody may have it.
pub(super) fn end(
    connection: &Connection,
    hash: &AccountId,
    end: HeldState,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql =
        "UPDATE held_calls SET state = ?2, ended_at = ?3 WHERE payment_hash = ?1 AND state < 4";
    let values = (hash.as_bytes(), end.code(), instant_column(at));
    let changed = connection.prepare_cached(sql)?.execute(values)?;
    expect_one(changed, "an open held call")?;
    let kept = if end == HeldState::Settled { ANSWER } else { 0 };
    connection
        .prepare_cached("DELETE FROM held_bodies WHERE payment_hash = ?1 AND part <> ?2")?
        .execute((hash.as_bytes(), kept))?;
    Ok(())
}

/// A held call without its request and answer.
pub(super) fn find(
    connection: &Connection,
    hash: &AccountId,
) -> Result<Option<HeldCall>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("{HELD_CALL} WHERE payment_hash = ?1"))?;
    let mut found = statement.query([hash.as_bytes()])?;
    found.next()?.map(read).transpose()
}

/// A held call with what is kept of its request and answer.
pub(super) fn find_whole(
    connection: &Connection,
    hash: &AccountId,
) -> Result<Option<HeldCall>, StoreError> {
    let Some(mut call) = find(connection, hash)? else {
        return Ok(None);
    };
    call.request = body(connection, hash, REQUEST)?.unwrap_or_default();
    call.answer = body(connection, hash, ANSWER)?;
    Ok(Some(call))
}

fn body(
    connection: &Connection,
    hash: &AccountId,
    part: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT body FROM held_bodies WHERE payment_hash = ?1 AND part = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row((hash.as_bytes(), part), |row| row.get(0))
        .optional()?)
}

fn read(row: &Row<'_>) -> Result<HeldCall, StoreError> {
    Ok(HeldCall {
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
    })
}

fn state(code: i64) -> Result<HeldState, StoreError> {
    HeldState::from_code(code).ok_or(StoreError::Corrupt("the state of a held call"))
}

pub(super) fn list_open(connection: &Connection) -> Result<Vec<HeldSummary>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT payment_hash, state, backend, created_at, expires_at FROM held_calls \
         WHERE state < 4 ORDER BY created_at",
    )?;
    let mut found = statement.query([])?;
    let mut calls = Vec::new();
    while let Some(row) = found.next()? {
        calls.push(HeldSummary {
            payment_hash: PaymentHash::from_bytes(row.get(0)?),
            state: state(row.get(1)?)?,
            backend: row.get(2)?,
            created_at: instant(row.get(3)?)?,
            expires_at: instant(row.get(4)?)?,
        });
    }
    Ok(calls)
}

/// What the writer's picture keeps of every held call that has not ended.
pub(super) fn load(connection: &Connection) -> Result<Vec<(AccountId, OpenHeldCall)>, StoreError> {
    let mut statement =
        connection.prepare("SELECT payment_hash, state, bytes FROM held_calls WHERE state < 4")?;
    let mut found = statement.query([])?;
    let mut calls = Vec::new();
    while let Some(row) = found.next()? {
        let call = OpenHeldCall {
            state: state(row.get(1)?)?,
            bytes: row.get::<_, i64>(2)?.unsigned_abs(),
        };
        calls.push((AccountId::from_bytes(row.get(0)?), call));
    }
    Ok(calls)
}

/// Lets go of the answers of calls that ended before `answers`, and of all of those that ended
/// before `calls`.
pub(super) fn prune(
    connection: &Connection,
    answers: UnixMillis,
    calls: UnixMillis,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM held_bodies WHERE payment_hash IN \
             (SELECT payment_hash FROM held_calls WHERE state >= 4 AND ended_at < ?1)",
        )?
        .execute([instant_column(answers)])?;
    connection
        .prepare_cached("DELETE FROM held_calls WHERE state >= 4 AND ended_at < ?1")?
        .execute([instant_column(answers.min(calls))])?;
    Ok(())
}
