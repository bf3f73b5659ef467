//! Prepaid keys for the operator: made, listed, limited and revoked.
//!
//! A key that is made here has no money until somebody pays an invoice for it; its secret is in the
//! answer and nowhere else.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use farebox_api::{Key, KeyWish, Keys, MadeKey};
use farebox_core::KeyHash;
use farebox_ledger::{KeyView, LedgerError, OpenChild, OpenKey, Opened};
use farebox_paywall::keys::{KeySecret, LimitsWish, describe};

use crate::Shared;
use crate::admin::{Page, limit, next};
use crate::error::ConsoleError;

pub(crate) async fn list(
    State(state): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Keys>, ConsoleError> {
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let rows = state.settled().await?.keys(page.cursor, limit).await?;
    Ok(Json(Keys {
        next: next(&rows, limit).map(|last| last.cursor),
        keys: rows.iter().map(describe).collect(),
    }))
}

/// Makes a key: with `parent`, one that spends the money of that one.
pub(crate) async fn make(
    State(state): State<Shared>,
    body: Result<Json<KeyWish>, JsonRejection>,
) -> Result<(StatusCode, Json<MadeKey>), ConsoleError> {
    let Json(mut body) = body?;
    let parent = body.parent.take();
    let wish = LimitsWish::try_from(body).map_err(ConsoleError::bad)?;
    let secret = KeySecret::draw().map_err(|error| ConsoleError::Random(error.to_string()))?;
    let view = match parent {
        None => open(&state, &secret, wish).await?,
        Some(parent) => {
            let parent = find(&state, &parent).await?.key;
            open_child(&state, parent, &secret, wish).await?
        }
    };
    tracing::info!(key = view.public_id, "a prepaid key was made");
    let made = MadeKey {
        about: describe(&view),
        key: secret.reveal().to_owned(),
    };
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
    Err(ConsoleError::bad(what))
}

pub(crate) async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Key>, ConsoleError> {
    Ok(Json(describe(&find(&state, &id).await?)))
}

/// Replaces all limits of a key; what is not named has none any more.
pub(crate) async fn set_limits(
    State(state): State<Shared>,
    Path(id): Path<String>,
    body: Result<Json<KeyWish>, JsonRejection>,
) -> Result<Json<Key>, ConsoleError> {
    let Json(body) = body?;
    if body.note.is_some() || body.parent.is_some() {
        return Err(ConsoleError::bad("note and parent stay as they were made"));
    }
    let wish = LimitsWish::try_from(body).map_err(ConsoleError::bad)?;
    let key = find(&state, &id).await?.key;
    let limited = state.options.ledger.limit_key(key, wish.limits).await;
    let view = limited.map_err(too_large)?.ok_or(ConsoleError::NoKey)?;
    tracing::info!(key = view.public_id, "a prepaid key was limited");
    Ok(Json(describe(&view)))
}

pub(crate) async fn revoke(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Key>, ConsoleError> {
    let key = find(&state, &id).await?.key;
    let view = state.options.ledger.revoke_key(key).await?;
    let view = view.ok_or(ConsoleError::NoKey)?;
    tracing::info!(key = view.public_id, "a prepaid key was revoked");
    Ok(Json(describe(&view)))
}

pub(crate) async fn find(state: &Shared, id: &str) -> Result<KeyView, ConsoleError> {
    let view = state.settled().await?.key_by_public_id(id).await?;
    view.ok_or(ConsoleError::NoKey)
}

/// What the ledger finds too long was the caller's own text.
fn too_large(error: LedgerError) -> ConsoleError {
    match error {
        LedgerError::TooLarge => ConsoleError::bad("a note or a list of names is too long"),
        error => error.into(),
    }
}
