//! Whether the client or the upstream is to blame for an answer that breaks off.

use std::time::Duration;

use farebox_paywall::gauge::Ending;
use tokio::time::Instant;

/// How long a client may keep the upstream waiting in all before it is to blame for an answer that
/// breaks off afterwards. Servers give up on a peer that does not read, and many on an answer that
/// takes long at all; who could provoke that at will would get nearly whole answers for nothing.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The same where that was more than half of the time that the answer took.
pub(super) const MAX_WAIT_OF_HALF: Duration = Duration::from_secs(5);

/// How long it was the client's turn, added up over the whole answer.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    began_at: Option<Instant>,
    handed_at: Option<Instant>,
    waited: Duration,
}

impl Pace {
    pub(super) fn handed_over(&mut self) {
        let now = Instant::now();
        self.handed_at = Some(now);
        self.began_at.get_or_insert(now);
    }

    pub(super) fn asked_for_more(&mut self) {
        if let Some(handed_at) = self.handed_at.take() {
            self.waited += handed_at.elapsed();
        }
    }

    /// Who is to blame when the upstream breaks off. What was already on its way is still read between
    /// the pauses and the break that they caused.
    pub(super) fn broken_off_by(&self) -> Ending {
        let all = self.began_at.map_or(Duration::ZERO, |it| it.elapsed());
        let is_half = self.waited > MAX_WAIT_OF_HALF && self.waited > all / 2;
        if self.waited > MAX_WAIT || is_half {
            Ending::CutByClient
        } else {
            Ending::CutByUpstream
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is to blame where the client took its turns of `waits` seconds between pieces that each took
    /// the upstream `apart` seconds.
    async fn broken_off_by(waits: &[u64], apart: u64) -> Ending {
        let mut pace = Pace::default();
        for wait in waits {
            pace.handed_over();
            tokio::time::advance(Duration::from_secs(*wait)).await;
            pace.asked_for_more();
            tokio::time::advance(Duration::from_secs(apart)).await;
        }
        pace.broken_off_by()
    }

    #[tokio::test(start_paused = true)]
    async fn a_clients_turns_are_added_up() {
        assert_eq!(broken_off_by(&[], 0).await, Ending::CutByUpstream);
        assert_eq!(broken_off_by(&[2, 3], 0).await, Ending::CutByUpstream);
        assert_eq!(broken_off_by(&[2, 2, 2], 0).await, Ending::CutByClient);
        assert_eq!(broken_off_by(&[2, 2, 2], 3).await, Ending::CutByUpstream);
        assert_eq!(broken_off_by(&[3; 10], 9).await, Ending::CutByUpstream);
        assert_eq!(broken_off_by(&[3; 11], 9).await, Ending::CutByClient);
    }
}
