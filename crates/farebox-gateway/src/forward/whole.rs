//! Answers that are read to their end before any of them leaves: how, how long, and on whose memory.

use std::time::Instant;

use bytes::Bytes;
use farebox_http::body_budget::{BodyError, BudgetExhausted, Lease, Patience, read_bytes};
use farebox_http::decode::{DecodeFault, Decoder};
use farebox_http::headers;
use http::response::Parts;
use http::{Method, Response};
use hyper::body::Incoming;

use super::{Fare, Forwarder, Refused};
use crate::answer::AnswerBody;
use crate::plan::Route;
use crate::refusal::{Overload, UpstreamError};

/// The longest whole answer, in bytes: ten large pictures in base64.
pub(super) const MAX_WHOLE: usize = 64 * 1024 * 1024;
/// What is reserved for a whole answer before its request is sent, in bytes: most answers of models are
/// shorter. What it takes beyond that is leased as it comes.
pub(super) const ROOM_BYTES: usize = 64 * 1024;
/// The slowest that a whole answer may come, once it comes, in bytes per second.
const SLOWEST: u32 = 1024;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WholeError {
    #[error(transparent)]
    Read(#[from] BodyError),
    #[error(transparent)]
    Decode(#[from] DecodeFault),
}

impl WholeError {
    /// That there is no memory for it, which says nothing about the upstream.
    pub(super) const fn no_room(&self) -> Option<BudgetExhausted> {
        match self {
            Self::Read(BodyError::BudgetExhausted(full))
            | Self::Decode(DecodeFault::NoRoom(full)) => Some(*full),
            _ => None,
        }
    }
}

impl Forwarder {
    /// Reads an answer of at most `limit` bytes in the clear, into the room that was reserved for it, if
    /// any was, and more. The lease is for the memory that it takes.
    pub(super) async fn read_whole(
        &self,
        route: &Route,
        (incoming, decoder): (Incoming, Option<Decoder>),
        limit: usize,
        room: Option<Lease>,
    ) -> Result<(Bytes, Lease), WholeError> {
        let patience = Patience {
            grace: route.idle_timeout,
            min_bytes_per_second: SLOWEST,
            total: route.timeout.max(route.idle_timeout),
        };
        let room = room.unwrap_or_else(|| self.answers.whole().lease());
        let (body, lease) = read_bytes(incoming, limit, patience, room).await?;
        let Some(decoder) = decoder else {
            return Ok((body, lease));
        };
        let (body, lease) = decoder.whole(body, limit, lease).await?;
        Ok((body.into(), lease))
    }

    /// Gives an answer that is settled already, and keeps it for a retry where that is wanted.
    pub(super) fn give_whole(
        &self,
        route: &Route,
        (mut parts, method): (Parts, &Method),
        body: Bytes,
        mut fare: Box<Fare>,
    ) -> Response<AnswerBody> {
        headers::tell_length(&mut parts.headers, method, parts.status, body.len());
        fare.mark(&mut parts.headers, route);
        if let Some(mut recorder) = fare.recorder(&self.replays, &parts) {
            recorder.push(&body);
            recorder.finish(Instant::now());
        }
        Response::from_parts(parts, AnswerBody::own(body))
    }
}

impl Fare {
    /// Nothing is charged for an answer that there is not.
    pub(super) fn refuse_whole(self, error: WholeError) -> Refused {
        self.refuse(match (error.no_room(), error) {
            (Some(full), _) => Overload::Answers(full).into(),
            (None, WholeError::Read(BodyError::TimedOut)) => UpstreamError::TimedOut.into(),
            (None, error) => UpstreamError::broken(error).into(),
        })
    }
}
