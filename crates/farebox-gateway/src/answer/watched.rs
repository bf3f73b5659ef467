//! Answers to HTTP/2 requests, watched for clients that do not read.
//!
//! An HTTP/2 client that keeps a stream's flow-control window shut stalls no write, so nothing in
//! the connection fails; hyper just does not ask for more, and a body that is not asked cannot
//! watch the time. So each data thread looks through its open answers now and then, and lets go of
//! those that were not asked for too long: of their upstreams, and of the memory that they take.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{AnswerBody, AnswerFault, take_piece};

/// The most that is handed over at once, in bytes: hyper asks for more once that has found room,
/// which is the only sign of progress. Many streams on one slow line must each be able to show it.
const PIECE_BYTES: usize = 32 * 1024;
/// The most that is handed over first: hyper takes it whether the client lets it send or not, and
/// keeps it for as long as the connection lasts. What follows may be twice as long each time.
const FIRST_PIECE_BYTES: usize = 4 * 1024;

/// The answers of one data thread that have not left yet, and those that did since the last look.
#[derive(Default)]
pub(crate) struct WatchedAnswers(Mutex<Vec<Weak<WatchedAnswer>>>);

/// An answer that can be taken away from the connection that sends it.
pub(super) struct WatchedAnswer(Mutex<State>);

struct State {
    /// Nothing once it was taken away.
    answer: Option<AnswerBody>,
    /// What is left of the frame that is handed over in pieces.
    rest: Bytes,
    /// The most of it that is handed over next.
    piece: usize,
    /// Since when it is the client's turn.
    handed_at: Option<Instant>,
}

impl WatchedAnswers {
    pub(super) fn watch(&self, answer: AnswerBody) -> Arc<WatchedAnswer> {
        let watched = Arc::new(WatchedAnswer(Mutex::new(State {
            answer: Some(answer),
            rest: Bytes::new(),
            piece: FIRST_PIECE_BYTES,
            handed_at: Some(Instant::now()),
        })));
        lock(&self.0).push(Arc::downgrade(&watched));
        watched
    }

    /// Ends the answers that were not asked for more for longer than `limit`, as if their clients
    /// had left.
    pub(crate) fn let_go_of_unread(&self, limit: Duration) {
        let mut unread = Vec::new();
        lock(&self.0).retain(|watched| {
            let Some(watched) = watched.upgrade() else {
                return false;
            };
            let mut state = lock(&watched.0);
            if state.is_unread(limit) {
                state.rest = Bytes::new();
                unread.extend(state.answer.take());
            }
            state.has_more()
        });
        // Settled with no lock held.
        drop(unread);
    }
}

impl State {
    fn has_more(&self) -> bool {
        let answer = self.answer.as_ref();
        !self.rest.is_empty() || answer.is_some_and(AnswerBody::is_on_its_way)
    }

    fn is_unread(&self, limit: Duration) -> bool {
        let too_long = |handed_at: Instant| handed_at.elapsed() > limit;
        self.handed_at.is_some_and(too_long) && self.has_more()
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Some(Err(AnswerFault::Unread)));
        };
        let polled = Pin::new(answer).poll_frame(cx);
        polled.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.next_piece()
            }
            Err(trailers) => trailers,
        })
    }

    /// Copied, as a slice would keep all of what it is a part of.
    fn next_piece(&mut self) -> Frame<Bytes> {
        let piece = take_piece(&mut self.rest, self.piece);
        self.piece = PIECE_BYTES.min(self.piece * 2);
        Frame::data(Bytes::copy_from_slice(&piece))
    }
}

impl WatchedAnswer {
    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let mut state = lock(&self.0);
        let polled = state.poll_frame(cx);
        // While it is the upstream's turn, the answer's own timer runs.
        state.handed_at = polled.is_ready().then(Instant::now);
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.rest.is_empty() && state.answer.as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.0);
        match &state.answer {
            Some(answer) if state.rest.is_empty() => answer.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use farebox_http::body_budget::ByteBudget;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::answer::tests::{CHUNKED, answered};

    const LIMIT: Duration = Duration::from_secs(60);
    const A_BIT_MORE: Duration = Duration::from_millis(60_001);

    async fn watched(head: &str) -> (WatchedAnswers, AnswerBody, DuplexStream) {
        let (body, upstream) = answered(head).await;
        let (answers, mut answer) = (
            WatchedAnswers::default(),
            AnswerBody::upstream(Box::new(body)),
        );
        answer.watched_by(&answers);
        (answers, answer, upstream)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_on_lets_its_upstream_go() {
        let (answers, mut answer, mut upstream) = watched(CHUNKED).await;
        upstream.write_all(b"5\r\nfirst\r\n").await.unwrap();
        answer.frame().await.unwrap().unwrap();
        tokio::time::advance(LIMIT).await;
        answers.let_go_of_unread(LIMIT);
        assert!(lock(&answers.0)[0].strong_count() > 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        answers.let_go_of_unread(LIMIT);
        assert_eq!(upstream.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(lock(&answers.0).is_empty());
        let fault = answer.frame().await.unwrap().unwrap_err();
        assert!(matches!(fault, AnswerFault::Unread));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_never_asked_for_lets_its_upstream_go() {
        let (answers, _answer, mut upstream) = watched(CHUNKED).await;
        tokio::time::advance(A_BIT_MORE).await;
        answers.let_go_of_unread(LIMIT);
        assert_eq!(upstream.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_upstream_is_slow_stays() {
        let (answers, mut answer, mut upstream) = watched(CHUNKED).await;
        for _ in 0..3 {
            assert!(
                tokio::time::timeout(LIMIT * 10, answer.frame())
                    .await
                    .is_err()
            );
            answers.let_go_of_unread(LIMIT);
            upstream.write_all(b"4\r\nmore\r\n").await.unwrap();
            answer.frame().await.unwrap().unwrap();
        }
        upstream.write_all(b"0\r\n\r\n").await.unwrap();
        assert!(answer.frame().await.is_none());
        answers.let_go_of_unread(LIMIT);
        assert!(lock(&answers.0).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_slowly_piece_by_piece_stays() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n";
        let (answers, mut answer, mut upstream) = watched(head).await;
        assert_eq!(answer.size_hint().exact(), Some(400_000));
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(400_000).collect();
        upstream.write_all(&sent).await.unwrap();
        let mut read = Vec::new();
        while !answer.is_end_stream() {
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            read.extend_from_slice(&piece);
            tokio::time::advance(LIMIT).await;
            answers.let_go_of_unread(LIMIT);
        }
        assert!(read == sent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_our_own_that_is_not_read_gives_its_memory_back() {
        let (answers, budget) = (WatchedAnswers::default(), ByteBudget::new(100_000));
        let mut answer = AnswerBody::own(vec![7; 100_000]);
        answer.lease_from(&budget).unwrap();
        answer.watched_by(&answers);
        assert_eq!(answer.size_hint().exact(), Some(100_000));
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), FIRST_PIECE_BYTES);
        tokio::time::advance(LIMIT).await;
        answers.let_go_of_unread(LIMIT);
        assert_eq!(budget.in_use(), 100_000);
        tokio::time::advance(Duration::from_millis(1)).await;
        answers.let_go_of_unread(LIMIT);
        assert_eq!(budget.in_use(), 0);
        answer.frame().await.unwrap().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_completely_is_still_handed_over() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let (answers, mut answer, mut upstream) = watched(head).await;
        upstream.write_all(b"whole").await.unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "whole");
        tokio::time::advance(A_BIT_MORE).await;
        answers.let_go_of_unread(LIMIT);
        assert!(answer.is_end_stream());
        assert!(answer.frame().await.is_none());
    }
}
