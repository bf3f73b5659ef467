//! The operator pays back what is on a token or a prepaid key, and looks at what was paid back.
//!
//! The operator may refund any account the ledger knows, revoked and expired ones too. A payment
//! that was never claimed is unknown to it: its token was never used, and only its holder can ask.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farebox_core::{KeyHash, Msat, PayoutId};
use farebox_ledger::{AskedBy, LedgerError, PayoutEnd, PayoutState, PayoutView};
use farebox_paywall::payout::{RefundError, RefundRequest, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin::{limit, payment_hash};
use crate::view::rfc3339;
use crate::{ConsoleError, Shared};

/// Where to, and how much.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundBody {
    to: String,
    amount_msat: Option<u64>,
}

/// What the operator knows of a refund.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseBody {
    #[serde(rename = "as")]
    end: End,
    fee_msat: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Paid,
    Failed,
}

/// Which page.
#[derive(Deserialize)]
pub(crate) struct PayoutPage {
    after: Option<u64>,
    limit: Option<u32>,
}

/// One refund.
#[derive(Serialize)]
pub(crate) struct PayoutJson {
    id: String,
    /// The public name of the key that gives the money, where it is no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    payment_hash: String,
    state: &'static str,
    amount_msat: u64,
    max_fee_msat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_msat: Option<u64>,
    calls: u32,
    destination_hash: String,
    backend: String,
    asked_by: &'static str,
    asked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    cursor: u64,
}

/// Pays back. 200 once it is paid, 202 while it is under way, 502 when the payment failed.
pub(crate) async fn refund(
    State(state): State<Shared>,
    Path(hash): Path<String>,
    body: Result<Json<RefundBody>, JsonRejection>,
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
    body: Result<Json<RefundBody>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let key = crate::keys::find(&state, &id).await?.key;
    pay_back(&state, Source::Key(key), body).await
}

async fn pay_back(
    state: &Shared,
    source: Source,
    body: Result<Json<RefundBody>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let Json(body) = body.map_err(|error| bad_request("", &error))?;
    let amount = body.amount_msat.map(Msat::new).transpose();
    let amount = amount.map_err(|error| bad_request("amount_msat: ", &error))?;
    let payouts = state.options.payouts.as_ref();
    let payouts = payouts.ok_or(RefundError::NoPayer)?;
    let request = RefundRequest {
        source,
        destination: body.to.parse()?,
        asked_by: AskedBy::Operator,
        amount,
        repeat: None,
    };
    let view = payouts.refund(request).await?;
    let status = match view.state {
        PayoutState::Paid => StatusCode::OK,
        PayoutState::Open => StatusCode::ACCEPTED,
        PayoutState::Failed => StatusCode::BAD_GATEWAY,
    };
    let told = PayoutJson::new(&view, state).await?;
    Ok((status, Json(told)).into_response())
}

pub(crate) async fn list(
    State(state): State<Shared>,
    page: Result<Query<PayoutPage>, QueryRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Query(page) = page.map_err(|error| bad_request("", &error))?;
    let limit = limit(page.limit)?;
    let ledger = &state.options.ledger;
    let payouts = ledger.payouts(page.after.unwrap_or(0), limit).await?;
    let full = u32::try_from(payouts.len()).is_ok_and(|rows| rows == limit);
    let next = payouts.last().filter(|_| full).map(|last| last.cursor);
    let mut told = Vec::with_capacity(payouts.len());
    for payout in &payouts {
        told.push(PayoutJson::new(payout, &state).await?);
    }
    Ok(Json(json!({ "payouts": told, "next": next })))
}

pub(crate) async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<PayoutJson>, ConsoleError> {
    let id = PayoutId::parse(&id).map_err(|error| bad_request("", &error))?;
    let view = state.options.ledger.payout(id).await?;
    let view = view.ok_or(ConsoleError::NoPayout)?;
    Ok(Json(PayoutJson::new(&view, &state).await?))
}

/// Ends a refund by the operator's word, unless its backend knows better.
pub(crate) async fn close(
    State(state): State<Shared>,
    Path(id): Path<String>,
    body: Result<Json<CloseBody>, JsonRejection>,
) -> Result<Json<PayoutJson>, ConsoleError> {
    let Json(body) = body.map_err(|error| bad_request("", &error))?;
    let id = PayoutId::parse(&id).map_err(|error| bad_request("", &error))?;
    let fee = Msat::new(body.fee_msat.unwrap_or(0));
    let fee = fee.map_err(|error| bad_request("fee_msat: ", &error))?;
    let end = match body.end {
        End::Paid => PayoutEnd::Paid { fee },
        End::Failed => PayoutEnd::Failed,
    };
    let payouts = state.options.payouts.as_ref();
    let view = payouts.ok_or(RefundError::NoPayer)?.close(id, end).await?;
    Ok(Json(PayoutJson::new(&view, &state).await?))
}

impl PayoutJson {
    /// The invoice itself stays in the store: it may name its payee.
    async fn new(view: &PayoutView, state: &Shared) -> Result<Self, LedgerError> {
        let key = KeyHash::from_bytes(*view.account.as_bytes());
        let key = state.options.ledger.key(key).await?;
        Ok(Self {
            id: view.id.to_string(),
            key: key.map(|key| key.public_id),
            payment_hash: view.account.to_string(),
            state: view.state.as_str(),
            amount_msat: view.amount.get(),
            max_fee_msat: view.max_fee.get(),
            fee_msat: view.fee.map(Msat::get),
            calls: view.calls,
            destination_hash: view.destination_hash.to_string(),
            backend: view.backend.clone(),
            asked_by: match view.asked_by {
                AskedBy::Holder => "holder",
                AskedBy::Operator => "operator",
            },
            asked_at: rfc3339(view.asked_at),
            ended_at: view.ended_at.map(rfc3339),
            cursor: view.cursor,
        })
    }
}

fn bad_request(key: &str, error: &impl ToString) -> ConsoleError {
    ConsoleError::BadRequest {
        what: format!("{key}{}", error.to_string()),
    }
}
