//! One held call from its offer to its end. Every step is written before the next is taken, and
//! each can be taken again by a process that finds the call in that state.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::PaymentHash;
use farebox_ledger::{HeldCall, HeldState, LedgerError, crash_point};
use farebox_lightning::{Backend, HoldInvoice, HoldState, NodeError};
use farebox_paywall::challenge::held_preimage;
use tokio::time::Instant;

use super::holder::Holder;
use super::{CallPlace, HeldCalls, Offered};
use crate::crash;
use crate::plan::Plan;

/// How long to wait before a step that failed is taken again: the node or the store is away.
const RETRY: Duration = Duration::from_secs(2);
/// The same where only a reload could help.
const RETRY_WITHOUT_HOLDER: Duration = Duration::from_secs(30);
/// How long after its expiry an unpaid invoice is canceled: a payment on its way may still arrive.
const EXPIRY_GRACE: Duration = Duration::from_secs(5);
/// A call is not begun with fewer blocks (of about ten minutes) until the payment falls back.
const MIN_BLOCKS_TO_START: u32 = 18;
/// How long a call may run in all: far less than the blocks that are left at its start.
const MAX_RUN: Duration = Duration::from_secs(30 * 60);

/// What to do after a step.
enum Next {
    /// Look at the call again.
    Look,
    /// The same, after a while.
    Retry(Duration),
    /// It has ended just now; what the metrics call that.
    Ended(&'static str),
    /// It has ended before, or goes on in the next process.
    Done,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(
        "no Lightning backend called {0:?} holds payments; configure it again, or the payment falls \
         back to its payer when the node gives it up"
    )]
    NoHolder(String),
    #[error("the secret that the preimage follows from is gone")]
    NoSecret,
}

/// Takes a call from step to step until it has ended, or until the gateway drains and nothing of it
/// is under way. `offered` is what is known of it besides, where this process offered it.
pub(super) async fn follow(calls: Arc<HeldCalls>, hash: PaymentHash, offered: Option<Offered>) {
    let drain = calls.drain.clone();
    let _open = calls.open.begin(hash);
    let (node, place) = offered.map(|it| (it.node, it.place)).unzip();
    let mut follower = Follower {
        calls: Arc::clone(&calls),
        hash,
        node,
        holder: None,
        place,
        complaint: String::new(),
    };
    loop {
        let next = match follower.step().await {
            Ok(next) => next,
            Err(StepError::Ledger(LedgerError::Closed)) => return,
            Err(error) => follower.complain(&error),
        };
        calls.log.flush();
        match next {
            Next::Look => {}
            Next::Retry(pause) => tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = drain.draining() => return,
            },
            Next::Ended(how) => {
                drop(follower);
                return calls.metrics.held_call(how);
            }
            Next::Done => return,
        }
    }
}

struct Follower {
    calls: Arc<HeldCalls>,
    hash: PaymentHash,
    node: Option<Arc<Backend>>,
    holder: Option<Holder>,
    /// The room that it takes until it has ended.
    place: Option<CallPlace>,
    /// What was said last of why it has to wait.
    complaint: String,
}

impl Follower {
    async fn step(&mut self) -> Result<Next, StepError> {
        let calls = Arc::clone(&self.calls);
        let Some(call) = calls.paywall.ledger.held_call(self.hash).await? else {
            return Ok(Next::Done);
        };
        if matches!(call.state, HeldState::Settled | HeldState::Canceled) {
            return Ok(Next::Done);
        }
        let plan = calls.plan.load_full();
        let node = self.holder(&plan, &call).await?;
        let place = self.place.get_or_insert_with(|| calls.room.occupy(&call));
        let node = node.hold.as_deref().ok_or_else(|| no_holder(&call))?;
        match call.state {
            HeldState::Offered => wait_for_payment(&calls, &plan, node, &call, place).await,
            // Begun by a process that died: nobody knows what the upstream did, so nobody pays.
            HeldState::Running => give_back(&calls, node, &call, "the process died").await,
            HeldState::Answered => take(&calls, node, &call).await,
            HeldState::Settled | HeldState::Canceled => Ok(Next::Done),
        }
    }

    async fn holder(&mut self, plan: &Plan, call: &HeldCall) -> Result<Arc<Backend>, StepError> {
        let known = self.node.take();
        let new = || Holder::new(call.backend.clone(), call.payment_hash, known);
        let holder = self.holder.get_or_insert_with(new);
        let found = holder.find(plan.payments.node.as_deref()).await;
        found.ok_or_else(|| no_holder(call))
    }

    /// Says once why the call has to wait, and how long it does.
    fn complain(&mut self, error: &StepError) -> Next {
        let complaint = error.to_string();
        if complaint != self.complaint {
            tracing::warn!(payment.hash = %self.hash, %error, "a held call has to wait");
            self.complaint = complaint;
        }
        Next::Retry(match error {
            StepError::NoHolder(_) => RETRY_WITHOUT_HOLDER,
            _ => RETRY,
        })
    }
}

fn no_holder(call: &HeldCall) -> StepError {
    StepError::NoHolder(call.backend.clone())
}

async fn wait_for_payment(
    calls: &Arc<HeldCalls>,
    plan: &Plan,
    node: &dyn HoldInvoice,
    call: &HeldCall,
    place: &mut CallPlace,
) -> Result<Next, StepError> {
    let began = Instant::now();
    let patience = call.expires_at.since(calls.paywall.clock.now()) + EXPIRY_GRACE;
    let state = tokio::select! {
        state = node.wait_while_open(call.payment_hash) => state?,
        () = tokio::time::sleep(patience) => HoldState::Open,
        () = calls.drain.draining() => return Ok(Next::Done),
    };
    match state {
        HoldState::Accepted { received, .. } if received < call.terms.amount => {
            give_back(calls, node, call, "too little was paid").await
        }
        HoldState::Accepted { blocks_left, .. } if blocks_left < MIN_BLOCKS_TO_START => {
            give_back(calls, node, call, "too few blocks are left").await
        }
        HoldState::Accepted { .. } => {
            place.pay();
            run(calls, plan, node, call).await
        }
        // Taken by somebody else's hand: the token is an ordinary one from now on.
        HoldState::Settled { .. } | HoldState::Canceled | HoldState::Unknown => {
            ended(calls, call, "canceled").await
        }
        // The line to the node ended by itself: the invoice can still be paid.
        HoldState::Open if began.elapsed() < patience => Ok(Next::Retry(RETRY)),
        HoldState::Open => give_back(calls, node, call, "the invoice expired").await,
    }
}

/// Runs the call once. Whoever wins the step to `Running` is the only one who ever does.
async fn run(
    calls: &Arc<HeldCalls>,
    plan: &Plan,
    node: &dyn HoldInvoice,
    call: &HeldCall,
) -> Result<Next, StepError> {
    let _open = calls.drain.enter();
    let ledger = &calls.paywall.ledger;
    if !ledger.held_run(call.payment_hash).await? {
        return Ok(Next::Retry(RETRY));
    }
    crash_point(crash::HELD_RUNNING);
    let called = tokio::time::timeout(MAX_RUN, calls.call_upstream(plan, call));
    let answer = tokio::select! {
        called = called => called.unwrap_or(Err("it took too long")),
        () = calls.drain.cut() => return Ok(Next::Done),
    };
    let answer = match answer {
        Ok(answer) => answer.to_bytes(),
        Err(reason) => return give_back(calls, node, call, reason).await,
    };
    if !ledger.held_answered(call.payment_hash, answer).await? {
        return Ok(Next::Look);
    }
    crash_point(crash::HELD_ANSWERED);
    take(calls, node, call).await
}

/// Takes the payment of a call whose answer is stored.
async fn take(
    calls: &Arc<HeldCalls>,
    node: &dyn HoldInvoice,
    call: &HeldCall,
) -> Result<Next, StepError> {
    let _open = calls.drain.enter();
    let key = held_preimage(&calls.paywall.keyring, call.key_epoch, &call.token_id);
    let preimage = key.ok_or(StepError::NoSecret)?;
    let asked = node.settle_invoice(preimage).await;
    if asked.is_ok() {
        crash_point(crash::HELD_TAKEN);
    }
    match node.hold_state(call.payment_hash).await? {
        HoldState::Settled { received } => {
            let (ledger, now) = (&calls.paywall.ledger, calls.paywall.clock.now());
            let received = received.unwrap_or(call.terms.amount);
            ledger
                .held_settled(call.payment_hash, received, now)
                .await?;
            calls.metrics.charged(&call.terms.route, call.terms.amount);
            Ok(Next::Ended("paid"))
        }
        HoldState::Canceled => {
            tracing::error!(
                payment.hash = %call.payment_hash,
                "the payment of a served call fell back to its payer before it was taken"
            );
            ended(calls, call, "lost").await
        }
        HoldState::Open | HoldState::Accepted { .. } | HoldState::Unknown => {
            asked?;
            Ok(Next::Retry(RETRY))
        }
    }
}

/// Gives the payment back, or makes an unpaid invoice impossible to pay.
async fn give_back(
    calls: &Arc<HeldCalls>,
    node: &dyn HoldInvoice,
    call: &HeldCall,
    reason: &'static str,
) -> Result<Next, StepError> {
    let asked = node.cancel_invoice(call.payment_hash).await;
    match node.hold_state(call.payment_hash).await? {
        HoldState::Open | HoldState::Accepted { .. } => {
            asked?;
            Ok(Next::Retry(RETRY))
        }
        HoldState::Canceled | HoldState::Unknown | HoldState::Settled { .. } => {
            tracing::info!(payment.hash = %call.payment_hash, reason, "a held call was given up");
            ended(calls, call, "canceled").await
        }
    }
}

/// Nothing is sold for this payment any more; `how` is the word for that in the metrics.
async fn ended(
    calls: &Arc<HeldCalls>,
    call: &HeldCall,
    how: &'static str,
) -> Result<Next, StepError> {
    let ledger = &calls.paywall.ledger;
    ledger.held_canceled(call.payment_hash).await?;
    Ok(Next::Ended(how))
}
