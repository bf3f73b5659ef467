//! The body of every answer the gateway gives, from itself or from an upstream.
//!
//! It moves bytes, and at the end tells three parties what happened: the settlement, the store of
//! answers kept for a retry, and the request's log line.

mod close;
mod fault;
mod grpc;
mod last_word;
mod overtime;
mod pace;
mod tunnel;
mod watched;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use farebox_http::body::{Silence, Upload};
use farebox_http::body_budget::{BudgetExhausted, ByteBudget};
use farebox_http::decode::{DecodeFault, DecodedBody, InflowError};
use farebox_http::drain::DrainSignal;
use farebox_http::headers::prepare_response_trailers;
use farebox_http::limits::TokenPermit;
use farebox_http::replay::Recorder;
use farebox_http::upstream::Lease;
use farebox_ledger::{VoidReason, crash_point};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Exchange;
use crate::change::Told;
use crate::crash;
use crate::plan::Credential;
use farebox_paywall::ecash::ChangeDue;
use farebox_paywall::gauge::Ending;
use farebox_paywall::payment_fields;
use farebox_paywall::settle::Settlement;

pub(crate) use fault::AnswerFault;
use grpc::Failure;
pub(crate) use grpc::{GrpcAnswer, GrpcCall, has_failed};
pub(crate) use last_word::LastWord;
pub(crate) use overtime::Overtime;
pub(crate) use pace::Pace;
use tunnel::Slot;
use watched::WatchedAnswer;
pub(crate) use watched::WatchedAnswers;

/// The reason in the log of an answer that was ended because what paid for it was over.
const OVER: &str = "payment_over";

/// The most of a whole body that is handed over at once, in bytes: what was handed over counts as sent.
const WHOLE_PIECE_BYTES: usize = 64 * 1024;

/// The body of an answer.
pub(crate) struct AnswerBody {
    source: Source,
    exchange: Option<Box<Exchange>>,
    /// What is told with its end.
    last_word: Option<Box<LastWord>>,
}

enum Source {
    /// All of it is here: ours, or kept, or read to its end.
    Whole {
        rest: Bytes,
        trailers: Option<Box<HeaderMap>>,
    },
    Upstream(Box<UpstreamBody>),
    Watched(Arc<WatchedAnswer>),
    /// Nothing: a tunnel follows, and has the log line.
    Tunnel(Arc<Slot>),
}

/// An upstream's body, with everything that waits for its end.
pub(crate) struct UpstreamBody {
    pub(crate) incoming: DecodedBody,
    /// Trailers that wait until what the gauge held back has passed.
    pub(crate) trailers: Option<Frame<Bytes>>,
    /// A trailer that is the seller's own business.
    pub(crate) hidden: Option<HeaderName>,
    /// What no trailer may tell of either.
    pub(crate) credential: Arc<Credential>,
    /// The request's body, where it may still be coming.
    pub(crate) upload: Option<Arc<Upload>>,
    pub(crate) silence: Silence,
    pub(crate) settlement: Settlement,
    /// What ends it when what pays for it is over.
    pub(crate) overtime: Option<Overtime>,
    /// Whether we ourselves end it, where leaving early has a price of its own.
    pub(crate) drain: Option<DrainSignal>,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) grpc: Option<GrpcAnswer>,
    /// How it ended, once it has.
    pub(crate) ending: Option<Ending>,
    pub(crate) pace: Pace,
    pub(crate) lease: Lease,
    pub(crate) _permit: Option<TokenPermit>,
}

impl Source {
    const NOTHING: Self = Self::Whole {
        rest: Bytes::new(),
        trailers: None,
    };
}

impl AnswerBody {
    /// A body of our own.
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::stored(bytes.into(), None)
    }

    /// A body that was kept, with the trailers that came after it.
    pub(crate) fn stored(body: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            source: Source::Whole {
                rest: body,
                trailers: trailers.map(Box::new),
            },
            exchange: None,
            last_word: None,
        }
    }

    /// Says the same in other words: replaces a body of our own.
    pub(crate) fn become_own(&mut self, bytes: impl Into<Bytes>) {
        self.source = Source::Whole {
            rest: bytes.into(),
            trailers: None,
        };
    }

    /// Takes what a whole body needs of memory from `budget`, for as long as any of it is here.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn lease_from(&mut self, budget: &Arc<ByteBudget>) -> Result<(), BudgetExhausted> {
        if let Source::Whole { rest, .. } = &mut self.source {
            let lease = budget.reserve(rest.len())?;
            *rest = lease.keep(std::mem::take(rest));
        }
        Ok(())
    }

    /// No body.
    pub(crate) const fn empty() -> Self {
        Self {
            source: Source::NOTHING,
            exchange: None,
            last_word: None,
        }
    }

    /// An upstream's body.
    pub(crate) fn upstream(mut body: Box<UpstreamBody>) -> Self {
        if body.incoming.is_end_stream() {
            body.end(body.ending_without_trailers());
        }
        Self {
            source: Source::Upstream(body),
            exchange: None,
            last_word: None,
        }
    }

    /// Tells the rest of the change of the coins that paid with the end of the answer, where it has a place
    /// for it.
    pub(crate) fn end_with_change(
        &mut self,
        due: &Arc<ChangeDue>,
        told: Told,
        headers: &mut HeaderMap,
    ) {
        if let Source::Upstream(body) = &self.source {
            self.last_word = LastWord::of(due, told, body, headers);
        }
    }

    /// Gives the body the request's log line, to be written when it ends.
    pub(crate) fn report_to(&mut self, exchange: Box<Exchange>) {
        match &self.source {
            Source::Tunnel(slot) => slot.put(exchange),
            _ => self.exchange = Some(exchange),
        }
    }

    /// Puts an answer with a body under the watch of `answers`.
    pub(crate) fn watched_by(&mut self, answers: &WatchedAnswers) {
        if self.is_on_its_way() {
            let answer = std::mem::replace(self, Self::empty());
            self.source = Source::Watched(answers.watch(answer));
        }
    }

    /// Whether memory or an upstream is still taken for it.
    fn is_on_its_way(&self) -> bool {
        match &self.source {
            Source::Whole { .. } => !self.is_end_stream(),
            Source::Upstream(body) => {
                let last_word = self.last_word.as_ref();
                body.ending.is_none() || last_word.is_some_and(|last_word| !last_word.is_over())
            }
            Source::Watched(_) | Source::Tunnel(_) => false,
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let (Some(exchange), Some(data)) = (&mut self.exchange, frame.data_ref()) {
            exchange.sent(data.len());
        }
    }
}

impl UpstreamBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        self.pace.asked_for_more();
        let overtime = self.overtime.as_mut().filter(|_| self.ending.is_none());
        if overtime.is_some_and(|overtime| overtime.poll_over(cx).is_ready()) {
            self.end(Ending::CutByClient);
            return Poll::Ready(Some(Err(AnswerFault::Over)));
        }
        if let Some(trailers) = self.trailers.take() {
            self.pass(&trailers);
            return Poll::Ready(Some(Ok(trailers)));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                if let Some(upload) = self.upload.as_ref().filter(|_| frame.is_data()) {
                    upload.answered();
                }
                if let (Some(grpc), Some(data)) = (&mut self.grpc, frame.data_ref()) {
                    grpc.hear(data);
                }
                let frame = self.hear_trailers(frame);
                let credential = &self.credential;
                let frame = self.gauge(prepare_response_trailers(frame, |name, value| {
                    payment_fields::in_answers(name) || credential.is_told_in(name, value)
                }));
                self.pass(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                let rest = self.rest();
                self.end(self.ending_without_trailers());
                Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(self.broken_off_by(&error));
                Poll::Ready(Some(Err(AnswerFault::Upstream(error))))
            }
            Poll::Pending => self.silence.poll_exceeded(cx).map(|limit| {
                let is_awaited = self.upload.as_ref().is_some_and(|it| it.is_awaited());
                self.end(if is_awaited {
                    Ending::CutByClient
                } else {
                    Ending::CutByUpstream
                });
                Some(Err(AnswerFault::Silent(limit)))
            }),
        }
    }

    /// Nobody but the upstream damages what it sends.
    fn broken_off_by(&self, error: &InflowError) -> Ending {
        match error {
            InflowError::Broken(_) | InflowError::Unreadable(DecodeFault::Truncated) => {
                self.cut_by()
            }
            InflowError::Unreadable(fault) => {
                tracing::warn!(%fault, "the upstream's compressed answer cannot be read on");
                Ending::CutByUpstream
            }
        }
    }

    /// Shows trailers to the gauge, and takes off what is the seller's own business.
    fn hear_trailers(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(trailers) = frame.trailers_mut() {
            if let Some(gauge) = self.settlement.gauge() {
                gauge.trailers(trailers);
            }
            if let Some(hidden) = &self.hidden {
                trailers.remove(hidden);
            }
        }
        frame
    }

    /// What passes on of a frame that a gauge watches. It may be empty for now.
    fn gauge(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let is_last = self.incoming.is_end_stream();
        let Some(gauge) = self.settlement.gauge() else {
            return frame;
        };
        match frame.into_data() {
            Ok(data) => {
                let passed = gauge.frame(data);
                if !is_last {
                    return Frame::data(passed);
                }
                let rest = gauge.rest();
                if rest.is_empty() {
                    return Frame::data(passed);
                }
                Frame::data([passed, rest].concat().into())
            }
            Err(trailers) => {
                let rest = gauge.rest();
                if rest.is_empty() {
                    return trailers;
                }
                self.trailers = Some(trailers);
                Frame::data(rest)
            }
        }
    }

    /// Whether it has ended, and nothing of it is left.
    fn is_over(&self) -> bool {
        self.ending.is_some() && self.is_at_end()
    }

    /// Whether all of it has been handed over.
    fn is_at_end(&self) -> bool {
        self.trailers.is_none() && self.incoming.is_end_stream()
    }

    /// What the gauge still held back when the upstream's answer had ended.
    fn rest(&mut self) -> Option<Bytes> {
        let rest = self.settlement.gauge()?.rest();
        if let Some(recorder) = &mut self.recorder {
            recorder.push(&rest);
        }
        (!rest.is_empty()).then_some(rest)
    }

    fn pass(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            if let Some(recorder) = &mut self.recorder {
                recorder.push_trailers(trailers);
            }
            let ending = self.ending_by(trailers);
            self.end(ending);
            return;
        }
        if let (Some(recorder), Some(data)) = (&mut self.recorder, frame.data_ref()) {
            recorder.push(data);
        }
        if let Some(ending) = self.failure_in_body() {
            // A client that has read so much need not wait for more.
            self.settlement.went_on();
            self.end(ending);
        } else if self.is_at_end() {
            self.end(self.ending_without_trailers());
        } else {
            self.pace.handed_over();
            self.settlement.went_on();
            crash_point(crash::FIRST_BYTE_RECORDED);
        }
    }

    fn ending_by(&mut self, trailers: &HeaderMap) -> Ending {
        let has_begun = self.settlement.has_begun();
        let Some(grpc) = &mut self.grpc else {
            return Ending::Complete;
        };
        match grpc.ending_by(trailers, has_begun) {
            Ending::CutByUpstream if self.was_provoked() => Ending::CutByClient,
            Ending::Complete => self.ending_without_trailers(),
            ending => ending,
        }
    }

    fn ending_without_trailers(&self) -> Ending {
        match &self.grpc {
            Some(grpc) if grpc.is_cut() => self.cut_by(),
            _ => Ending::Complete,
        }
    }

    /// Who brought it about that the upstream did not end its answer.
    fn cut_by(&self) -> Ending {
        let is_spoilt = self.upload.as_ref().is_some_and(|it| it.is_spoilt());
        if is_spoilt || (self.grpc.is_some() && self.was_provoked()) {
            return Ending::CutByClient;
        }
        self.pace.broken_off_by()
    }

    /// How a call ended that has failed by what its body says. One that brought no message is as
    /// good as refused, whatever becomes of the rest of its body.
    fn failure_in_body(&mut self) -> Option<Ending> {
        let failure = self.grpc.as_mut()?.take_failure()?;
        self.recorder = None;
        match failure {
            Failure::Refused => {
                self.settlement.void(VoidReason::Refused);
                None
            }
            Failure::Ended(Ending::CutByUpstream) if self.was_provoked() => {
                Some(Ending::CutByClient)
            }
            Failure::Ended(ending) => Some(ending),
        }
    }

    /// Whether a client that has had messages said something after the last of them: a message or a
    /// half-close may spoil what else would have ended well.
    fn was_provoked(&self) -> bool {
        let spoke_last = self.upload.as_ref().is_some_and(|it| it.spoke_last());
        spoke_last && self.settlement.has_begun()
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        if ending == Ending::Complete {
            self.lease.give_back();
            if let Some(recorder) = self.recorder.take() {
                recorder.finish(std::time::Instant::now());
            }
        }
        self.settlement.end(ending);
        crash_point(crash::LAST_BYTE_SENT);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Whole { rest, trailers } => {
                let frame = if rest.is_empty() {
                    trailers.take().map(|trailers| Frame::trailers(*trailers))
                } else {
                    Some(Frame::data(take_piece(rest, WHOLE_PIECE_BYTES)))
                };
                Poll::Ready(frame.map(Ok))
            }
            Source::Upstream(body) => match &mut this.last_word {
                None => body.poll_frame(cx),
                Some(last_word) => last_word.poll_frame(body, cx),
            },
            Source::Watched(answer) => answer.poll_frame(cx),
            Source::Tunnel(_) => Poll::Ready(None),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => this.count(frame),
            Poll::Ready(Some(Err(AnswerFault::Over))) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.reason = OVER;
                }
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole { rest, trailers } => rest.is_empty() && trailers.is_none(),
            Source::Upstream(body) => {
                let last_word = self.last_word.as_ref();
                body.is_at_end() && last_word.is_none_or(|last_word| last_word.is_over())
            }
            Source::Watched(answer) => answer.is_end_stream(),
            Source::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole { rest, .. } => SizeHint::with_exact(rest.len() as u64),
            Source::Upstream(body) => body.incoming.size_hint(),
            Source::Watched(answer) => answer.size_hint(),
            Source::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let has_left = self.is_end_stream();
        let exchange = self.exchange.take();
        match std::mem::replace(&mut self.source, Source::NOTHING) {
            Source::Upstream(body) => body.close(exchange),
            Source::Whole { .. } if !has_left => finish(exchange, Ending::CutByClient),
            // What is watched has the log line, and ends by itself.
            Source::Whole { .. } | Source::Watched(_) | Source::Tunnel(_) => {
                finish(exchange, Ending::Complete);
            }
        }
    }
}

/// The end of an answer that charges nothing from here on.
fn finish(exchange: Option<Box<Exchange>>, ending: Ending) {
    if let Some(exchange) = exchange {
        exchange.finish(ending, None);
    }
}

fn take_piece(bytes: &mut Bytes, most: usize) -> Bytes {
    bytes.split_to(bytes.len().min(most))
}

#[cfg(test)]
mod tests;
