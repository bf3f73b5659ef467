//! Whether the client or the upstream is to blame for an answer that breaks off.

use std::time::Duration;

use farebox_paywall::gauge::Ending;
use tokio::time::Instant;

/// How long a client may keep the upstream waiting before it is to blame for an answer that breaks
/// off afterwards. Servers give up on a peer that does not read, often after no more than a minute;
/// who could provoke that at will would get nearly whole answers for nothing.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Whether the client kept the upstream waiting for long.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    handed_at: Option<Instant>,
    dawdled: bool,
}

impl Pace {
    pub(super) fn handed_over(&mut self) {
        self.handed_at = Some(Instant::now());
    }

    pub(super) fn asked_for_more(&mut self) {
        if let Some(handed_at) = self.handed_at.take() {
            self.dawdled |= handed_at.elapsed() > MAX_PAUSE;
        }
    }

    /// Who is to blame when the upstream breaks off. Once late is late for good: what was already
    /// on its way is still read between the pause and the break that it caused.
    pub(super) const fn broken_off_by(&self) -> Ending {
        if self.dawdled {
            Ending::CutByClient
        } else {
            Ending::CutByUpstream
        }
    }
}
