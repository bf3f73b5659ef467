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

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_ledger::{PayoutEnd, PayoutState, PayoutView};
use farebox_lightning::{NodeError, PaymentState, parse_invoice};
use tokio::time::MissedTickBehavior;

use super::Payouts;
use super::send::{ask, known};

/// How often open payouts are asked about.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long an invoice must have been expired before what the node never heard of counts as failed:
/// more than two clocks differ, and than a request can linger on its way.
const LONG_EXPIRED: Duration = Duration::from_secs(600);

/// Every so many times all of them are asked about and the log is told, else only young ones.
const ALL_EVERY: u32 = 12;
/// How long a payout is young.
const YOUNG: Duration = Duration::from_secs(120);

/// Asks about open payouts for as long as anybody else holds on to them.
pub(super) async fn run(payouts: Weak<Payouts>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in (0..ALL_EVERY).cycle() {
        ticks.tick().await;
        let Some(payouts) = payouts.upgrade() else {
            return;
        };
        let whom = if round == 0 { Whom::All } else { Whom::Young };
        payouts.recover(whom).await;
    }
}

/// Which payouts are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// All, and the log is told about those whose backend does not answer.
    All,
    /// Those that were begun a moment ago.
    Young,
}

/// Whether more can be asked about at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Left,
    None,
}

impl Payouts {
    /// Asks once about payouts without an end, as far as nobody works on them at this moment.
    pub(super) async fn recover(self: &Arc<Self>, whom: Whom) {
        let open = match self.ledger.open_payouts().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "open refunds cannot be read");
                return;
            }
        };
        self.open.recall(&open);
        let now = self.clock.now();
        let age = |view: &PayoutView| now.since(view.asked_at);
        self.metrics
            .open(open.len(), open.first().map_or(Duration::ZERO, age));
        let mut asked: Vec<_> = open
            .into_iter()
            .filter(|view| whom == Whom::All || age(view) < YOUNG)
            .collect();
        let first = self.turn.load(Ordering::Relaxed) % asked.len().max(1);
        asked.rotate_left(first);
        for (at, view) in asked.into_iter().enumerate() {
            if self.follow(view, whom) == Room::None {
                self.turn.store(first + at, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Leaves what somebody works on, and what there is no room for, to the next time.
    fn follow(self: &Arc<Self>, view: PayoutView, whom: Whom) -> Room {
        let Ok(room) = Arc::clone(&self.following).try_acquire_owned() else {
            return Room::None;
        };
        let Some(working) = self.payouts.begin(view.id) else {
            return Room::Left;
        };
        let payouts = Arc::clone(self);
        tokio::spawn(async move {
            payouts.follow_up(view, whom).await;
            drop((working, room));
        });
        Room::Left
    }

    async fn follow_up(&self, view: PayoutView, whom: Whom) {
        // What was open a moment ago may have been ended by whoever worked on it then.
        match self.ledger.payout(view.id).await {
            Ok(Some(now)) if now.state == PayoutState::Open => {}
            _ => return,
        }
        match self.ask_backend(&view).await {
            Some(Ok(PaymentState::Unheard)) => self.send_or_give_up(view).await,
            Some(Ok(state)) => {
                self.note(view, known(&state)).await;
            }
            Some(Err(error)) => log_unasked(&view, whom, &error.to_string()),
            None => log_unasked(&view, whom, "no backend of this name can pay any more"),
        }
    }

    /// None if the backend is gone from the configuration.
    pub(super) async fn ask_backend(
        &self,
        view: &PayoutView,
    ) -> Option<Result<PaymentState, NodeError>> {
        let current = self.current.load_full();
        let backend = current.backends.as_ref()?.named(&view.backend)?;
        Some(ask(backend.pay.as_deref()?, view).await)
    }

    async fn send_or_give_up(&self, view: PayoutView) {
        let now = self.clock.now();
        let expires_at = expiry(&view);
        if now < expires_at {
            self.send_again(view).await;
        } else if now >= unpayable_from(&view) {
            let known = Some((PayoutEnd::Failed, "its invoice has expired"));
            self.note(view, known).await;
        }
    }
}

/// When the invoice can no longer be paid. It was read before it was written down.
fn expiry(view: &PayoutView) -> UnixMillis {
    parse_invoice(&view.bolt11).map_or(view.asked_at, |invoice| invoice.expires_at)
}

/// From when on nothing can pay the invoice any more that did not begin before.
pub(super) fn unpayable_from(view: &PayoutView) -> UnixMillis {
    expiry(view).plus(LONG_EXPIRED)
}

fn log_unasked(view: &PayoutView, whom: Whom, reason: &str) {
    if whom == Whom::Young {
        return;
    }
    tracing::warn!(
        payout = %view.id,
        backend = view.backend,
        reason,
        "what became of a refund cannot be asked"
    );
}
