//! The door of test money: whoever asks gets the preimage. It exists only where the operator
//! started with test money, and takes no token, so that any wallet stub can use it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ConsoleError, Shared};

/// Which invoice.
#[derive(Deserialize)]
pub(crate) struct PayBody {
    invoice: String,
}

pub(crate) async fn pay(
    State(state): State<Shared>,
    body: Result<Json<PayBody>, JsonRejection>,
) -> Result<Json<Value>, ConsoleError> {
    let Json(body) = body.map_err(|error| ConsoleError::BadRequest {
        what: error.to_string(),
    })?;
    let node = state
        .options
        .test_money
        .as_ref()
        .map(Arc::clone)
        .ok_or(ConsoleError::NotFound)?;
    let preimage = node.pay_and_wait(body.invoice.trim()).await?;
    Ok(Json(json!({ "preimage": hex::encode(preimage.reveal()) })))
}
