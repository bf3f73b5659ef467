//! Refusals as the SDKs of model providers read them: an `error` member beside what the problem
//! document says, on the routes that sell models. The words are the providers' own.

use farebox_meter::Endpoint;
use farebox_wire::problem::Problem;
use serde_json::json;

use crate::access_log::Exchange;

/// The problem with an `error` for SDKs, where the route sells models.
pub(super) fn with_error(exchange: &Exchange, problem: Problem) -> Problem {
    let sale = exchange.route.as_ref().and_then(|it| it.sale.as_ref());
    let Some(models) = sale.and_then(|sale| sale.offer.models()) else {
        return problem;
    };
    let path = exchange.path.strip_prefix(models.root.as_str());
    let endpoint = Endpoint::of("POST", path.unwrap_or_default());
    let kind = match endpoint {
        Some(Endpoint::Messages | Endpoint::CountTokens) => anthropic(problem.status().as_u16()),
        _ => openai(problem.status().as_u16()),
    };
    let (message, code) = (problem.sentence().to_owned(), problem.kind().code);
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    problem.with("error", error)
}

const fn openai(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

const fn anthropic(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
