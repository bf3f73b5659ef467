//! The wallet as it is reached over its relays: one request, one answer.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, PaymentHash};
use farebox_http::client::CallError;
use nostr::{ClientMessage, Event, JsonUtil};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use super::hub::Hub;
use super::links::AllDown;
use super::reply::{self, Code, Refusal, Reply};
use super::seal::Seal;
use super::session::{Session, Sessions};
use super::socket::RelayError;
use super::uri::Connection;
use super::waiting::{Expected, Outcome, Spread};
use super::{LOOKUP_INVOICE, MAX_IN_FLIGHT};
use crate::answer::printable;
use crate::{AnswerFault, NodeError};

/// How long a request waits for a connection to come back before it is given up: a blink of the
/// network costs nothing, an outage only this.
const GRACE: Duration = Duration::from_secs(2);

/// How much later than we give a request up the wallet may still take it: its clock is not ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What is asked.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) params: Value,
    pub(super) spread: Spread,
    /// What it pays, where it pays.
    pub(super) payment: Option<PaymentHash>,
    /// From the call to the answer, connecting included.
    pub(super) limit: Duration,
}

/// What the wallet answered. No `Debug`: a preimage may be in it.
pub(super) struct Heard {
    pub(super) result: Value,
    /// The relay that brought it first.
    pub(super) via: usize,
}

/// Why a call brought no result.
pub(super) enum NoResult {
    /// Nothing was sent, and nothing will be.
    NotSent(NodeError),
    /// It may have been sent, and no answer came.
    Lost(NodeError),
    /// The wallet said no.
    Refused(Refusal),
    /// The wallet's answer makes no sense.
    Unusable(AnswerFault),
}

#[derive(Debug, thiserror::Error)]
#[error("no relay took it within {0:?}")]
struct NoRelay(Duration);

/// The wallet, by way of its relays.
pub(super) struct Wallet {
    pub(super) hub: Arc<Hub>,
    pub(super) sessions: Sessions,
    /// How long one request may take, connecting included.
    pub(super) call_timeout: Duration,
    places: Semaphore,
    /// The wallet by the first digits of its key, for errors.
    host: String,
}

impl Wallet {
    /// A wallet that nobody has connected to yet; the first call does.
    pub(super) fn new(
        connection: Connection,
        tls: ClientConfig,
        clock: Arc<dyn Clock>,
        call_timeout: Duration,
    ) -> Self {
        let key = connection.wallet.to_hex();
        let seal = Seal::new(connection.keys, connection.wallet);
        let hub = Arc::new(Hub::new(seal, clock));
        Self {
            sessions: Sessions::new(Arc::clone(&hub), connection.relays, Arc::new(tls)),
            hub,
            call_timeout,
            places: Semaphore::new(MAX_IN_FLIGHT),
            host: format!("wallet {}", key.get(..8).unwrap_or_default()),
        }
    }

    /// The wallet, for errors and for the operator.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Calls a method that does no harm when it is called twice.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, NodeError> {
        let call = Call {
            method,
            params,
            spread: Spread::Everywhere,
            payment: None,
            limit: self.call_timeout,
        };
        let heard = self.call(call).await;
        let heard = heard.map_err(|error| self.node_error(error))?;
        reply::fields(heard.result).map_err(|fault| self.bad_answer(fault))
    }

    /// Asks about an invoice or payment.
    pub(super) async fn ask_about(&self, hash: &PaymentHash) -> Result<Heard, NoResult> {
        let call = Call {
            method: LOOKUP_INVOICE,
            params: json!({ "payment_hash": hash.to_string() }),
            spread: Spread::Everywhere,
            payment: None,
            limit: self.call_timeout,
        };
        self.call(call).await
    }

    /// The connections to the relays, made where there are none.
    pub(super) fn session(&self) -> Result<Arc<Session>, NodeError> {
        let session = self.sessions.current();
        session.map_err(|error| self.not_connected(Arc::new(error)))
    }

    /// What the info event does not list is not even asked for.
    pub(super) fn check_offered(&self, method: &'static str) -> Result<(), NodeError> {
        match self.hub.info() {
            Some(info) if !info.takes_nip44 => {
                Err(self.not_offered("NIP-44 encryption, only the deprecated NIP-04"))
            }
            Some(info) if !info.offers(method) => Err(self.not_offered(method)),
            _ => Ok(()),
        }
    }

    pub(super) async fn call(&self, call: Call) -> Result<Heard, NoResult> {
        let busy = |_| {
            NoResult::NotSent(NodeError::Call(CallError::Busy {
                limit: MAX_IN_FLIGHT,
            }))
        };
        let _place = self.places.try_acquire().map_err(busy)?;
        let deadline = Instant::now() + call.limit;
        let session = self.session().map_err(NoResult::NotSent)?;
        let up = self.wait_until_up(&session, call.limit).await;
        up.map_err(NoResult::NotSent)?;
        self.check_offered(call.method).map_err(NoResult::NotSent)?;
        self.exchange(&session, call, deadline).await
    }

    pub(super) async fn wait_until_up(
        &self,
        session: &Arc<Session>,
        limit: Duration,
    ) -> Result<(), NodeError> {
        match timeout(limit, session.links.wait_until_up()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(AllDown(error))) => Err(self.not_connected(error)),
            Err(_) => Err(self.nobody_took_it(session, limit)),
        }
    }

    async fn exchange(
        &self,
        session: &Arc<Session>,
        call: Call,
        deadline: Instant,
    ) -> Result<Heard, NoResult> {
        let event = self.seal_request(&call).map_err(NoResult::NotSent)?;
        let id = event.id;
        let (ticket, mut answer) = self.hub.waiting.expect(Expected {
            id,
            method: call.method,
            frame: ClientMessage::event(event).as_json().into(),
            spread: call.spread,
            payment: call.payment,
        });
        session.publish(&self.hub.waiting, id);
        let lost = tokio::select! {
            Ok(outcome) = &mut answer => return self.judge(outcome),
            AllDown(error) = session.links.wait_until_lost(GRACE) => Some(error),
            () = sleep_until(deadline) => None,
        };
        let sent = ticket.withdraw();
        if let Ok(outcome) = answer.try_recv() {
            return self.judge(outcome);
        }
        Err(match (sent, lost) {
            (true, Some(error)) => NoResult::Lost(self.broken_off(error)),
            (true, None) => NoResult::Lost(self.timed_out(&call)),
            (false, Some(error)) => NoResult::NotSent(self.not_connected(error)),
            (false, None) => NoResult::NotSent(self.nobody_took_it(session, call.limit)),
        })
    }

    fn seal_request(&self, call: &Call) -> Result<Event, NodeError> {
        let now = self.hub.now();
        let content = json!({ "method": call.method, "params": call.params });
        self.hub
            .seal
            .request(&content, now, now.plus(call.limit + CLOCK_SKEW))
            .map_err(|error| self.not_connected(Arc::new(error)))
    }

    fn judge(&self, outcome: Outcome) -> Result<Heard, NoResult> {
        match outcome {
            Outcome::Heard { via, reply } => match reply {
                Ok(Reply::Done(result)) => Ok(Heard { result, via }),
                Ok(Reply::Refused(code, words)) => {
                    Err(NoResult::Refused(Refusal { code, words, via }))
                }
                Err(fault) => Err(NoResult::Unusable(fault)),
            },
            Outcome::Rejected { reason } => Err(NoResult::Lost(NodeError::Refused {
                host: format!("the relay of {}", self.host),
                reason: printable(&reason),
            })),
        }
    }

    /// Relays that take nothing although they are up are those of a runtime that stands still: the
    /// next call connects anew.
    fn nobody_took_it(&self, session: &Arc<Session>, limit: Duration) -> NodeError {
        self.sessions.abandon(session);
        self.not_connected(Arc::new(NoRelay(limit)))
    }

    pub(super) fn not_connected(
        &self,
        error: Arc<impl std::error::Error + Send + Sync + 'static>,
    ) -> NodeError {
        NodeError::Call(CallError::NotConnected {
            host: self.host.clone(),
            source: error,
        })
    }

    pub(super) fn broken_off(&self, error: Arc<RelayError>) -> NodeError {
        NodeError::Call(CallError::Unreachable {
            host: self.host.clone(),
            source: error,
        })
    }

    pub(super) fn not_offered(&self, what: &'static str) -> NodeError {
        NodeError::NotOffered {
            host: self.host.clone(),
            what,
        }
    }

    fn timed_out(&self, call: &Call) -> NodeError {
        NodeError::Call(CallError::TimedOut {
            host: self.host.clone(),
            limit: call.limit,
        })
    }

    pub(super) fn bad_answer(&self, fault: AnswerFault) -> NodeError {
        NodeError::BadAnswer {
            host: self.host.clone(),
            fault,
        }
    }

    /// The port's error for a call's.
    pub(super) fn node_error(&self, error: NoResult) -> NodeError {
        match error {
            NoResult::NotSent(error) | NoResult::Lost(error) => error,
            NoResult::Unusable(fault) => self.bad_answer(fault),
            NoResult::Refused(refusal) => self.refused(&refusal),
        }
    }

    /// The wallet's codes by their next of kin in HTTP, where the port has one.
    fn refused(&self, refusal: &Refusal) -> NodeError {
        let host = self.host.clone();
        match refusal.code {
            Code::RateLimited => NodeError::Unavailable { host, status: 429 },
            Code::Unauthorized => NodeError::Forbidden { host, status: 401 },
            Code::Restricted => NodeError::Forbidden { host, status: 403 },
            _ => NodeError::Refused {
                host,
                reason: printable(&refusal.words),
            },
        }
    }
}
