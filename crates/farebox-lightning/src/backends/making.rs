//! Asking one backend after the other for an invoice.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backends, Member};
use crate::{AmountLimits, CreatedInvoice, InvoiceRequest, NodeError};

/// How long a buyer waits for an invoice at most, whichever and however many backends fail: longer
/// than the slowest kind of backend may take for one call. Each may use up an even share of what is
/// left.
pub(super) const TOTAL_TIME: Duration = Duration::from_secs(18);

pub(super) async fn create(
    backends: &Backends,
    request: InvoiceRequest,
) -> Result<CreatedInvoice, NodeError> {
    let deadline = Instant::now() + TOTAL_TIME;
    let mut refusal = Refusal::default();
    for (index, member) in backends.members.iter().enumerate() {
        if !member.backend.node.limits().allow(request.amount) {
            refusal.note(out_of_range(member, &request));
            continue;
        }
        if !backends.admits(member) {
            refusal.note(member.circuit.trouble().unwrap_or(NodeError::Down));
            continue;
        }
        let share = share(deadline, backends.members.len() - index);
        match ask(backends, member, &request, share).await {
            Ok(created) => {
                backends.remember(created.payment_hash, index);
                return Ok(created);
            }
            Err(error) if another_may_help(&error) => refusal.note(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.error())
}

async fn ask(
    backends: &Backends,
    member: &Member,
    request: &InvoiceRequest,
    limit: Duration,
) -> Result<CreatedInvoice, NodeError> {
    let asked = member.backend.node.create_invoice(request.clone());
    let answer = tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(super::timed_out(member, limit)));
    match &answer {
        Err(error) if is_outage(error) => {
            member.circuit.note_failure(backends.now(), error);
        }
        _ => member.circuit.note_success(),
    }
    answer
}

/// An even share of the time that is left.
pub(super) fn share(deadline: Instant, backends_left: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(backends_left).unwrap_or(u32::MAX).max(1)
}

/// A backend that is away, or that we may not use any more. One that is merely [`NodeError::Busy`]
/// with other calls of ours is asked again at once.
fn is_outage(error: &NodeError) -> bool {
    matches!(error, NodeError::Forbidden { .. })
        || error.is_temporary() && !matches!(error, NodeError::Busy { .. })
}

/// A lie, by contrast, is for the operator to see.
fn another_may_help(error: &NodeError) -> bool {
    is_outage(error)
        || matches!(
            error,
            NodeError::Busy { .. } | NodeError::AmountOutOfRange { .. }
        )
}

fn out_of_range(member: &Member, request: &InvoiceRequest) -> NodeError {
    let AmountLimits { min, max, .. } = member.backend.node.limits();
    NodeError::AmountOutOfRange {
        amount: request.amount,
        min,
        max,
    }
}

/// What the whole says when nobody made an invoice: the first temporary reason, because then
/// asking again helps; else the first reason.
#[derive(Default)]
struct Refusal {
    first: Option<NodeError>,
}

impl Refusal {
    fn note(&mut self, error: NodeError) {
        let is_better = match &self.first {
            None => true,
            Some(first) => error.is_temporary() && !first.is_temporary(),
        };
        if is_better {
            self.first = Some(error);
        }
    }

    /// There is always a first one, since there is always a backend.
    fn error(self) -> NodeError {
        self.first.unwrap_or(NodeError::Down)
    }
}
