//! The door of test money: whoever asks gets the preimage. It exists only where the operator
//! started with test money, and takes no token, so that any wallet stub can use it.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use farebox_api::{Pay, Proof};

use crate::Shared;
use crate::error::ConsoleError;

pub(crate) async fn pay(
    State(state): State<Shared>,
    body: Result<Json<Pay>, JsonRejection>,
) -> Result<Json<Proof>, ConsoleError> {
    let Json(body) = body?;
    let node = state.options.test_money.as_ref();
    let node = node.ok_or(ConsoleError::NotFound)?;
    let preimage = node.pay_and_wait(body.invoice.trim()).await?;
    let preimage = hex::encode(preimage.reveal());
    Ok(Json(Proof { preimage }))
}
