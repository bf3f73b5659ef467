//! Listening to the backends that tell of settlements by themselves: what they say is shared with
//! the gateway; what was paid for prepaid keys, or beyond a price, is written into the ledger.
//!
//! A backend that is away is followed again as soon as it is back, from the place where the ledger
//! says that it was read to. That place moves only behind what is written: after a crash
//! settlements are read twice, never skipped. Nothing here ends the process.

use std::sync::Arc;
use std::time::Duration;

use farebox_config::build::BuiltNode;
use farebox_core::Clock;
use farebox_ledger::{Deposit, Deposited, Ledger, LedgerError};
use farebox_lightning::follow::{Settlements, follow};
use farebox_lightning::{Backend, Settlement, SettlementCursor, received_for};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many settlements may wait for the ledger. Past it the stream is left, and read again from
/// the place in the ledger.
const MAX_WAITING: usize = 16_384;
/// How long to wait before the ledger is asked again.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// The backends that are being followed, until this is dropped.
pub(crate) struct Following {
    followed: Vec<Followed>,
    parts: Parts,
}

struct Followed {
    name: String,
    node: Arc<Backend>,
    task: JoinHandle<()>,
}

/// What every follower works with.
#[derive(Clone)]
struct Parts {
    ledger: Ledger,
    settlements: Settlements,
    clock: Arc<dyn Clock>,
}

impl Following {
    /// Follows nobody yet.
    pub(crate) fn new(ledger: Ledger, settlements: Settlements, clock: Arc<dyn Clock>) -> Self {
        Self {
            followed: Vec::new(),
            parts: Parts {
                ledger,
                settlements,
                clock,
            },
        }
    }

    /// Follows the backends of `node` from now on, and no others. One that was followed before and
    /// is the same goes on without a gap. Called on a runtime that outlives it.
    pub(crate) fn take(&mut self, node: Option<&BuiltNode>) {
        let wanted = || node.into_iter().flat_map(BuiltNode::iter);
        self.followed
            .retain(|followed| wanted().any(|it| followed.is(&it.name, &it.node)));
        for backend in wanted() {
            let known = |followed: &Followed| followed.is(&backend.name, &backend.node);
            if !self.followed.iter().any(known) {
                self.follow(&backend.name, &backend.node);
            }
        }
    }

    fn follow(&mut self, name: &str, node: &Arc<Backend>) {
        let (owned, shared) = (name.to_owned(), Arc::clone(node));
        let parts = self.parts.clone();
        let task = tokio::spawn(async move {
            let node = shared.as_ref();
            tokio::join!(introduce(&owned, node), run(&owned, node, parts));
        });
        self.followed.push(Followed {
            name: name.to_owned(),
            node: Arc::clone(node),
            task,
        });
    }
}

impl Followed {
    fn is(&self, name: &str, node: &Arc<Backend>) -> bool {
        self.name == name && Arc::ptr_eq(&self.node, node)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says in the log who the backend is, or that it is not there: nothing waits for that.
async fn introduce(name: &str, node: &Backend) {
    let Some(check) = &node.check else {
        return;
    };
    match check.check_access().await {
        Ok(report) => {
            tracing::info!(
                backend = name,
                identity = report.identity,
                "the backend is there"
            );
            if !report.missing.is_empty() {
                let missing = report.missing.join(", ");
                tracing::warn!(backend = name, missing, "the backend lacks permissions");
            }
        }
        Err(error) => {
            tracing::warn!(backend = name, %error, "the backend is away; challenges wait for it");
        }
    }
}

/// Follows one backend until the ledger is closed.
async fn run(name: &str, node: &Backend, parts: Parts) {
    let Some(watch) = node.watch.as_deref() else {
        return;
    };
    while let Some(start) = parts.read_cursor(name).await {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let full = tokio::sync::Notify::new();
        let hand_over = |settlement: &Settlement| {
            if sender.try_send(*settlement).is_err() {
                full.notify_one();
            }
        };
        let open = tokio::select! {
            () = follow(name, watch, start, &parts.settlements, &hand_over) => true,
            () = full.notified() => true,
            open = parts.book(name, receiver) => open,
        };
        if !open {
            return;
        }
        tracing::warn!(
            backend = name,
            "settlements came faster than the ledger takes them"
        );
        tokio::time::sleep(LEDGER_PAUSE).await;
    }
}

/// Whether the same may be written later. A row that is broken stays so, and the others do not wait
/// for it.
fn may_heal(error: &LedgerError) -> bool {
    match error {
        LedgerError::Overloaded | LedgerError::Refusing => true,
        LedgerError::Store(cause) => !cause.is_of_a_row(),
        _ => false,
    }
}

impl Parts {
    /// Where to go on; none when the ledger is closed.
    async fn read_cursor(&self, name: &str) -> Option<Option<SettlementCursor>> {
        loop {
            match self.ledger.settlement_cursor(name).await {
                Ok(cursor) => return Some(cursor.map(SettlementCursor)),
                Err(LedgerError::Closed) => return None,
                Err(error) => tracing::warn!(backend = name, %error, "no settlement cursor"),
            }
            tokio::time::sleep(LEDGER_PAUSE).await;
        }
    }

    /// Writes what comes in, in order. Returns whether the ledger is still open.
    async fn book(&self, name: &str, mut settlements: mpsc::Receiver<Settlement>) -> bool {
        while let Some(settlement) = settlements.recv().await {
            if !self.book_one(name, &settlement).await {
                return false;
            }
        }
        true
    }

    async fn book_one(&self, name: &str, settlement: &Settlement) -> bool {
        while let Err(error) = self.note(settlement).await {
            match error {
                LedgerError::Closed => return false,
                error if may_heal(&error) => {
                    tracing::warn!(backend = name, %error, "a payment is not written yet");
                    tokio::time::sleep(LEDGER_PAUSE).await;
                }
                error => {
                    let hash = settlement.payment_hash;
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(backend = name, %hash, error, "a payment is not written");
                    break;
                }
            }
        }
        if let Some(SettlementCursor(cursor)) = settlement.cursor {
            self.ledger.note_settlement_cursor(name, cursor);
        }
        true
    }

    async fn note(&self, settlement: &Settlement) -> Result<(), LedgerError> {
        if self.credit_key(settlement).await? {
            return Ok(());
        }
        self.note_excess(settlement).await
    }

    /// Credits what was paid for a prepaid key. Says whether it was that.
    async fn credit_key(&self, settlement: &Settlement) -> Result<bool, LedgerError> {
        let hash = settlement.payment_hash;
        let Some(pending) = self.ledger.pending_deposit_by(hash).await? else {
            return Ok(false);
        };
        let received = settlement.received.unwrap_or(pending.amount);
        let amount = received_for(pending.amount, received);
        let deposit = Deposit {
            payment_hash: hash,
            amount,
            at: self.clock.now(),
        };
        match self.ledger.deposit(pending.key, deposit).await? {
            Deposited::Credited(view) => {
                let (key, amount_msat) = (view.public_id, amount.get());
                tracing::info!(key, amount_msat, "a prepaid key was paid for");
            }
            Deposited::Already(_) => {}
            Deposited::UnknownKey | Deposited::Taken => {
                tracing::error!(%hash, "a payment for a key belongs to another");
            }
        }
        Ok(true)
    }

    async fn note_excess(&self, settlement: &Settlement) -> Result<(), LedgerError> {
        let (Some(asked), Some(received)) = (settlement.asked, settlement.received) else {
            return Ok(());
        };
        if received <= asked {
            return Ok(());
        }
        let (hash, now) = (settlement.payment_hash, self.clock.now());
        self.ledger.note_received(hash, asked, received, now).await
    }
}
