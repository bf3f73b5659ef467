//! The admin API: accounts, revocation, keys, the trial balance.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farebox_core::PaymentHash;
use farebox_ledger::Ledger;
use farebox_paywall::keyring::Rotation;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::view::{AccountJson, TokenJson, TransferJson, TrialBalanceJson};
use crate::{ConsoleError, Shared};

/// Rows of a listing, unless the caller says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// The most rows of a listing.
const MAX_LIMIT: u32 = 1000;

/// Which page of accounts.
#[derive(Deserialize)]
pub(crate) struct AccountPage {
    cursor: Option<u64>,
    limit: Option<u32>,
}

/// Which page of transfers.
#[derive(Deserialize)]
pub(crate) struct TransferPage {
    before: Option<String>,
    limit: Option<u32>,
}

/// How to rotate.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RotateBody {
    emergency: bool,
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
    page: Result<Query<AccountPage>, QueryRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Query(page) = page.map_err(|error| bad_request(&error))?;
    let limit = limit(page.limit)?;
    let accounts = settled(&state)
        .await?
        .accounts(page.cursor.unwrap_or(0), limit)
        .await?;
    let full = u32::try_from(accounts.len()).is_ok_and(|rows| rows == limit);
    let next = accounts.last().filter(|_| full).map(|last| last.cursor);
    let now = state.options.clock.now();
    let accounts: Vec<_> = accounts
        .iter()
        .map(|account| AccountJson::new(account, now))
        .collect();
    Ok(Json(json!({ "accounts": accounts, "next": next })))
}

pub(crate) async fn token(
    State(state): State<Shared>,
    Path(hash): Path<String>,
) -> Result<Json<TokenJson>, ConsoleError> {
    let hash = payment_hash(&hash)?;
    let ledger = settled(&state).await?;
    let account = ledger.account(hash.account()).await?;
    let account = account.ok_or(ConsoleError::NoAccount)?;
    let left = ledger.refundable(hash.account()).await?;
    let account = AccountJson::new(&account, state.options.clock.now());
    Ok(Json(TokenJson::new(account, left.as_ref())))
}

pub(crate) async fn transfers(
    State(state): State<Shared>,
    Path(hash): Path<String>,
    page: Result<Query<TransferPage>, QueryRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Query(page) = page.map_err(|error| bad_request(&error))?;
    let limit = limit(page.limit)?;
    let before = page.before.map(|id| transfer_id(&id)).transpose()?;
    let hash = payment_hash(&hash)?;
    let transfers = settled(&state)
        .await?
        .transfers(hash.account(), before, limit)
        .await?;
    let full = u32::try_from(transfers.len()).is_ok_and(|rows| rows == limit);
    let transfers: Vec<_> = transfers.iter().map(TransferJson::new).collect();
    let next = transfers
        .last()
        .filter(|_| full)
        .map(|last| last.id.clone());
    Ok(Json(json!({ "transfers": transfers, "next": next })))
}

pub(crate) async fn revoke(
    State(state): State<Shared>,
    Path(hash): Path<String>,
) -> Result<Json<Value>, ConsoleError> {
    let hash = payment_hash(&hash)?;
    let known = state.options.ledger.revoke(hash.account()).await?;
    tracing::info!(payment.hash = %hash, known, "a token was revoked");
    Ok(Json(
        json!({ "payment_hash": hash.to_string(), "revoked": true, "known": known }),
    ))
}

pub(crate) async fn rotate(
    State(state): State<Shared>,
    body: Result<Json<RotateBody>, JsonRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Json(body) = body.map_err(|error| bad_request(&error))?;
    let rotation = if body.emergency {
        Rotation::Emergency
    } else {
        Rotation::Routine
    };
    let now = state.options.clock.now();
    let keyring = Arc::clone(&state.options.keyring);
    // It writes a file and waits for the disk.
    let epoch = tokio::task::spawn_blocking(move || keyring.rotate(rotation, now)).await??;
    tracing::warn!(
        epoch = epoch.0,
        emergency = body.emergency,
        "the signing keys were rotated"
    );
    Ok(Json(
        json!({ "epoch": epoch.0, "emergency": body.emergency }),
    ))
}

pub(crate) async fn trial_balance(
    State(state): State<Shared>,
) -> Result<Json<TrialBalanceJson>, ConsoleError> {
    let balance = settled(&state).await?.trial_balance().await?;
    Ok(Json(TrialBalanceJson::new(&balance)))
}

/// The ledger, when everything that was answered before has reached the store: whoever just bought
/// something looks it up here.
async fn settled(state: &Shared) -> Result<&Ledger, ConsoleError> {
    state.options.ledger.flush().await?;
    Ok(&state.options.ledger)
}

pub(crate) fn payment_hash(text: &str) -> Result<PaymentHash, ConsoleError> {
    PaymentHash::from_hex(text).map_err(|error| ConsoleError::BadRequest {
        what: format!("payment hash: {error}"),
    })
}

fn transfer_id(text: &str) -> Result<[u8; 16], ConsoleError> {
    let mut id = [0; 16];
    let digits = text.replace('-', "");
    hex::decode_to_slice(digits, &mut id).map_err(|_| ConsoleError::BadRequest {
        what: "before: not the id of a transfer".into(),
    })?;
    Ok(id)
}

/// How many rows a listing gives.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ConsoleError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ConsoleError::BadRequest {
            what: format!("limit: 1 to {MAX_LIMIT}"),
        }),
    }
}

fn bad_request(error: &impl ToString) -> ConsoleError {
    ConsoleError::BadRequest {
        what: error.to_string(),
    }
}
