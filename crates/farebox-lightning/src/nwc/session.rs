//! The tasks that keep the relays' connections, one each, on the runtime of whoever calls first.
//! When that runtime ends, or stops running them, the next caller starts them on its own.

use std::sync::{Arc, Mutex, PoisonError};

use nostr::EventId;
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::MAX_IN_FLIGHT;
use super::hub::Hub;
use super::links::Links;
use super::relay::Relay;
use super::uri::RelayUrl;
use super::waiting::Waiting;

/// Starts sessions when they are needed.
pub(super) struct Sessions {
    hub: Arc<Hub>,
    relays: Vec<RelayUrl>,
    tls: Arc<ClientConfig>,
    current: Mutex<Option<Arc<Session>>>,
}

/// Connections to all relays, held by tasks of one runtime.
pub(super) struct Session {
    pub(super) links: Arc<Links>,
    outboxes: Vec<mpsc::Sender<EventId>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Called from outside of any runtime.
#[derive(Debug, thiserror::Error)]
#[error("there is no asynchronous runtime to connect from")]
pub(super) struct NoRuntime;

impl Sessions {
    pub(super) const fn new(hub: Arc<Hub>, relays: Vec<RelayUrl>, tls: Arc<ClientConfig>) -> Self {
        Self {
            hub,
            relays,
            tls,
            current: Mutex::new(None),
        }
    }

    pub(super) fn relays(&self) -> &[RelayUrl] {
        &self.relays
    }

    /// The running session, or a new one.
    pub(super) fn current(&self) -> Result<Arc<Session>, NoRuntime> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = current.as_ref().filter(|session| session.is_alive()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.start(&Handle::try_current().map_err(|_| NoRuntime)?));
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Gives up a session that does nothing; the next call starts another.
    pub(super) fn abandon(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, session))
        {
            *current = None;
        }
        session.stop();
    }

    fn start(&self, runtime: &Handle) -> Session {
        let links = Arc::new(Links::new(self.relays.len()));
        let mut session = Session {
            links: Arc::clone(&links),
            outboxes: Vec::new(),
            tasks: Vec::new(),
        };
        for (index, url) in self.relays.iter().enumerate() {
            let (sender, outbox) = mpsc::channel(MAX_IN_FLIGHT);
            let relay = Relay {
                index,
                url: url.clone(),
                tls: Arc::clone(&self.tls),
                hub: Arc::clone(&self.hub),
                links: Arc::clone(&links),
                outbox,
                told_away: false,
            };
            session.outboxes.push(sender);
            session.tasks.push(runtime.spawn(relay.run()));
        }
        session
    }
}

impl Session {
    /// Tasks end only with their runtime.
    fn is_alive(&self) -> bool {
        !self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Hands a request to the relays that are connected and meant.
    pub(super) fn publish(&self, waiting: &Waiting, id: EventId) {
        for (relay, outbox) in self.outboxes.iter().enumerate() {
            if self.links.is_up(relay) && waiting.give(&id, relay) {
                // Full only where a relay reads nothing: others have it, or the call times out.
                let _ = outbox.try_send(id);
            }
        }
    }

    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}
