//! Settlements as the wallet tells of them (`payment_received`).

use tokio::sync::broadcast::error::RecvError;

use super::Nwc;
use super::hub::PAYMENT_RECEIVED;
use super::links::AllDown;
use crate::{NodeError, WatchEvent};

/// The wallet's info event does not list it.
const NOTIFICATIONS: &str = "notifications of payments received";

impl Nwc {
    /// Listens until no relay is connected any more.
    pub(super) async fn hear_settlements(
        &self,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        let mut heard = self.hub().listen();
        let session = self.session()?;
        self.wait_until_up(&session, self.call_timeout()).await?;
        self.check_notifies()?;
        sink(WatchEvent::Listening);
        let mut ended = Box::pin(session.links.wait_until_down());
        loop {
            tokio::select! {
                settled = heard.recv() => match settled {
                    Ok(settled) => sink(WatchEvent::Settled(settled)),
                    // What was missed can be looked up.
                    Err(RecvError::Lagged(_)) => (),
                    Err(RecvError::Closed) => return Ok(()),
                },
                AllDown(error) = &mut ended => return Err(self.broken_off(error)),
            }
        }
    }

    fn check_notifies(&self) -> Result<(), NodeError> {
        match self.hub().info() {
            Some(info) if !info.notifies(PAYMENT_RECEIVED) => Err(NodeError::NotOffered {
                host: self.host().to_owned(),
                what: NOTIFICATIONS,
            }),
            _ => Ok(()),
        }
    }
}
