//! Which relays are connected at this moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::socket::RelayError;

/// One relay's connection.
#[derive(Clone)]
enum Link {
    /// For the first time in this session.
    Trying,
    /// Connected, and our subscription stands.
    Up,
    /// Not connected; it is tried again after a while.
    Down(Arc<RelayError>),
}

/// All relays' connections.
pub(super) struct Links {
    states: watch::Sender<Vec<Link>>,
}

/// Why no relay is connected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no relay is connected")]
pub(super) struct AllDown(#[source] pub(super) Arc<RelayError>);

impl Links {
    pub(super) fn new(relays: usize) -> Self {
        Self {
            states: watch::Sender::new(vec![Link::Trying; relays]),
        }
    }

    pub(super) fn up(&self, relay: usize) {
        self.set(relay, Link::Up);
    }

    pub(super) fn down(&self, relay: usize, error: RelayError) {
        self.set(relay, Link::Down(Arc::new(error)));
    }

    fn set(&self, relay: usize, link: Link) {
        self.states.send_modify(|states| {
            if let Some(state) = states.get_mut(relay) {
                *state = link;
            }
        });
    }

    pub(super) fn is_up(&self, relay: usize) -> bool {
        matches!(self.states.borrow().get(relay), Some(Link::Up))
    }

    /// What the relay's connection failed with, where it did.
    pub(super) fn failure(&self, relay: usize) -> Option<Arc<RelayError>> {
        match self.states.borrow().get(relay) {
            Some(Link::Down(error)) => Some(Arc::clone(error)),
            _ => None,
        }
    }

    /// Returns when a relay is connected, or when all have failed.
    pub(super) async fn wait_until_up(&self) -> Result<(), AllDown> {
        let mut states = self.states.subscribe();
        loop {
            if let Some(settled) = any_up(&states.borrow_and_update()) {
                return settled;
            }
            // The sender is ours, so it is there.
            drop(states.changed().await);
        }
    }

    /// Returns when no relay has been connected for so long.
    pub(super) async fn wait_until_lost(&self, grace: Duration) -> AllDown {
        loop {
            let down = self.wait_until_down().await;
            let mut states = self.states.subscribe();
            let back = states.wait_for(|states| matches!(any_up(states), Some(Ok(()))));
            if tokio::time::timeout(grace, back).await.is_err() {
                return down;
            }
        }
    }

    /// Returns when no relay is connected any more.
    pub(super) async fn wait_until_down(&self) -> AllDown {
        let mut states = self.states.subscribe();
        loop {
            if let Some(Err(down)) = any_up(&states.borrow_and_update()) {
                return down;
            }
            drop(states.changed().await);
        }
    }
}

fn any_up(states: &[Link]) -> Option<Result<(), AllDown>> {
    if states.iter().any(|state| matches!(state, Link::Up)) {
        return Some(Ok(()));
    }
    let mut failure = None;
    for state in states {
        match state {
            Link::Trying => return None,
            Link::Down(error) => failure = Some(AllDown(Arc::clone(error))),
            Link::Up => (),
        }
    }
    failure.map(Err)
}
