//! The log line of an upgraded connection: it is written when the tunnel ends, like that of any answer.

use std::sync::{Arc, Mutex, PoisonError};

use farebox_http::tunnel::Traffic;
use farebox_paywall::gauge::Ending;
use farebox_paywall::settle::Charge;

use super::{AnswerBody, Source};
use crate::access_log::Exchange;

/// Where an answer leaves its log line for the tunnel that follows it.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Box<Exchange>>>);

impl Slot {
    pub(super) fn put(&self, exchange: Box<Exchange>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }

    fn take(&self) -> Option<Box<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes the line of a tunnel when it is dropped.
pub(crate) struct TunnelLine {
    slot: Arc<Slot>,
    traffic: Arc<Traffic>,
    charge: Charge,
}

impl AnswerBody {
    /// The answer that a tunnel follows, which was charged, and what writes the tunnel's line.
    pub(crate) fn tunnel(traffic: Arc<Traffic>, charge: Charge) -> (Self, TunnelLine) {
        let slot = Arc::new(Slot::default());
        let answer = Self {
            last_word: None,
            source: Source::Tunnel(Arc::clone(&slot)),
            exchange: None,
        };
        let line = TunnelLine {
            slot,
            traffic,
            charge,
        };
        (answer, line)
    }
}

impl Drop for TunnelLine {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.slot.take() {
            exchange.carried(&self.traffic);
            exchange.finish(Ending::Complete, Some(std::mem::take(&mut self.charge)));
        }
    }
}
