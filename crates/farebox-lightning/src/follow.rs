//! Following the settlements of backends, and telling whoever waits for one.
//!
//! [`follow`] keeps one stream open for as long as it runs: a stream that breaks is opened again,
//! after a pause, at the place where it ended. [`Settlements`] remembers the latest of what was
//! heard. Not having heard of a settlement says nothing, since memory is bounded and streams break;
//! whoever needs a no asks the node.

use std::time::Duration;

use tokio::time::Instant;

pub use settlements::{Followed, Settled, Settlements};

use crate::{NodeError, Settlement, SettlementCursor, WatchEvent, WatchSettlements};

mod settlements;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A stream that held for so long was a good one: the next pause is short again.
const STEADY: Duration = Duration::from_secs(10);

/// Follows the settlements of the backend called `name` for ever: notes each in `settlements`, then
/// hands it to `on`. Begins after `start`, or where the backend begins by itself.
///
/// A settlement may be handed over twice, for instance after a stream broke. Dropping the future
/// ends it.
pub async fn follow(
    name: &str,
    node: &dyn WatchSettlements,
    start: Option<SettlementCursor>,
    settlements: &Settlements,
    on: &(dyn Fn(&Settlement) + Sync),
) {
    let entry = settlements.enter(name);
    let mut cursor = start;
    let mut pauses = Pauses::default();
    loop {
        let began = Instant::now();
        let from = cursor;
        let mut sink = |event: WatchEvent| match event {
            WatchEvent::Listening => {
                if entry.hears() {
                    tracing::info!(backend = name, "following settlements");
                }
            }
            WatchEvent::Settled(settlement) => {
                cursor = settlement.cursor.or(cursor);
                settlements.note(&settlement);
                on(&settlement);
            }
        };
        let end = node.watch(from, &mut sink).await;
        let reason = why(end);
        if entry.lost(&reason) {
            tracing::warn!(backend = name, reason, "not following settlements");
        }
        tokio::time::sleep(pauses.next(began.elapsed())).await;
    }
}

fn why(end: Result<(), NodeError>) -> String {
    end.map_or_else(
        |error| error.to_string(),
        |()| "the stream ended".to_owned(),
    )
}

/// How long to wait before each attempt.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The pause after a stream that held for `lasted`.
    fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= STEADY {
            *self = Self::default();
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_shrink_after_a_good_stream() {
        let mut pauses = Pauses::default();
        let brief = Duration::from_millis(3);
        let millis: Vec<_> = (0..8).map(|_| pauses.next(brief).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(pauses.next(STEADY), FIRST_PAUSE);
        assert_eq!(pauses.next(brief), FIRST_PAUSE * 2);
    }
}
