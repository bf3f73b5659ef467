//! Prepaid keys for the operator: made, listed, limited and revoked.
//!
//! A key that is made here has no money until somebody pays an invoice for it; its secret is in the
//! answer and nowhere else.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use farebox_core::KeyHash;
use farebox_ledger::{KeyView, Ledger, LedgerError, OpenChild, OpenKey, Opened};
use farebox_paywall::keys::{KeySecret, LimitsWish, describe};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::limit;
use crate::{ConsoleError, Shared};

/// Which page of keys.
#[derive(Deserialize)]
pub(crate) struct KeyPage {
    cursor: Option<u64>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(state): State<Shared>,
    page: Result<Query<KeyPage>, QueryRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Query(page) = page.map_err(|error| bad_request(&error))?;
    let limit = limit(page.limit)?;
    let keys = settled(&state)
        .await?
        .keys(page.cursor.unwrap_or(0), limit)
        .await?;
    let full = u32::try_from(keys.len()).is_ok_and(|rows| rows == limit);
    let next = keys.last().filter(|_| full).map(|last| last.cursor);
    let keys: Vec<_> = keys.iter().map(describe).collect();
    Ok(Json(json!({ "keys": keys, "next": next })))
}

/// Makes a key: with `parent`, one that spends the money of that one.
pub(crate) async fn make(
    State(state): State<Shared>,
    Json(mut body): Json<Value>,
) -> Result<(StatusCode, Json<Value>), ConsoleError> {
    let parent = body.as_object_mut().and_then(|body| body.remove("parent"));
    let wish = wish(&body)?;
    let secret = KeySecret::draw().map_err(|error| ConsoleError::Random(error.to_string()))?;
    let view = match parent.as_ref().map(Value::as_str) {
        None => open(&state, &secret, wish).await?,
        Some(Some(parent)) => {
            let parent = find(&state, parent).await?.key;
            open_child(&state, parent, &secret, wish).await?
        }
        Some(None) => return Err(bad_request(&"parent: the id of a key")),
    };
    tracing::info!(key = view.public_id, "a prepaid key was made");
    let mut made = describe(&view);
    made["key"] = secret.reveal().into();
    Ok((StatusCode::CREATED, Json(made)))
}

async fn open(
    state: &Shared,
    secret: &KeySecret,
    wish: LimitsWish,
) -> Result<KeyView, ConsoleError> {
    let open = OpenKey {
        key: secret.hash(),
        public_id: secret.public_id(),
        created_at: state.options.clock.now(),
        note: wish.note,
    };
    let ledger = &state.options.ledger;
    let view = opened(ledger.open_key(open).await.map_err(too_large)?)?;
    let limited = ledger.limit_key(view.key, wish.limits).await;
    limited.map_err(too_large)?.ok_or(ConsoleError::NoKey)
}

async fn open_child(
    state: &Shared,
    parent: KeyHash,
    secret: &KeySecret,
    wish: LimitsWish,
) -> Result<KeyView, ConsoleError> {
    let open = OpenChild {
        parent,
        child: secret.hash(),
        public_id: secret.public_id(),
        limits: wish.limits,
        created_at: state.options.clock.now(),
        note: wish.note,
    };
    let ledger = &state.options.ledger;
    opened(ledger.open_child(open).await.map_err(too_large)?)
}

fn opened(opened: Opened) -> Result<KeyView, ConsoleError> {
    let what = match opened {
        Opened::Opened(view) | Opened::Exists(view) => return Ok(view),
        Opened::Taken => "another key has this id; ask again",
        Opened::UnknownParent => return Err(ConsoleError::NoKey),
        Opened::NotParent => "parent: it is a child itself",
        Opened::Inactive => "parent: it was never paid for",
        Opened::Revoked => "parent: it was revoked",
        Opened::Full => "parent: it has as many children as it may have",
    };
    Err(bad_request(&what))
}

pub(crate) async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ConsoleError> {
    Ok(Json(describe(&find(&state, &id).await?)))
}

/// Replaces all limits of a key; what is not named has none any more.
pub(crate) async fn set_limits(
    State(state): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, ConsoleError> {
    let wish = wish(&body)?;
    if wish.note.is_some() {
        return Err(bad_request(&"note: it stays as it was made"));
    }
    let key = find(&state, &id).await?.key;
    let limited = state.options.ledger.limit_key(key, wish.limits).await;
    let view = limited.map_err(too_large)?.ok_or(ConsoleError::NoKey)?;
    tracing::info!(key = view.public_id, "a prepaid key was limited");
    Ok(Json(describe(&view)))
}

pub(crate) async fn revoke(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ConsoleError> {
    let key = find(&state, &id).await?.key;
    let view = state.options.ledger.revoke_key(key).await?;
    let view = view.ok_or(ConsoleError::NoKey)?;
    tracing::info!(key = view.public_id, "a prepaid key was revoked");
    Ok(Json(describe(&view)))
}

pub(crate) async fn find(state: &Shared, id: &str) -> Result<KeyView, ConsoleError> {
    let view = settled(state).await?.key_by_public_id(id).await?;
    view.ok_or(ConsoleError::NoKey)
}

async fn settled(state: &Shared) -> Result<&Ledger, ConsoleError> {
    state.options.ledger.flush().await?;
    Ok(&state.options.ledger)
}

fn wish(body: &Value) -> Result<LimitsWish, ConsoleError> {
    LimitsWish::parse(body.to_string().as_bytes()).map_err(|error| bad_request(&error))
}

/// What the ledger finds too long was the caller's own text.
fn too_large(error: LedgerError) -> ConsoleError {
    match error {
        LedgerError::TooLarge => bad_request(&"a note or a list of names is too long"),
        error => error.into(),
    }
}

fn bad_request(error: &impl ToString) -> ConsoleError {
    ConsoleError::BadRequest {
        what: error.to_string(),
    }
}
