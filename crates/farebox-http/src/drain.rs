//! Ending well: no new connections, time for open requests, then a cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Cut,
}

/// Seen by everything that may have to end.
#[derive(Clone)]
pub struct DrainSignal {
    phase: watch::Receiver<Phase>,
    open: Arc<Open>,
}

/// Starts the phases.
pub struct Drain {
    phase: watch::Sender<Phase>,
    open: Arc<Open>,
}

#[derive(Default)]
struct Open {
    count: AtomicUsize,
    none_left: Notify,
}

/// One open connection; dropping it says that it is closed.
pub struct OpenConnection(Arc<Open>);

impl Drain {
    /// Both ends, while everything is served.
    #[must_use]
    pub fn new() -> (Self, DrainSignal) {
        let (sender, phase) = watch::channel(Phase::Serving);
        let open = Arc::<Open>::default();
        (
            Self {
                phase: sender,
                open: Arc::clone(&open),
            },
            DrainSignal { phase, open },
        )
    }

    /// Asks all connections to end, waits for them up to `limit`, then cuts what is left; gives the
    /// number of connections that were cut.
    pub async fn run(&self, limit: Duration) -> usize {
        self.phase.send_replace(Phase::Draining);
        let _ = tokio::time::timeout(limit, self.open.all_closed()).await;
        let cut = self.open.count.load(Ordering::Acquire);
        self.phase.send_replace(Phase::Cut);
        if cut > 0 {
            /// What a cut connection needs to settle its holds.
            const AFTER_CUT: Duration = Duration::from_secs(2);
            let _ = tokio::time::timeout(AFTER_CUT, self.open.all_closed()).await;
        }
        cut
    }
}

impl DrainSignal {
    /// Counts one more open connection.
    pub fn enter(&self) -> OpenConnection {
        self.open.count.fetch_add(1, Ordering::AcqRel);
        OpenConnection(Arc::clone(&self.open))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.count.load(Ordering::Acquire)
    }

    /// Resolves when no new requests should be taken.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when everything has to end at once.
    pub async fn cut(&self) {
        self.reached(Phase::Cut).await;
    }

    /// Whether that is now.
    pub fn is_cut(&self) -> bool {
        *self.phase.borrow() == Phase::Cut
    }

    async fn reached(&self, phase: Phase) {
        let mut seen = self.phase.clone();
        let _ = seen.wait_for(|now| *now >= phase).await;
    }
}

impl Open {
    async fn all_closed(&self) {
        loop {
            let notified = self.none_left.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_open_connections_and_cuts_what_outlasts_the_limit() {
        let (drain, signal) = Drain::new();
        let quick = signal.enter();
        let stuck = signal.enter();
        let cutter = signal.clone();
        tokio::spawn(async move {
            cutter.draining().await;
            drop(quick);
            cutter.cut().await;
            drop(stuck);
        });
        assert_eq!(drain.run(Duration::from_secs(10)).await, 1);
        assert_eq!(signal.open(), 0);
    }
}
