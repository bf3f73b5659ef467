//! The metrics of gateway and ledger in one text.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use farebox_market::rates::watch::RateWatch;
use farebox_paywall::payout::Payouts;
use prometheus_client::registry::Registry;

use crate::Shared;
use crate::error::ConsoleError;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn show(State(state): State<Shared>) -> Result<Response, ConsoleError> {
    let figures = state.figures.take().await?;
    let mut registry = Registry::with_prefix("farebox");
    registry.register_collector(Box::new(figures));
    let metrics = Arc::clone(&state.options.metrics);
    let mut more = vec![&registry];
    more.extend(state.options.payouts.as_deref().map(Payouts::registry));
    more.extend(state.options.rates.as_deref().map(RateWatch::registry));
    let text = metrics.render(&more)?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
