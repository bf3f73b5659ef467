//! What becomes of an upstream's answer when its client is done with it, or has left.

use std::time::Duration;

use farebox_http::drain::DrainSignal;
use farebox_http::replay::{Finishing, Recorder};
use farebox_paywall::gauge::Ending;
use farebox_paywall::settle::Charge;
use tokio::runtime::Handle;

use super::UpstreamBody;
use crate::access_log::Exchange;

/// How long an answer is still read from the upstream for the replay store after its client left.
const FINISH_FOR_REPLAY: Duration = Duration::from_secs(60);

/// How far an answer is read whose client has left.
#[derive(Clone, Copy)]
enum Until {
    /// To its end.
    Ended,
    /// To its end, unless it grows too long to be kept.
    NotKept,
}

impl UpstreamBody {
    pub(super) fn close(mut self: Box<Self>, exchange: Option<Box<Exchange>>) {
        if let Some(ending) = self.ending {
            return self.report(exchange, ending);
        }
        let is_cut = self.drain.as_ref().is_some_and(DrainSignal::is_cut);
        if is_cut && self.settlement.is_gauging() {
            self.settlement.end(Ending::CutByUpstream);
            return self.report(exchange, Ending::CutByUpstream);
        }
        if let Some((limit, until)) = self.reads_on() {
            tokio::spawn(self.drain(limit, until, exchange));
            return;
        }
        // Before the settlement, so that no retry sees the sale finished and no answer coming.
        let finishing = self.recorder.as_ref().and_then(Recorder::finish_alone);
        self.settlement.end(Ending::CutByClient);
        let is_sold = !self.settlement.charged().is_zero();
        self.report(exchange, Ending::CutByClient);
        if let Some(finishing) = finishing.filter(|_| is_sold) {
            tokio::spawn(self.finish_for_replay(finishing));
        }
    }

    fn is_wanted(&self, until: Until) -> bool {
        match until {
            Until::Ended => true,
            Until::NotKept => self.recorder.as_ref().is_some_and(Recorder::is_recording),
        }
    }

    /// Whether a gauged answer is read on without its client, how long, and to what end. One that
    /// is kept for a retry is charged when all of it is there: who hangs up after the first byte
    /// and comes back for the rest has had the whole answer.
    fn reads_on(&self) -> Option<(Duration, Until)> {
        if let Some(limit) = self.settlement.drains() {
            return Some((limit, Until::Ended));
        }
        let recorder = self.recorder.as_ref();
        let keeps = self.settlement.is_gauging() && recorder.is_some_and(Recorder::is_recording);
        keeps.then_some((FINISH_FOR_REPLAY, Until::NotKept))
    }

    fn report(&mut self, exchange: Option<Box<Exchange>>, ending: Ending) {
        match (exchange, self.settlement.charge()) {
            (Some(exchange), charge) => exchange.finish(ending, Some(charge)),
            // Where everything ends, nobody finds it out, and the hold is settled all the same.
            (None, Charge::Open { finding, .. }) => {
                if let Ok(runtime) = Handle::try_current() {
                    drop(runtime.spawn(finding.found()));
                }
            }
            (None, Charge::Known(_)) => {}
        }
    }

    /// Reads on after the client left, because the upstream charges for it anyway and tells the
    /// usage at its end, or because the client can still fetch the answer.
    async fn drain(
        mut self: Box<Self>,
        limit: Duration,
        until: Until,
        exchange: Option<Box<Exchange>>,
    ) {
        let rest = async {
            while self.ending.is_none() && self.is_wanted(until) {
                let frame = std::future::poll_fn(|cx| self.poll_frame(cx)).await;
                if !matches!(frame, Some(Ok(_))) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(limit, rest).await;
        self.settlement.end(Ending::CutByClient);
        self.report(exchange, Ending::CutByClient);
    }

    /// Reads the rest of an answer whose client left, so that the client can fetch it.
    async fn finish_for_replay(mut self: Box<Self>, finishing: Finishing) {
        let rest = async {
            while self.recorder.as_ref().is_some_and(Recorder::is_recording) {
                let frame = std::future::poll_fn(|cx| self.poll_frame(cx)).await;
                if !matches!(frame, Some(Ok(_))) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(FINISH_FOR_REPLAY, rest).await;
        drop(finishing);
    }
}
