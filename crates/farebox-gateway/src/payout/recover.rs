//! What has no end yet is asked about: at start, for a process that died in between, and every few
//! seconds, for answers that never came.
//!
//! The backend whose name was written down is asked, and no other. What it has never heard of was
//! never sent, or its request is lost: the same invoice is sent again as long as it can be paid.
//! Once it cannot, and has not been able to for a while, there is nothing left that could pay it.
//!
//! A name stands for one node: an operator who moves to another node gives it another name, and
//! keeps the old one configured until no refund is open. A name that is gone leaves its payouts
//! open and their money reserved.

use std::sync::{Arc, Weak};
use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_ledger::PayoutView;
use farebox_lightning::{NodeError, PaymentState, parse_invoice};
use tokio::time::MissedTickBehavior;

use super::Payouts;
use super::send::ask;

/// How often open payouts are asked about.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long an invoice must have been expired before what the node never heard of counts as failed:
/// more than two clocks differ, and than a request can linger on its way.
const LONG_EXPIRED: Duration = Duration::from_secs(600);

/// Asks about open payouts for as long as anybody else holds on to them.
pub(super) async fn run(payouts: Weak<Payouts>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(payouts) = payouts.upgrade() else {
            return;
        };
        payouts.recover().await;
    }
}

impl Payouts {
    /// Asks once about every payout without an end, as far as nobody works on it at this moment.
    pub(super) async fn recover(self: &Arc<Self>) {
        let open = match self.ledger.open_payouts().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "open refunds cannot be read");
                return;
            }
        };
        let oldest = open.first().map(|view| view.asked_at);
        let now = self.clock.now();
        let age = oldest.map_or(Duration::ZERO, |asked_at| now.since(asked_at));
        self.metrics.open(open.len(), age);
        for view in open {
            self.follow(view);
        }
    }

    /// Leaves what somebody works on, and what there is no room for, to the next time.
    fn follow(self: &Arc<Self>, view: PayoutView) {
        let Ok(room) = Arc::clone(&self.following).try_acquire_owned() else {
            return;
        };
        let Some(working) = self.payouts.begin(view.id) else {
            return;
        };
        let payouts = Arc::clone(self);
        tokio::spawn(async move {
            payouts.follow_up(view).await;
            drop((working, room));
        });
    }

    async fn follow_up(&self, view: PayoutView) {
        // What was open a moment ago may have been ended by whoever worked on it then.
        match self.ledger.payout(view.id).await {
            Ok(Some(now)) if now.state == farebox_ledger::PayoutState::Open => {}
            _ => return,
        }
        match self.ask_backend(&view).await {
            Some(Ok(PaymentState::Unheard)) => self.send_or_give_up(view).await,
            Some(Ok(state)) => {
                self.note_state(view, &state).await;
            }
            Some(Err(error)) => log_unasked(&view, &error.to_string()),
            None => log_unasked(&view, "no backend of this name can pay any more"),
        }
    }

    /// None if the backend is gone from the configuration.
    async fn ask_backend(&self, view: &PayoutView) -> Option<Result<PaymentState, NodeError>> {
        let current = self.current.load_full();
        let backend = current.backends.as_ref()?.named(&view.backend)?;
        Some(ask(backend.pay()?, view).await)
    }

    async fn send_or_give_up(&self, view: PayoutView) {
        let now = self.clock.now();
        let expires_at = expiry(&view);
        if now < expires_at {
            self.send_again(view).await;
        } else if now >= expires_at.plus(LONG_EXPIRED) {
            self.note_expired(view).await;
        }
    }
}

/// When the invoice can no longer be paid. It was read before it was written down.
fn expiry(view: &PayoutView) -> UnixMillis {
    parse_invoice(&view.bolt11).map_or(view.asked_at, |invoice| invoice.expires_at)
}

fn log_unasked(view: &PayoutView, reason: &str) {
    tracing::warn!(
        payout = %view.id,
        backend = view.backend,
        reason,
        "what became of a refund cannot be asked"
    );
}
