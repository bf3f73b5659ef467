//! Ending well: no new connections, time for open requests, then a cut.

use std::time::Duration;

use tokio::sync::watch;

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
    open: watch::Sender<usize>,
}

/// Starts the phases.
pub struct Drain {
    phase: watch::Sender<Phase>,
    open: watch::Sender<usize>,
}

/// One open connection; dropping it says that it is closed.
pub struct OpenConnection(watch::Sender<usize>);

impl Drain {
    /// Both ends, while everything is served.
    #[must_use]
    pub fn new() -> (Self, DrainSignal) {
        let (phase, seen) = watch::channel(Phase::Serving);
        let open = watch::Sender::new(0);
        let signal = DrainSignal {
            phase: seen,
            open: open.clone(),
        };
        (Self { phase, open }, signal)
    }

    /// Asks all connections to end, waits for them up to `limit`, then cuts what is left; gives the
    /// number of connections that were cut.
    pub async fn run(&self, limit: Duration) -> usize {
        self.phase.send_replace(Phase::Draining);
        let _ = tokio::time::timeout(limit, self.all_closed()).await;
        let cut = *self.open.borrow();
        self.phase.send_replace(Phase::Cut);
        if cut > 0 {
            /// What a cut connection needs to settle its holds.
            const AFTER_CUT: Duration = Duration::from_secs(2);
            let _ = tokio::time::timeout(AFTER_CUT, self.all_closed()).await;
        }
        cut
    }

    async fn all_closed(&self) {
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

impl DrainSignal {
    /// Counts one more open connection.
    pub fn enter(&self) -> OpenConnection {
        self.open.send_modify(|open| *open += 1);
        OpenConnection(self.open.clone())
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        *self.open.borrow()
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

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
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
