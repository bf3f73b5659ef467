use super::*;
use http::header::CONTENT_TYPE;

const SECOND: Duration = Duration::from_secs(1);
const POLICY: ReplayPolicy = ReplayPolicy {
    max_bytes: 1000,
    ttl: SECOND,
};

/// Ids that all fall into one shard where `spread` is zero.
fn hold(number: u8, spread: u8) -> HoldId {
    let mut bytes = [0; 16];
    bytes[0] = number;
    bytes[15] = spread;
    HoldId::from_bytes(bytes)
}

fn store(total_bytes: usize, max_answers: usize) -> Arc<ReplayStore> {
    ReplayStore::new(ReplayLimits {
        total_bytes,
        max_answers,
    })
}

fn kept(hold: HoldId) -> Keep {
    Keep {
        hold,
        policy: POLICY,
        asked: Asked::default(),
    }
}

fn recorder(store: &Arc<ReplayStore>, hold: HoldId) -> Recorder {
    store.record(kept(hold), StatusCode::OK, HeaderMap::new())
}

fn keep(store: &Arc<ReplayStore>, hold: HoldId, body: &[u8], now: Instant) {
    let mut recorder = recorder(store, hold);
    recorder.push(body);
    recorder.finish(now);
}

fn answers_kept(store: &ReplayStore) -> usize {
    let shards = store.shards.iter();
    shards
        .map(|shard| shard.lock().unwrap().answers.len())
        .sum()
}

#[test]
fn a_finished_answer_comes_back_as_it_was_sent() {
    let (store, now) = (store(10_000, 100), Instant::now());
    let fields =
        |value| HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]);
    let asked = Asked::of(&HeaderMap::from_iter([(
        http::header::RANGE,
        http::HeaderValue::from_static("bytes=0-4"),
    )]));
    let keep = Keep {
        asked: asked.clone(),
        ..kept(hold(1, 0))
    };
    let mut recorder = store.record(keep, StatusCode::CREATED, fields("text/plain"));
    recorder.push(b"one ");
    recorder.push(b"answer");
    recorder.push_trailers(&fields("trailer"));
    assert!(store.find(hold(1, 0), now).is_none());
    recorder.finish(now);
    let answer = store.find(hold(1, 0), now).unwrap();
    assert_eq!(answer.asked, asked);
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers, fields("text/plain"));
    assert_eq!(answer.body, "one answer");
    assert_eq!(answer.trailers, Some(fields("trailer")));
    assert!(store.find(hold(2, 0), now).is_none());
}

#[test]
fn an_answer_that_was_cut_is_not_kept() {
    let (store, now) = (store(10_000, 100), Instant::now());
    let mut recorder = recorder(&store, hold(1, 0));
    recorder.push(b"half an ans");
    drop(recorder);
    assert!(store.find(hold(1, 0), now).is_none());
    assert_eq!(store.budget.in_use(), 0);
}

#[test]
fn an_answer_longer_than_its_route_keeps_is_given_up_at_once() {
    let (store, now) = (store(10_000, 100), Instant::now());
    let mut recorder = recorder(&store, hold(1, 0));
    recorder.push(&[0; 1000]);
    assert!(recorder.is_recording());
    recorder.push(&[0; 1]);
    assert!(!recorder.is_recording());
    assert_eq!(store.budget.in_use(), 0);
    recorder.push(&[0; 1]);
    recorder.finish(now);
    assert!(store.find(hold(1, 0), now).is_none());
}

#[test]
fn an_answer_expires() {
    let (store, now) = (store(10_000, 100), Instant::now());
    keep(&store, hold(1, 0), b"a", now);
    assert!(
        store
            .find(hold(1, 0), now + SECOND - Duration::from_nanos(1))
            .is_some()
    );
    assert!(store.find(hold(1, 0), now + SECOND).is_none());
}

#[test]
fn expired_answers_give_their_memory_back() {
    let (store, now) = (store(10_000, 100), Instant::now());
    keep(&store, hold(1, 0), &[0; 500], now);
    keep(&store, hold(2, 0), &[0; 500], now + SECOND);
    store.forget_expired(now + SECOND);
    assert_eq!(answers_kept(&store), 1);
    assert_eq!(store.budget.in_use(), ANSWER_OVERHEAD + 500);
    store.forget_expired(now + 2 * SECOND);
    assert_eq!((answers_kept(&store), store.budget.in_use()), (0, 0));
}

#[test]
fn old_answers_make_room_for_new_ones_whatever_shard_they_are_in() {
    let (store, now) = (store(2 * (ANSWER_OVERHEAD + 1000), 100), Instant::now());
    for number in 0..10 {
        keep(&store, hold(number, number), &[0; 1000], now);
        assert!(store.find(hold(number, number), now).is_some());
    }
    assert_eq!(answers_kept(&store), 2);
    assert!(store.budget.in_use() <= 2 * (ANSWER_OVERHEAD + 1000));
}

#[test]
fn recordings_under_way_count_and_the_one_too_many_is_given_up() {
    let store = store(3 * ANSWER_OVERHEAD + 2 * 900, 100);
    let mut recorders: Vec<_> = (0..3)
        .map(|number| recorder(&store, hold(number, 0)))
        .collect();
    for recorder in &mut recorders {
        recorder.push(&[0; 900]);
    }
    let recording: Vec<_> = recorders.iter().map(Recorder::is_recording).collect();
    assert_eq!(recording, [true, true, false]);
    recorders.clear();
    assert_eq!(store.budget.in_use(), 0);
}

#[test]
fn the_number_of_answers_is_limited_and_the_oldest_goes_first() {
    let (store, now) = (store(usize::MAX, 2 * SHARDS), Instant::now());
    for number in 0..3 {
        keep(&store, hold(number, 0), b"a", now);
    }
    let found = [0, 1, 2].map(|number| store.find(hold(number, 0), now).is_some());
    assert_eq!(found, [false, true, true]);
}

#[test]
fn many_small_pieces_take_the_memory_of_the_whole() {
    let (store, now) = (store(10_000, 100), Instant::now());
    let mut recorder = recorder(&store, hold(1, 0));
    for _ in 0..333 {
        recorder.push(b"abc");
    }
    recorder.finish(now);
    assert_eq!(store.budget.in_use(), ANSWER_OVERHEAD + 999);
}

#[test]
fn racing_recordings_keep_within_the_budget() {
    let store = store(20 * (ANSWER_OVERHEAD + 100), 1000);
    let now = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..=255 {
                    keep(store, hold(number, thread), &[thread; 100], now);
                    assert!(store.budget.in_use() <= 20 * (ANSWER_OVERHEAD + 100));
                }
            });
        }
    });
    store.forget_expired(now + SECOND);
    assert_eq!((answers_kept(&store), store.budget.in_use()), (0, 0));
}

#[test]
fn a_retry_can_tell_that_an_answer_is_still_coming_in_without_its_client() {
    let (store, now) = (store(10_000, 100), Instant::now());
    let mut recorder = recorder(&store, hold(1, 0));
    assert!(!store.is_finishing(hold(1, 0)));
    let finishing = recorder.finish_alone().unwrap();
    assert!(store.is_finishing(hold(1, 0)));
    recorder.push(b"the rest");
    recorder.finish(now);
    drop(finishing);
    assert!(!store.is_finishing(hold(1, 0)));
    assert_eq!(store.find(hold(1, 0), now).unwrap().body, "the rest");
}

#[test]
fn nobody_waits_for_an_answer_that_is_not_kept() {
    let store = store(10_000, 100);
    let mut recorder = recorder(&store, hold(1, 0));
    recorder.give_up();
    assert!(recorder.finish_alone().is_none());
}
