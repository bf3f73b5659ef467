//! A limit on lines that come again and again, since a client can often choose how often something
//! fails. It is for each place in the code, so that no line keeps another one out.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farebox_http::limits::{Bucket, Rate};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// How many lines of one place are written at once after a rest.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// How long a place rests for each further line.
const ONE_MORE_EVERY: Duration = Duration::from_secs(5);

/// Lets lines pass until a place in the code repeats itself too often.
pub(super) struct Repeats(Arc<Places>);

/// What was left out.
pub(super) struct LeftOut(Arc<Places>);

/// Bounded by the number of places in the code that log.
#[derive(Default)]
struct Places(Mutex<HashMap<Identifier, Place>>);

struct Place {
    what: &'static Metadata<'static>,
    bucket: Bucket,
    left_out: u64,
}

impl Repeats {
    pub(super) fn new() -> (Self, LeftOut) {
        let places = Arc::<Places>::default();
        (Self(Arc::clone(&places)), LeftOut(places))
    }

    fn passes(&self, what: &'static Metadata<'static>, now: Instant) -> bool {
        let mut places = self.0.lock();
        let place = places.entry(what.callsite()).or_insert(Place {
            what,
            bucket: Bucket::full(now),
            left_out: 0,
        });
        let rate = Rate::new(NonZeroU32::MIN, ONE_MORE_EVERY, BURST);
        let passes = place.bucket.try_take(rate, now).is_ok();
        place.left_out += u64::from(!passes);
        passes
    }
}

impl<S: Subscriber> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // Whoever asks for more than the default wants all of it.
        *event.metadata().level() > Level::INFO || self.passes(event.metadata(), Instant::now())
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeftOut {
    /// Logs how many lines of each place were left out since the last time.
    pub(super) fn tell(&self) {
        for (what, lines) in self.take() {
            let (file, line) = (what.file().unwrap_or_default(), what.line());
            let target = what.target();
            tracing::warn!(
                lines,
                of = target,
                file,
                line,
                "repeated lines were left out"
            );
        }
    }

    /// Taken before any is logged: a line that is logged comes to the same lock.
    fn take(&self) -> Vec<(&'static Metadata<'static>, u64)> {
        let mut places = self.0.lock();
        let silent = places.values_mut().filter(|place| place.left_out > 0);
        silent
            .map(|place| (place.what, std::mem::take(&mut place.left_out)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_place_that_repeats_itself_is_cut_short_and_rests_and_another_is_not_touched() {
        let (repeats, left_out) = Repeats::new();
        let (one, other) = (
            metadata(|| tracing::warn!("one")),
            metadata(|| tracing::warn!("two")),
        );
        let now = Instant::now();
        let passed = (0..1_000).filter(|_| repeats.passes(one, now)).count();
        assert_eq!(passed, BURST.get() as usize);
        assert!(repeats.passes(other, now));
        let left: Vec<_> = left_out
            .take()
            .into_iter()
            .map(|(_, lines)| lines)
            .collect();
        assert_eq!(left, [1_000 - u64::from(BURST.get())]);
        assert!(left_out.take().is_empty());
        let later = now + ONE_MORE_EVERY;
        assert!(repeats.passes(one, later) && !repeats.passes(one, later));
        let much_later = later + ONE_MORE_EVERY * 1_000;
        let passed = (0..1_000)
            .filter(|_| repeats.passes(one, much_later))
            .count();
        assert_eq!(passed, BURST.get() as usize);
    }

    /// The place at which `log` logs.
    fn metadata(log: impl Fn()) -> &'static Metadata<'static> {
        struct Seen(Arc<Mutex<Option<&'static Metadata<'static>>>>);
        impl<S: Subscriber> Layer<S> for Seen {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                *self.0.lock().unwrap() = Some(event.metadata());
            }
        }
        use tracing_subscriber::Layer;
        let seen = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Seen(Arc::clone(&seen)));
        tracing::subscriber::with_default(subscriber, log);
        seen.lock().unwrap().unwrap()
    }
}
