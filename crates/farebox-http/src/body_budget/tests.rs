use std::pin::Pin;

use http_body::Frame;

use super::*;
use http_body_util::{BodyExt, Channel, Empty, Full};
use std::convert::Infallible;
use std::io;

const LIMIT: usize = 100_000;

fn patience() -> Patience {
    Patience {
        grace: Duration::from_secs(10),
        min_bytes_per_second: 1000,
        total: Duration::from_secs(60),
    }
}

async fn read<B>(body: B, budget: &Arc<ByteBudget>, keep: Keep) -> Result<ReadBody, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    read_body(body, LIMIT, patience(), budget, keep).await
}

fn channel() -> (
    http_body_util::channel::Sender<Bytes, io::Error>,
    Channel<Bytes, io::Error>,
) {
    Channel::new(1)
}

#[tokio::test]
async fn a_kept_body_comes_back_whole_with_its_hash_and_leases_its_length() {
    let budget = ByteBudget::new(LIMIT);
    let (mut sender, body) = channel();
    let sending = async move {
        for _ in 0..100 {
            sender.send_data(Bytes::from(vec![7; 100])).await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(read(body, &budget, Keep::Bytes), sending);
    let read = read.unwrap();
    assert_eq!(read.bytes.as_deref(), Some(&[7; 10_000][..]));
    assert_eq!(read.sha256, <[u8; 32]>::from(Sha256::digest([7; 10_000])));
    assert_eq!(budget.in_use(), 10_000);
    drop(read);
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test]
async fn a_body_that_is_only_hashed_takes_no_memory() {
    let budget = ByteBudget::new(0);
    let read = read(
        Full::new(Bytes::from(vec![7; LIMIT])),
        &budget,
        Keep::HashOnly,
    )
    .await
    .unwrap();
    assert_eq!(
        read.sha256,
        <[u8; 32]>::from(Sha256::digest(vec![7; LIMIT]))
    );
    assert_eq!(read.bytes, None);
    assert_eq!(read.lease.bytes(), 0);
}

#[tokio::test]
async fn an_empty_body_has_the_hash_of_nothing() {
    let budget = ByteBudget::new(0);
    let read = read(Empty::new(), &budget, Keep::Bytes).await.unwrap();
    assert_eq!(read.bytes, Some(Bytes::new()));
    assert_eq!(read.sha256, <[u8; 32]>::from(Sha256::digest([])));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let budget = ByteBudget::new(usize::MAX);
    for keep in [Keep::Bytes, Keep::HashOnly] {
        assert!(
            read(Full::new(Bytes::from(vec![0; LIMIT])), &budget, keep)
                .await
                .is_ok()
        );
        let longer = Chunks(vec![1, LIMIT]);
        let error = read(longer, &budget, keep).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: LIMIT }));
    }
    assert_eq!(budget.in_use(), 0);
}

/// Frames of these many bytes, without a declared length.
struct Chunks(Vec<usize>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.pop();
        std::task::Poll::Ready(length.map(|length| Ok(Frame::data(Bytes::from(vec![0; length])))))
    }
}

/// A body with a declared length, of which nothing comes.
struct Declared(Channel<Bytes, io::Error>, u64);

impl Body for Declared {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_refused_before_the_first_byte() {
    let budget = ByteBudget::new(0);
    let (_sender, body) = channel();
    let body = Declared(body, LIMIT as u64 + 1);
    let error = read(body, &budget, Keep::Bytes).await.unwrap_err();
    assert!(matches!(error, BodyError::TooLarge { .. }));
}

#[tokio::test]
async fn bodies_together_stay_within_the_budget() {
    let budget = ByteBudget::new(15_000);
    let body = || Full::new(Bytes::from(vec![0; 10_000]));
    let first = read(body(), &budget, Keep::Bytes).await.unwrap();
    let error = read(body(), &budget, Keep::Bytes).await.unwrap_err();
    assert!(matches!(error, BodyError::BudgetExhausted(_)));
    assert_eq!(budget.in_use(), 10_000);
    drop(first);
    assert!(read(body(), &budget, Keep::Bytes).await.is_ok());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_body() {
    let budget = ByteBudget::new(LIMIT);
    let (mut sender, body) = channel();
    let sending = async move {
        sender.send_data(Bytes::from_static(b"half")).await.unwrap();
        sender.abort(io::Error::other("gone"));
    };
    let (read, ()) = tokio::join!(read(body, &budget, Keep::Bytes), sending);
    let error = read.unwrap_err();
    assert!(matches!(error, BodyError::Broken(_)));
    assert_eq!(error.source().unwrap().to_string(), "gone");
    assert_eq!(budget.in_use(), 0);
}

/// Sends `size` bytes a second for ever; gives the seconds after which the reader gave up.
async fn seconds_until_given_up(size: usize) -> u64 {
    let budget = ByteBudget::new(usize::MAX);
    let (mut sender, body) = channel();
    let started_at = Instant::now();
    let sending = async move {
        while sender.send_data(Bytes::from(vec![0; size])).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let reading = async {
        let error = read(body, &budget, Keep::HashOnly).await.unwrap_err();
        assert!(matches!(error, BodyError::TimedOut));
        started_at.elapsed().as_secs()
    };
    tokio::join!(reading, sending).0
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_given_up_soon_after_the_grace() {
    assert_eq!(seconds_until_given_up(1).await, 10);
    assert_eq!(seconds_until_given_up(500).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_steady_sender_is_given_up_only_at_the_total() {
    assert_eq!(seconds_until_given_up(1500).await, 60);
}

#[tokio::test]
async fn trailers_are_kept_with_the_body() {
    let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
    let body = || {
        let trailers = trailers.clone();
        Full::new(Bytes::from_static(b"a")).with_trailers(std::future::ready(Some(Ok(trailers))))
    };
    let budget = ByteBudget::new(LIMIT);
    let kept = read(body(), &budget, Keep::Bytes).await.unwrap();
    assert_eq!(kept.trailers, Some(trailers.clone()));
}

#[test]
fn leases_that_race_stay_within_the_budget_and_come_back() {
    let budget = ByteBudget::new(10);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let mut lease = budget.lease();
                    let _ = lease.grow(4);
                    assert!(budget.in_use() <= 10);
                }
            });
        }
    });
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn what_begins_leaves_half_for_what_has_begun() {
    let budget = ByteBudget::new(80);
    let mut first = budget.begin(10).unwrap();
    first.grow(25).unwrap();
    budget.begin(6).unwrap_err();
    let second = budget.begin(5).unwrap();
    budget.begin(1).unwrap_err();
    first.grow(40).unwrap();
    budget.reserve(1).unwrap_err();
    drop((first, second));
    assert_eq!(budget.begin(1000).unwrap().bytes(), 10);
}

#[test]
fn a_lease_that_cannot_grow_stays_as_it_is() {
    let budget = ByteBudget::new(10);
    let mut lease = budget.lease();
    lease.grow(8).unwrap();
    assert_eq!(lease.grow(3), Err(BudgetExhausted));
    assert_eq!(lease.grow(usize::MAX), Err(BudgetExhausted));
    assert_eq!((lease.bytes(), budget.in_use()), (8, 8));
}

#[tokio::test]
async fn a_body_that_binds_nothing_is_kept_and_leased_without_its_hash() {
    let budget = ByteBudget::new(LIMIT);
    let body = Full::new(Bytes::from_static(b"answer"));
    let read = read_bytes(body, LIMIT, patience(), budget.lease()).await;
    let (bytes, lease) = read.unwrap();
    assert_eq!((&bytes[..], lease.bytes()), (&b"answer"[..], 6));
    assert_eq!(budget.in_use(), 6);
    // It is given back with the last part of the bytes.
    let mut kept = lease.keep(bytes);
    let part = kept.split_to(2);
    drop(kept);
    assert_eq!(budget.in_use(), 6);
    drop(part);
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test]
async fn a_body_takes_what_was_reserved_for_it_before_it_takes_more() {
    let budget = ByteBudget::new(LIMIT);
    let (reserved, other) = (budget.reserve(8192).unwrap(), LIMIT - 8192);
    let rest = budget.reserve(other).unwrap();
    let body = |length| Full::new(Bytes::from(vec![7; length]));
    let read = read_bytes(body(8192), LIMIT, patience(), reserved).await;
    let (bytes, lease) = read.unwrap();
    assert_eq!((bytes.len(), lease.bytes()), (8192, 8192));
    let read = read_bytes(body(8193), LIMIT, patience(), lease).await;
    assert!(matches!(read, Err(BodyError::BudgetExhausted(_))));
    assert_eq!(budget.in_use(), other);
    drop(rest);
}
