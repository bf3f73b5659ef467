//! The request of a call whose payment will be held, kept until it is paid.

use farebox_http::body_budget::ReadBody;

use super::KeptRequest;
use crate::access_log::Exchange;
use crate::arrival::{Arrival, ArrivedBody};
use crate::refusal::{PaywallError, Refusal, RequestError};

impl KeptRequest {
    /// The request as it has to be sent again, its body included. Payment headers are off already.
    pub(crate) fn of(exchange: &Exchange, arrival: &Arrival) -> Result<Self, Refusal> {
        let upgrades = farebox_http::headers::is_websocket_upgrade(&arrival.parts.headers);
        let ArrivedBody::Read(ReadBody { bytes, .. }) = &arrival.body else {
            return Err(RequestError::CannotHold.into());
        };
        if upgrades || arrival.grpc.is_some() {
            return Err(RequestError::CannotHold.into());
        }
        Ok(Self {
            method: arrival.parts.method.clone(),
            host: arrival.host.to_string(),
            path: arrival.path.to_string(),
            query: arrival.parts.uri.query().map(str::to_owned),
            headers: arrival.parts.headers.clone(),
            body: bytes.clone().ok_or(PaywallError::BodyNotKept)?,
            peer: exchange.peer,
            client: exchange.client,
        })
    }
}
