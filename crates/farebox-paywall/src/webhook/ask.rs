//! Asking: one signed POST, within a time, with a short answer.

use std::time::Duration;

use bytes::Bytes;
use farebox_core::{Msat, UnixMillis};
use farebox_http::body::RequestBody;
use farebox_http::body_budget::{BodyError, ByteBudget, Holder, Keep, Patience, read_body};
use farebox_http::headers::has_token;
use farebox_http::limits::NoPlace;
use farebox_http::upstream::SendError;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, Request, StatusCode, Uri};
use tokio::sync::AcquireError;

use super::message::{
    NoAnswer, QuoteQuestion, Said, SettleQuestion, read_charge, read_quote, sign,
};
use super::{Webhook, is_credential};
use crate::ask::{Ask, BodyFacts};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// The longest that is waited between two attempts to ask what a call came to.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long is waited after the first.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

const SIGNATURE: HeaderName = HeaderName::from_static("farebox-signature");

/// Why a webhook's answer is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("as many questions as may be open at a time wait for the webhook already")]
    Busy,
    #[error("the gateway is closing")]
    Closed(#[from] AcquireError),
    #[error("the webhook cannot be reached")]
    Send(#[from] SendError),
    #[error("the webhook took longer than {0:?}")]
    TimedOut(Duration),
    #[error("the webhook answers {0}")]
    Status(StatusCode),
    #[error("the webhook's answer cannot be read")]
    Body(#[from] BodyError),
    #[error("the webhook's answer is none")]
    Answer(#[from] NoAnswer),
    #[error("the webhook says the most a call can cost, but the route sells single calls")]
    NotExact,
    #[error("the request's body was not read before the price was asked")]
    Unread,
    #[error("the question cannot be written")]
    Question(#[from] serde_json::Error),
}

impl Webhook {
    /// Asks what a request costs. Its body has been read.
    pub(super) async fn quote(&self, ask: &Ask<'_>) -> Result<Said, AskError> {
        let BodyFacts::Read { length, sha256, .. } = ask.body else {
            return Err(AskError::Unread);
        };
        let question = QuoteQuestion {
            event: "quote",
            request_id: ask.request.to_string(),
            route: ask.route.as_str(),
            method: ask.method.as_str(),
            path: ask.path,
            query: ask.query,
            headers: self.told(ask.headers),
            body_bytes: length,
            body_sha256: hex::encode(sha256),
        };
        let question = serde_json::to_vec(&question)?;
        // A stranger who does not find a place is told at once. Who paid waits for those that ask what
        // calls came to.
        let limit = self.rules.max_in_flight as u64;
        let share = self.askers.take(limit, ask.holder, 1);
        let _share = share.map_err(|NoPlace| AskError::Busy)?;
        let _place = match ask.holder {
            Holder::Stranger(_) => self.places.try_acquire().map_err(|_| AskError::Busy)?,
            Holder::Payer(_) => {
                let place = tokio::time::timeout(self.rules.timeout, self.places.acquire());
                place.await.map_err(|_| AskError::Busy)??
            }
        };
        let answer = self.ask(ask.thread, ask.received_at, question).await?;
        Ok(read_quote(&answer)?)
    }

    fn told<'a>(&'a self, headers: &HeaderMap) -> Vec<(&'a str, String)> {
        let names = self.rules.tell.iter().map(HeaderName::as_str);
        // What goes no further than to us is not what the upstream will be asked for.
        let told =
            names.filter(|name| !is_credential(name) && !has_token(headers, &CONNECTION, name));
        told.flat_map(|name| {
            let lines = headers.get_all(name).iter();
            lines.map(move |line| (name, String::from_utf8_lossy(line.as_bytes()).into_owned()))
        })
        .collect()
    }

    /// Asks what a call came to, again and again but not for ever.
    pub(super) async fn charge(
        &self,
        thread: usize,
        question: &SettleQuestion<'_>,
        now: impl Fn() -> UnixMillis,
    ) -> Option<Msat> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=self.rules.attempts.max(1) {
            match self.charge_once(thread, question, now()).await {
                Ok(charge) => return Some(charge),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        route = question.route,
                        attempt,
                        error,
                        "not told what a call came to"
                    );
                }
            }
            if attempt < self.rules.attempts {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
        None
    }

    async fn charge_once(
        &self,
        thread: usize,
        question: &SettleQuestion<'_>,
        now: UnixMillis,
    ) -> Result<Msat, AskError> {
        let question = serde_json::to_vec(question)?;
        let _place = self.places.acquire().await?;
        let answer = self.ask(thread, now, question).await?;
        Ok(read_charge(&answer)?)
    }

    async fn ask(
        &self,
        thread: usize,
        now: UnixMillis,
        question: Vec<u8>,
    ) -> Result<Bytes, AskError> {
        let limit = self.rules.timeout;
        let answer = tokio::time::timeout(limit, self.post(thread, now, question)).await;
        answer.unwrap_or(Err(AskError::TimedOut(limit)))
    }

    async fn post(
        &self,
        thread: usize,
        now: UnixMillis,
        question: Vec<u8>,
    ) -> Result<Bytes, AskError> {
        let request = self.request(now, question);
        let (answer, mut lease) = self.pool.send(thread, request, |_| {}).await?;
        if answer.status() != StatusCode::OK {
            return Err(AskError::Status(answer.status()));
        }
        let patience = Patience {
            total: self.rules.timeout,
            ..Patience::default()
        };
        let room = ByteBudget::new(MAX_ANSWER);
        let read = read_body(answer.into_body(), MAX_ANSWER, patience, &room, Keep::Bytes).await?;
        lease.give_back();
        Ok(read.bytes.unwrap_or_default())
    }

    fn request(&self, now: UnixMillis, question: Vec<u8>) -> Request<RequestBody> {
        let signature = sign(self.secret.reveal(), now.as_secs(), &question);
        let length = question.len();
        let mut request = Request::new(RequestBody::own(question.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.target.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        if let Ok(signature) = HeaderValue::try_from(signature) {
            headers.insert(SIGNATURE, signature);
        }
        request
    }
}
