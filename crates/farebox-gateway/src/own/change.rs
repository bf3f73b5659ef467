//! `/.farebox/change`: what is left of coins that paid for a request, for whoever still has the token. The
//! token is never redeemed here.

use std::time::{Duration, Instant};

use farebox_http::limits::{ChallengeRates, Rate};
use farebox_paywall::credential::{Presented, Reader};
use farebox_paywall::ecash::PickUp;
use http::{Method, Response};
use serde_json::json;

use super::Own;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::refusal::{EcashError, Refusal, RequestError};

const MINUTE: Duration = Duration::from_secs(60);
pub(super) const CHANGE: &str = "/.farebox/change";

/// How often it is asked for: at prices by use after every call, by programs behind one address.
pub(super) fn rates() -> ChallengeRates {
    ChallengeRates {
        per_prefix: Rate::of(1_200, MINUTE, 200),
        global: Rate::of(60_000, MINUTE, 2_000),
    }
}

pub(super) async fn answer(
    own: &Own,
    reader: &Reader,
    exchange: &mut Exchange,
    mut arrival: Arrival,
) -> Result<Response<AnswerBody>, Refusal> {
    if arrival.parts.method != Method::POST {
        return Err(RequestError::only(&[Method::POST]).into());
    }
    own.changes.try_take(exchange.holder, Instant::now())?;
    let headers = &mut arrival.parts.headers;
    let presented = reader.take(headers, &own.paywall.keyring);
    let Ok(Presented::Ecash(text)) = presented else {
        return Err(EcashError::NoToken.into());
    };
    let found = own.paywall.ecash.pick_up(text, exchange.holder).await?;
    let PickUp { told, unit } = found;
    exchange.outcome = Outcome::Free;
    let body = json!({ "change": told, "unit": unit.as_str() });
    Ok(super::json(body.to_string()))
}
