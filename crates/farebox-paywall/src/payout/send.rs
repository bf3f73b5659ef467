//! The invoice goes to the node, and what the node says is written down.
//!
//! What ends a payout: the node says that it paid, or that it did not and never will. A refusal of
//! the very first sending ends it as well, but only where the node confirms, asked, that it never
//! heard of the payment. A refusal of a later sending proves nothing about the first, and is only
//! noted.

use std::time::Duration;

use farebox_core::PayoutId;
use farebox_http::client::CallError;
use farebox_ledger::{PayoutEnd, PayoutView, crash_point};
use farebox_lightning::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState};

use super::Payouts;
use super::busy::Working;

/// How long the backend looks for a way before it says that the payment is under way or failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer its answer may take.
const GRACE: Duration = Duration::from_secs(15);
/// How long the backend may take to say what became of a payment.
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// A named point at which a test kills the process: a payout is written down, and nothing sent to the node yet.
const BEFORE_SEND: &str = "payout-before-send";
/// The node has answered a payment, or the wait for its answer is over.
const AFTER_SEND: &str = "payout-after-send";
/// The end of a payout is known and not written down.
const BEFORE_FINISH: &str = "payout-before-finish";

/// Every point of a refund that the gateway itself passes through, in order; the ledger's own,
/// `payout-before-commit` and `payout-after-commit`, lie around each writing down.
pub const CRASH_POINTS: [&str; 3] = [BEFORE_SEND, AFTER_SEND, BEFORE_FINISH];

/// Which sending it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    First,
    Again,
}

/// How a payment has ended, and why where it failed; none where nobody knows.
pub(super) type Known = Option<(PayoutEnd, &'static str)>;

impl Payouts {
    /// Sends what was begun a moment ago, for the first time.
    pub(super) async fn send_first(
        &self,
        view: PayoutView,
        working: Working<PayoutId>,
    ) -> PayoutView {
        crash_point(BEFORE_SEND);
        let ended = self.send(view, Sending::First).await;
        drop(working);
        ended
    }

    /// Sends what the node has never heard of again: the same invoice, never another one.
    pub(super) async fn send_again(&self, view: PayoutView) -> PayoutView {
        tracing::warn!(payout = %view.id, "the node never heard of this refund: it is sent again");
        self.send(view, Sending::Again).await
    }

    async fn send(&self, view: PayoutView, sending: Sending) -> PayoutView {
        let current = self.current.load_full();
        let named = current.backends.as_ref();
        let named = named.and_then(|backends| backends.named(&view.backend));
        let Some(payer) = named.and_then(|backend| backend.pay.as_deref()) else {
            return view;
        };
        let answer = pay(payer, &view).await;
        crash_point(AFTER_SEND);
        let known = match answer {
            Ok(state) => known(&state),
            Err(error) => {
                log_unknown(&view, &error);
                confirm_refusal(payer, &view, sending, &error).await
            }
        };
        self.note(view, known).await
    }

    /// Writes an end down, where it is known.
    pub(super) async fn note(&self, view: PayoutView, known: Known) -> PayoutView {
        let Some((end, reason)) = known else {
            return view;
        };
        crash_point(BEFORE_FINISH);
        let now = self.clock.now();
        match self.ledger.finish_payout(view.id, end, now).await {
            Ok(ended) => {
                self.open.end(view.id);
                self.tell_end(&ended, end, reason);
                ended
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, payout = %view.id, "the end of a refund was not written");
                view
            }
        }
    }

    fn tell_end(&self, ended: &PayoutView, end: PayoutEnd, reason: &str) {
        let (payout, amount_msat) = (ended.id, ended.amount.get());
        match end {
            PayoutEnd::Paid { fee } => {
                self.metrics.paid(ended.amount, fee);
                let fee_msat = fee.get();
                tracing::info!(%payout, amount_msat, fee_msat, "a refund was paid");
                if fee > ended.max_fee {
                    let max_fee_msat = ended.max_fee.get();
                    tracing::warn!(%payout, fee_msat, max_fee_msat, "a refund cost more than allowed");
                }
            }
            PayoutEnd::Failed => {
                self.metrics.failed();
                tracing::warn!(%payout, amount_msat, reason, "a refund failed; the money is back");
            }
        }
    }
}

async fn pay(payer: &dyn PayInvoice, view: &PayoutView) -> Result<PaymentState, NodeError> {
    let request = PaymentRequest {
        bolt11: view.bolt11.clone(),
        payment_hash: view.destination_hash,
        amount: view.amount,
        max_fee: view.max_fee,
        patience: PATIENCE,
    };
    within(PATIENCE + GRACE, view, payer.pay_invoice(request)).await
}

/// Asks what became of a payment.
pub(super) async fn ask(
    payer: &dyn PayInvoice,
    view: &PayoutView,
) -> Result<PaymentState, NodeError> {
    within(ASK_WITHIN, view, payer.payment_state(view.destination_hash)).await
}

async fn within(
    limit: Duration,
    view: &PayoutView,
    answer: impl Future<Output = Result<PaymentState, NodeError>>,
) -> Result<PaymentState, NodeError> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| {
            Err(NodeError::Call(CallError::TimedOut {
                host: view.backend.clone(),
                limit,
            }))
        })
}

/// What the node's word is worth.
pub(super) const fn known(state: &PaymentState) -> Known {
    match state {
        PaymentState::Succeeded { fee, .. } => Some((PayoutEnd::Paid { fee: *fee }, "")),
        PaymentState::Failed(failure) => Some((PayoutEnd::Failed, reason(*failure))),
        PaymentState::Pending | PaymentState::Unheard => None,
    }
}

/// What a refusal is worth.
async fn confirm_refusal(
    payer: &dyn PayInvoice,
    view: &PayoutView,
    sending: Sending,
    error: &NodeError,
) -> Known {
    if sending == Sending::Again || !error.is_certain_refusal() {
        return None;
    }
    match ask(payer, view).await {
        Ok(PaymentState::Unheard) => Some((PayoutEnd::Failed, "the node refused to begin it")),
        Ok(state) => known(&state),
        Err(_) => None,
    }
}

fn log_unknown(view: &PayoutView, error: &NodeError) {
    let certain = error.is_certain_refusal();
    tracing::warn!(
        payout = %view.id,
        backend = view.backend,
        %error,
        certain,
        "the node did not say what became of a refund"
    );
}

const fn reason(failure: PaymentFailure) -> &'static str {
    match failure {
        PaymentFailure::NoRoute => "no way to the payee within the fee limit",
        PaymentFailure::InsufficientBalance => "the node has not enough on its side",
        PaymentFailure::RefusedByPayee => "the payee refused it",
        PaymentFailure::Other => "the node gave no reason",
    }
}
