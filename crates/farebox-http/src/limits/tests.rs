use super::*;
use crate::body_budget::Holder;
use crate::client_addr::AddressPrefix;
use farebox_core::AccountId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SECOND: Duration = Duration::from_secs(1);

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(count(per_second), SECOND, count(burst))
}

fn challenges(per_prefix: Rate, global: Rate, now: Instant) -> ChallengeLimits {
    ChallengeLimits::new(ChallengeRates { per_prefix, global }, now)
}

fn prefix(number: u32) -> Holder {
    let [_, a, b, c] = number.to_be_bytes();
    Holder::Stranger(AddressPrefix::V4([a, b, c]))
}

fn token(number: u32) -> AccountId {
    let mut bytes = [0; 32];
    // The first byte chooses the shard, and one shard is enough to fill.
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    AccountId::from_bytes(bytes)
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let now = Instant::now();
    let limits = challenges(rate(2, 3), rate(1000, 1000), now);
    let taken = |at| {
        (0..10)
            .filter(|_| limits.try_take(prefix(1), at).is_ok())
            .count()
    };
    assert_eq!(taken(now), 3);
    assert_eq!(taken(now + SECOND), 2);
    assert_eq!(taken(now + 60 * SECOND), 3);
}

#[test]
fn a_refusal_says_exactly_when_to_come_back() {
    let now = Instant::now();
    let limits = challenges(rate(2, 1), rate(1000, 1000), now);
    limits.try_take(prefix(1), now).unwrap();
    let RetryAfter(wait) = limits.try_take(prefix(1), now).unwrap_err();
    assert_eq!(wait, SECOND / 2);
    assert!(
        limits
            .try_take(prefix(1), now + wait - Duration::from_nanos(1))
            .is_err()
    );
    assert!(limits.try_take(prefix(1), now + wait).is_ok());
}

#[test]
fn retry_after_is_rounded_up_to_at_least_a_second() {
    let secs = |nanos| RetryAfter(Duration::from_nanos(nanos)).as_secs();
    assert_eq!(
        [secs(0), secs(1), secs(1_000_000_000), secs(1_000_000_001)],
        [1, 1, 1, 2]
    );
}

#[test]
fn asking_whether_a_challenge_would_be_refused_takes_none() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(100, 100), now);
    assert!((0..10).all(|_| limits.check(prefix(1), now).is_ok()));
    limits.try_take(prefix(1), now).unwrap();
    assert!(limits.check(prefix(1), now).is_err());
    assert!(limits.check(prefix(1), now + SECOND).is_ok());
}

#[test]
fn one_prefix_at_its_limit_does_not_stop_another() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1000, 1000), now);
    for number in 0..100 {
        assert!(limits.try_take(prefix(number), now).is_ok());
        assert!(limits.try_take(prefix(number), now).is_err());
    }
}

#[test]
fn refused_prefixes_do_not_drain_the_bucket_of_all() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1, 2), now);
    limits.try_take(prefix(1), now).unwrap();
    for _ in 0..1000 {
        assert!(limits.try_take(prefix(1), now).is_err());
    }
    assert!(limits.try_take(prefix(2), now).is_ok());
    assert!(limits.try_take(prefix(3), now).is_err());
}

#[test]
fn an_empty_bucket_of_all_costs_no_prefix_its_own() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1, 1), now);
    limits.try_take(prefix(1), now).unwrap();
    assert!(limits.try_take(prefix(2), now).is_err());
    assert!(limits.try_take(prefix(2), now + SECOND).is_ok());
}

#[test]
fn strangers_do_not_drain_the_bucket_of_those_who_paid() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1, 1), now);
    limits.try_take(prefix(1), now).unwrap();
    assert!(limits.check(prefix(2), now).is_err());
    let payer = |number| Holder::Payer(token(number));
    limits.check(payer(1), now).unwrap();
    limits.try_take(payer(1), now).unwrap();
    assert!(limits.try_take(payer(2), now).is_err());
}

#[test]
fn a_share_of_one_thing_is_none_of_another() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1000, 1000), now);
    limits.try_take_for(prefix(1), "a", now).unwrap();
    assert!(limits.try_take_for(prefix(1), "a", now).is_err());
    limits.try_take_for(prefix(1), "b", now).unwrap();
    limits.try_take_for(prefix(2), "a", now).unwrap();
}

#[test]
fn a_flood_of_other_prefixes_never_refills_a_bucket() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1_000_000_000, u32::MAX), now);
    limits.try_take(prefix(0), now).unwrap();
    for number in 1..300_000 {
        let _ = limits.try_take(prefix(number), now);
    }
    assert!(limits.try_take(prefix(0), now).is_err());
}

#[test]
fn an_instant_from_before_the_start_counts_as_the_start() {
    let now = Instant::now();
    let limits = challenges(rate(1, 1), rate(1000, 1000), now + SECOND);
    assert!(limits.try_take(prefix(1), now).is_ok());
    assert!(limits.try_take(prefix(1), now).is_err());
}

#[test]
fn racing_threads_take_no_more_than_there_is() {
    let now = Instant::now();
    let limits = challenges(rate(1, 500), rate(1, 700), now);
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (limits, taken) = (&limits, &taken);
            scope.spawn(move || {
                for _ in 0..1000 {
                    if limits.try_take(prefix(thread % 2), now).is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 700);
}

fn at_once(max: u32) -> TokenLimit {
    TokenLimit {
        max_concurrent: Some(count(max)),
        rate: None,
    }
}

fn paced(rate: Rate) -> TokenLimit {
    TokenLimit {
        max_concurrent: None,
        rate: Some(rate),
    }
}

#[test]
fn a_permit_counts_until_it_is_dropped() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let first = limits.try_start(&token(1), at_once(2), now).unwrap();
    let _second = limits.try_start(&token(1), at_once(2), now).unwrap();
    let refused = limits.try_start(&token(1), at_once(2), now).unwrap_err();
    assert_eq!(refused, TokenRefusal::Concurrency(RetryAfter(SECOND)));
    assert!(limits.try_start(&token(2), at_once(2), now).is_ok());
    drop(first);
    assert!(limits.try_start(&token(1), at_once(2), now).is_ok());
}

#[test]
fn a_token_is_paced_by_its_rate() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let limit = paced(rate(1, 2));
    drop(limits.try_start(&token(1), limit, now).unwrap());
    drop(limits.try_start(&token(1), limit, now).unwrap());
    let refused = limits.try_start(&token(1), limit, now).unwrap_err();
    assert_eq!(refused, TokenRefusal::Rate(RetryAfter(SECOND)));
    assert!(limits.try_start(&token(1), limit, now + SECOND).is_ok());
}

#[test]
fn a_request_refused_for_concurrency_uses_up_no_rate() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let limit = TokenLimit {
        max_concurrent: Some(count(1)),
        rate: Some(rate(1, 2)),
    };
    let first = limits.try_start(&token(1), limit, now).unwrap();
    assert!(limits.try_start(&token(1), limit, now).is_err());
    drop(first);
    assert!(limits.try_start(&token(1), limit, now).is_ok());
}

#[test]
fn a_token_without_limits_is_not_tracked() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let _permit = limits
        .try_start(&token(1), TokenLimit::default(), now)
        .unwrap();
    assert_eq!(limits.tracked(), 0);
    drop(limits.try_start(&token(1), at_once(1), now).unwrap());
    assert_eq!(limits.tracked(), 0);
}

#[test]
fn memory_for_tokens_is_bounded() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    for number in 0..5000 {
        drop(
            limits
                .try_start(&token(number), paced(rate(1, 1)), now)
                .unwrap(),
        );
    }
    assert_eq!(limits.tracked(), 1024);
}

#[test]
fn full_buckets_are_swept_before_any_other_is_forgotten() {
    let start = Instant::now();
    let limits = TokenLimits::new(start);
    for number in 0..1023 {
        drop(
            limits
                .try_start(&token(number), paced(rate(1, 1)), start)
                .unwrap(),
        );
    }
    let slow = paced(Rate::new(count(1), 60 * SECOND, count(1)));
    drop(limits.try_start(&token(5000), slow, start).unwrap());
    drop(
        limits
            .try_start(&token(6000), slow, start + 2 * SECOND)
            .unwrap(),
    );
    assert_eq!(limits.tracked(), 2);
    assert!(
        limits
            .try_start(&token(5000), slow, start + 2 * SECOND)
            .is_err()
    );
}

#[test]
fn a_token_with_a_request_in_flight_is_never_forgotten() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let held: Vec<_> = (0..1024)
        .map(|number| limits.try_start(&token(number), at_once(1), now).unwrap())
        .collect();
    let refused = limits.try_start(&token(5000), at_once(1), now).unwrap_err();
    assert_eq!(refused, TokenRefusal::Crowded(RetryAfter(SECOND)));
    assert!(limits.try_start(&token(0), at_once(1), now).is_err());
    drop(held);
    assert!(limits.try_start(&token(5000), at_once(1), now).is_ok());
}

#[test]
fn racing_requests_of_one_token_stay_within_its_concurrency() {
    let now = Instant::now();
    let limits = TokenLimits::new(now);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let Ok(permit) = limits.try_start(&token(1), at_once(2), now) else {
                        continue;
                    };
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert!((1..=2).contains(&most.into_inner()));
}
