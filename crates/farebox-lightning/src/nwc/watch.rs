//! Settlements as the wallet tells of them (`payment_received`).

use async_trait::async_trait;
use tokio::sync::broadcast::error::RecvError;

use super::Nwc;
use super::hub::PAYMENT_RECEIVED;
use super::links::AllDown;
use crate::{NodeError, SettlementCursor, WatchEvent, WatchSettlements};

/// The wallet's info event does not list it.
const NOTIFICATIONS: &str = "notifications of payments received";

#[async_trait]
impl WatchSettlements for Nwc {
    /// Hears what is settled from now on, until no relay is connected any more: notifications are
    /// not kept, so `after` has no meaning.
    async fn watch(
        &self,
        _after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        let wallet = &self.wallet;
        let mut heard = wallet.hub.listen();
        let session = wallet.session()?;
        wallet.wait_until_up(&session, wallet.call_timeout).await?;
        let info = wallet.hub.info();
        if info.is_some_and(|info| !info.notifies(PAYMENT_RECEIVED)) {
            return Err(wallet.not_offered(NOTIFICATIONS));
        }
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
                AllDown(error) = &mut ended => return Err(wallet.broken_off(error)),
            }
        }
    }
}
