//! The double-entry ledger: accounts, holds, transfers and claims on a durable store.
//!
//! Every payment funds an account, and every request is a hold on one that is settled or voided.
//! [`Ledger`] is the front that the rest of Farebox knows. Behind it one thread owns the
//! [`Store`], takes everything that waits as one batch, writes it in one transaction and answers
//! only when that is committed: holds at once, all else when the disk has it. The rules are in
//! `decide` and `book`: they know rows and an instant, and no database.
//!
//! Never here: the network, a node, a price.

mod admit;
mod book;
mod charge;
mod crash;
mod day;
mod decide;
mod funding;
mod held;
mod hold;
mod key;
mod ledger;
mod lock;
mod passes;
mod payout;
mod queue;
mod sqlite;
mod stats;
mod store;
mod view;
mod writer;

pub use admit::{Admitted, Cost, HoldRequest, Once, Receipt, Remaining, VoidReason};
pub use charge::{
    ChargeBasis, ChargePage, ChargeQuery, ChargeView, MAX_CHARGE_CLASSES, MAX_CHARGE_MODEL,
    MAX_CHARGE_RATE, Measured, RECOVERED, RateUsed,
};
pub use crash::{
    CRASH_POINTS, HELD_CRASH_POINTS, KEY_CRASH_POINTS, PAYOUT_CRASH_POINTS, crash_point,
};
pub use funding::{ClaimPolicy, Funding, Rail};
pub use held::{HeldCall, HeldLimits, HeldState, HeldSummary, MAX_HELD_ANSWER};
pub use hold::Hold;
pub use key::{
    Deposit, Deposited, KeyLimits, KeyRefusal, KeyView, MAX_CHILDREN, MAX_KEY_ID, MAX_KEY_MODEL,
    MAX_KEY_NAMES, MAX_KEY_NOTE, MAX_PENDING, MAX_PENDING_OF_STRANGERS, MAX_PENDING_PER_KEY, Noted,
    OpenChild, OpenKey, Opened, PendingDeposit, TopUpBy,
};
pub use ledger::{Ledger, LedgerError, OpenError, OpenOptions, Recovery, open};
pub use lock::Owner;
pub use payout::{
    AskedBy, MAX_BACKEND_NAME, MAX_PAYOUT_INVOICE, PayoutAnswer, PayoutEnd, PayoutLimits,
    PayoutRequest, PayoutState, PayoutView, Refundable,
};
pub use stats::{BATCH_BOUNDS, COMMIT_BOUNDS_US, LedgerStats};
pub use store::{
    Command, Granted, HeldStep, KeyDone, KeyStep, OpenReader, Outcome, PruneStep, Reader, Received,
    Resolution, Store, StoreError,
};
pub use view::{AccountName, AccountView, Pruned, TransferKind, TransferView, TrialBalance};
