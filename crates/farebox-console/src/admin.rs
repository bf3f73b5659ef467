//! The admin API: accounts, revocation, keys, the trial balance.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farebox_api::{Accounts, Revoked, Rotate, Rotated, Token, Transfers, TrialBalance};
use farebox_core::PaymentHash;
use farebox_paywall::keyring::Rotation;
use serde::Deserialize;
use serde_json::json;

use crate::error::ConsoleError;
use crate::{Shared, view};

/// Rows of a listing, unless the caller says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// The most rows of a listing.
const MAX_LIMIT: u32 = 1000;

/// Which page of a listing that counts its rows.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default, alias = "after")]
    pub(crate) cursor: u64,
    pub(crate) limit: Option<u32>,
}

/// Which page of transfers.
#[derive(Deserialize)]
pub(crate) struct TransferPage {
    before: Option<String>,
    limit: Option<u32>,
}

/// Whether the gateway can sell. Open to all, so it says nothing else.
pub(crate) async fn health(State(state): State<Shared>) -> Response {
    if state.options.ledger.stats().refusing {
        let body = Json(json!({ "status": "refusing" }));
        return (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    }
    Json(json!({ "status": "ok" })).into_response()
}

pub(crate) async fn accounts(
    State(state): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Accounts>, ConsoleError> {
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let rows = state.settled().await?.accounts(page.cursor, limit).await?;
    let now = state.options.clock.now();
    Ok(Json(Accounts {
        next: next(&rows, limit).map(|last| last.cursor),
        accounts: rows.iter().map(|row| view::account(row, now)).collect(),
    }))
}

pub(crate) async fn token(
    State(state): State<Shared>,
    Path(hash): Path<String>,
) -> Result<Json<Token>, ConsoleError> {
    let hash = payment_hash(&hash)?;
    let ledger = state.settled().await?;
    let account = ledger.account(hash.account()).await?;
    let account = account.ok_or(ConsoleError::NoAccount)?;
    let left = ledger.refundable(hash.account()).await?;
    Ok(Json(Token {
        account: view::account(&account, state.options.clock.now()),
        refundable_msat: left.map_or(0, |left| left.available.get()),
    }))
}

pub(crate) async fn transfers(
    State(state): State<Shared>,
    Path(hash): Path<String>,
    page: Result<Query<TransferPage>, QueryRejection>,
) -> Result<Json<Transfers>, ConsoleError> {
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let before = page.before.map(|id| transfer_id(&id)).transpose()?;
    let account = payment_hash(&hash)?.account();
    let ledger = state.settled().await?;
    let rows = ledger.transfers(account, before, limit).await?;
    let transfers: Vec<_> = rows.iter().map(view::transfer).collect();
    Ok(Json(Transfers {
        next: next(&transfers, limit).map(|last| last.id.clone()),
        transfers,
    }))
}

pub(crate) async fn revoke(
    State(state): State<Shared>,
    Path(hash): Path<String>,
) -> Result<Json<Revoked>, ConsoleError> {
    let hash = payment_hash(&hash)?;
    let known = state.options.ledger.revoke(hash.account()).await?;
    tracing::info!(payment.hash = %hash, known, "a token was revoked");
    Ok(Json(Revoked {
        payment_hash: hash.to_string(),
        revoked: true,
        known,
    }))
}

pub(crate) async fn rotate(
    State(state): State<Shared>,
    body: Result<Json<Rotate>, JsonRejection>,
) -> Result<Json<Rotated>, ConsoleError> {
    let Json(Rotate { emergency }) = body?;
    let rotation = if emergency {
        Rotation::Emergency
    } else {
        Rotation::Routine
    };
    let now = state.options.clock.now();
    let keyring = Arc::clone(&state.options.keyring);
    // It writes a file and waits for the disk.
    let epoch = tokio::task::spawn_blocking(move || keyring.rotate(rotation, now)).await??;
    let epoch = epoch.0;
    tracing::warn!(epoch, emergency, "the signing keys were rotated");
    Ok(Json(Rotated { epoch, emergency }))
}

pub(crate) async fn trial_balance(
    State(state): State<Shared>,
) -> Result<Json<TrialBalance>, ConsoleError> {
    let balance = state.settled().await?.trial_balance().await?;
    Ok(Json(view::trial_balance(&balance)))
}

pub(crate) fn payment_hash(text: &str) -> Result<PaymentHash, ConsoleError> {
    PaymentHash::from_hex(text).map_err(|error| ConsoleError::bad(format!("payment hash: {error}")))
}

fn transfer_id(text: &str) -> Result<[u8; 16], ConsoleError> {
    let mut id = [0; 16];
    let digits = text.replace('-', "");
    let decoded = hex::decode_to_slice(digits, &mut id);
    decoded.map_err(|_| ConsoleError::bad("before: not the id of a transfer"))?;
    Ok(id)
}

/// How many rows a listing gives.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ConsoleError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ConsoleError::bad(format!("limit: 1 to {MAX_LIMIT}"))),
    }
}

/// The row behind which a listing goes on: a page that is not full is the last one.
pub(crate) fn next<T>(rows: &[T], limit: u32) -> Option<&T> {
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count == limit);
    rows.last().filter(|_| is_full)
}
