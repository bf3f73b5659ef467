//! The operator pays back what is on a token or a prepaid key, and looks at what was paid back.
//!
//! The operator may refund any account the ledger knows, revoked and expired ones too. A payment
//! that was never claimed is unknown to it: its token was never used, and only its holder can ask.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farebox_api::{Close, Payout, PayoutState, Payouts, Refund};
use farebox_core::{KeyHash, Msat, PayoutId};
use farebox_ledger::{AskedBy, LedgerError, PayoutEnd, PayoutView};
use farebox_paywall::payout::{RefundError, RefundRequest, Source};

use crate::Shared;
use crate::admin::{Page, limit, next, payment_hash};
use crate::error::ConsoleError;
use crate::view::rfc3339;

/// Pays back. 200 once it is paid, 202 while it is under way, 502 when the payment failed.
pub(crate) async fn refund(
    State(state): State<Shared>,
    Path(hash): Path<String>,
    body: Result<Json<Refund>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let source = Source::Token {
        payment_hash: payment_hash(&hash)?,
        claim: None,
    };
    pay_back(&state, source, body).await
}

/// The same for a key, by its public name.
pub(crate) async fn refund_key(
    State(state): State<Shared>,
    Path(id): Path<String>,
    body: Result<Json<Refund>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let key = crate::keys::find(&state, &id).await?.key;
    pay_back(&state, Source::Key(key), body).await
}

async fn pay_back(
    state: &Shared,
    source: Source,
    body: Result<Json<Refund>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let Json(body) = body?;
    let amount = body.amount_msat.map(|amount| msat("amount_msat", amount));
    let payouts = state.options.payouts.as_ref();
    let payouts = payouts.ok_or(RefundError::NoPayer)?;
    let request = RefundRequest {
        source,
        destination: body.to.parse()?,
        asked_by: AskedBy::Operator,
        client: None,
        amount: amount.transpose()?,
        repeat: None,
    };
    let told = payout(&payouts.refund(request).await?, state).await?;
    let status = match told.state {
        PayoutState::Paid => StatusCode::OK,
        PayoutState::Open => StatusCode::ACCEPTED,
        PayoutState::Failed => StatusCode::BAD_GATEWAY,
    };
    Ok((status, Json(told)).into_response())
}

pub(crate) async fn list(
    State(state): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Payouts>, ConsoleError> {
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let rows = state.options.ledger.payouts(page.cursor, limit).await?;
    let mut payouts = Vec::with_capacity(rows.len());
    for row in &rows {
        payouts.push(payout(row, &state).await?);
    }
    let next = next(&rows, limit).map(|last| last.cursor);
    Ok(Json(Payouts { payouts, next }))
}

pub(crate) async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Payout>, ConsoleError> {
    let id = PayoutId::parse(&id).map_err(ConsoleError::bad)?;
    let view = state.options.ledger.payout(id).await?;
    let view = view.ok_or(ConsoleError::NoPayout)?;
    Ok(Json(payout(&view, &state).await?))
}

/// Ends a refund by the operator's word, unless its backend knows better.
pub(crate) async fn close(
    State(state): State<Shared>,
    Path(id): Path<String>,
    body: Result<Json<Close>, JsonRejection>,
) -> Result<Json<Payout>, ConsoleError> {
    let Json(body) = body?;
    let id = PayoutId::parse(&id).map_err(ConsoleError::bad)?;
    let fee = msat("fee_msat", body.fee_msat.unwrap_or(0))?;
    let end = match body.end {
        PayoutState::Paid => PayoutEnd::Paid { fee },
        PayoutState::Failed => PayoutEnd::Failed,
        PayoutState::Open => return Err(ConsoleError::bad("as: paid or failed")),
    };
    let payouts = state.options.payouts.as_ref();
    let view = payouts.ok_or(RefundError::NoPayer)?.close(id, end).await?;
    Ok(Json(payout(&view, &state).await?))
}

/// The invoice itself stays in the store: it may name its payee.
async fn payout(view: &PayoutView, state: &Shared) -> Result<Payout, LedgerError> {
    let key = KeyHash::from_bytes(*view.account.as_bytes());
    let key = state.options.ledger.key(key).await?;
    Ok(Payout {
        id: view.id.to_string(),
        key: key.map(|key| key.public_id),
        payment_hash: view.account.to_string(),
        state: match view.state {
            farebox_ledger::PayoutState::Open => PayoutState::Open,
            farebox_ledger::PayoutState::Paid => PayoutState::Paid,
            farebox_ledger::PayoutState::Failed => PayoutState::Failed,
        },
        amount_msat: view.amount.get(),
        max_fee_msat: view.max_fee.get(),
        fee_msat: view.fee.map(Msat::get),
        calls: view.calls,
        destination_hash: view.destination_hash.to_string(),
        backend: view.backend.clone(),
        asked_by: match view.asked_by {
            AskedBy::Holder => "holder".to_owned(),
            AskedBy::Operator => "operator".to_owned(),
        },
        asked_at: rfc3339(view.asked_at),
        ended_at: view.ended_at.map(rfc3339),
        cursor: view.cursor,
    })
}

fn msat(key: &str, amount: u64) -> Result<Msat, ConsoleError> {
    Msat::new(amount).map_err(|error| ConsoleError::bad(format!("{key}: {error}")))
}
