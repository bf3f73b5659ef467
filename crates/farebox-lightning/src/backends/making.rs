//! Asking one backend after the other for an invoice.

use std::time::Duration;

use farebox_http::client::CallError;
use tokio::time::Instant;

use super::{Backends, Maker};
use crate::{CreatedInvoice, InvoiceRequest, NodeError};

/// How long a buyer waits for an invoice at most, whichever and however many backends fail: longer
/// than the slowest kind of backend may take for one call. Each may use up an even share of what is
/// left.
pub(super) const TOTAL_TIME: Duration = Duration::from_secs(18);

impl Backends {
    /// An invoice from the first backend that is able to make it.
    ///
    /// # Errors
    /// [`NodeError`]: nobody made one, or one lied.
    pub async fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError> {
        let deadline = Instant::now() + TOTAL_TIME;
        let mut reason = None;
        for (index, maker) in self.makers.iter().enumerate() {
            if let Err(error) = maker.invoices.limits().check(request.amount) {
                note(&mut reason, error);
                continue;
            }
            if !self.admits(maker) {
                note(
                    &mut reason,
                    maker.circuit.trouble().unwrap_or(NodeError::Down),
                );
                continue;
            }
            let share = share(deadline, self.makers.len() - index);
            match self.ask(maker, &request, share).await {
                Ok(created) => {
                    self.remember(created.payment_hash, index);
                    return Ok(created);
                }
                Err(error) if another_may_help(&error) => note(&mut reason, error),
                Err(error) => return Err(error),
            }
        }
        // There is always a reason, since there is always a backend.
        Err(reason.unwrap_or(NodeError::Down))
    }

    async fn ask(
        &self,
        maker: &Maker,
        request: &InvoiceRequest,
        limit: Duration,
    ) -> Result<CreatedInvoice, NodeError> {
        let asked = maker.invoices.create_invoice(request.clone());
        let answer = tokio::time::timeout(limit, asked)
            .await
            .unwrap_or_else(|_| Err(maker.timed_out(limit)));
        match &answer {
            Err(error) if is_outage(error) => maker.circuit.note_failure(self.now(), error),
            _ => maker.circuit.note_success(),
        }
        answer
    }
}

/// An even share of the time that is left.
pub(super) fn share(deadline: Instant, backends_left: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(backends_left).unwrap_or(u32::MAX).max(1)
}

/// A backend that is away, or that we may not use any more. One that is merely [`CallError::Busy`]
/// with other calls of ours is asked again at once.
fn is_outage(error: &NodeError) -> bool {
    matches!(error, NodeError::Forbidden { .. })
        || error.is_temporary() && !matches!(error, NodeError::Call(CallError::Busy { .. }))
}

/// A lie, by contrast, is for the operator to see.
fn another_may_help(error: &NodeError) -> bool {
    is_outage(error)
        || matches!(
            error,
            NodeError::Call(CallError::Busy { .. }) | NodeError::AmountOutOfRange { .. }
        )
}

/// What the whole says when nobody made an invoice: the first temporary reason, because then
/// asking again helps; else the first reason.
fn note(reason: &mut Option<NodeError>, error: NodeError) {
    let is_better = |known: &NodeError| error.is_temporary() && !known.is_temporary();
    if reason.as_ref().is_none_or(is_better) {
        *reason = Some(error);
    }
}
