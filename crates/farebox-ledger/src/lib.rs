//! The double-entry ledger: accounts, holds, transfers and claims on a durable store.
//!
//! Every payment funds an account, and every request is a hold on one that is settled or voided.
//! [`Ledger`] is the front that the rest of Farebox knows. Behind it one thread owns the
//! [`Store`], takes everything that waits as one batch, writes it in one transaction and answers
//! only when that is committed: holds at once, all else when the disk has it.
//!
//! Each thing that can be asked is one file under `operation`: which rows it names, what it decides
//! over them, what it answers. The `engine` loads those rows, lets all of a batch decide, and commits
//! what they changed; a [`Store`] only loads, writes and commits.
//!
//! Never here: the network, a node, a price.

mod admit;
mod book;
mod charge;
mod code;
mod crash;
mod day;
mod engine;
mod error;
mod funding;
mod held;
mod hold;
mod key;
mod ledger;
mod lock;
mod money;
mod name;
mod operation;
mod passes;
mod payout;
mod queue;
mod rows;
mod rules;
mod sqlite;
mod stats;
mod store;
mod swap;
mod view;
mod withdrawal;
mod working;
mod writer;

pub use admit::{Admitted, ClientFault, Cost, HoldRequest, Once, Receipt, Remaining, VoidReason};
pub use charge::{
    ChargeBasis, ChargePage, ChargeQuery, ChargeView, MAX_CHARGE_CLASSES, MAX_CHARGE_MODEL,
    MAX_CHARGE_RATE, Measured, RECOVERED, RateUsed,
};
pub use crash::{
    CRASH_POINTS, HELD_CRASH_POINTS, KEY_CRASH_POINTS, PAYOUT_CRASH_POINTS, SWAP_CRASH_POINTS,
    WITHDRAWAL_CRASH_POINTS, crash_point,
};
pub use error::{LedgerError, OpenError};
pub use funding::{ClaimPolicy, Funding, Rail};
pub use held::{HeldCall, HeldLimits, HeldState, HeldSummary, MAX_HELD_ANSWER};
pub use hold::{Excuses, Granted, Hold, Resolution, Rest};
pub use key::{
    Deposit, Deposited, KeyLimits, KeyRefusal, KeyView, MAX_CHILDREN, MAX_KEY_ID, MAX_KEY_MODEL,
    MAX_KEY_NAMES, MAX_KEY_NAMES_BYTES, MAX_KEY_NOTE, MAX_PENDING, MAX_PENDING_OF_STRANGERS,
    MAX_PENDING_PER_KEY, Noted, OpenChild, OpenKey, Opened, PendingDeposit, TopUpBy,
};
pub use ledger::{Ledger, OpenOptions, Recovery, examine, open};
pub use lock::Owner;
pub use payout::{
    AskedBy, MAX_BACKEND_NAME, MAX_PAYOUT_INVOICE, PayoutAnswer, PayoutEnd, PayoutLimits,
    PayoutRequest, PayoutState, PayoutView, Refundable,
};
pub use stats::{BATCH_BOUNDS, COMMIT_BOUNDS_US, LedgerStats};
pub use store::{OpenReader, Reader, Store, StoreError};
pub use swap::{
    ChangeRequest, CoinName, CoinState, CoinView, MAX_SWAP_BYTES, MAX_SWAP_COINS, MAX_TOLD,
    NewCoin, Standing, SwapBegun, SwapEnd, SwapFacts, SwapRequest, SwapState, SwapView, Swapped,
};
pub use view::{
    AccountName, AccountView, ChangeView, Pruned, TransferKind, TransferView, TrialBalance,
};
pub use withdrawal::{
    Heap, Stock, WithdrawalEnd, WithdrawalRequest, WithdrawalState, WithdrawalView,
};

/// What a store of another kind works with.
pub mod seam {
    pub use crate::day::Day;
    pub use crate::name::{HouseName, Name};
    pub use crate::rows::*;
    pub use crate::store::{Closed, PruneStep, Safe, Totals};
    pub use crate::swap::{ChangeRow, SwapRow};
    pub use crate::withdrawal::WithdrawalRow;
    pub use crate::working::{Changes, House, OnceName, Removed, Rows};
}
