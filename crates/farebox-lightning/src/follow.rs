//! Following the settlements of backends, and telling whoever waits for one.
//!
//! [`follow`] keeps one stream open for as long as it runs: a stream that breaks is opened again,
//! after a pause, at the place where it ended. [`Settlements`] remembers the latest of what was
//! heard. Not having heard of a settlement says nothing, since memory is bounded and streams break;
//! whoever needs a no asks the node.

use std::time::Duration;

use tokio::time::Instant;

pub use settlements::{Followed, Settled, Settlements};

use crate::pauses::Pauses;
use crate::{NodeError, Settlement, SettlementCursor, WatchEvent, WatchSettlements};

mod settlements;

/// The longest pause before a stream is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

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
    let mut pauses = Pauses::up_to(LONGEST_PAUSE);
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
