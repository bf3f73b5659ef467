//! Why the ledger could not be opened, or did not do what was asked.

use std::path::PathBuf;
use std::sync::Arc;

use crate::store::StoreError;
use crate::{Owner, PayoutState};

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the ledger is in use by {owner}")]
    InUse {
        /// Who.
        owner: Owner,
    },
    /// The lock file or its folder cannot be used.
    #[error("the ledger's lock at {path} cannot be taken")]
    Lock {
        /// The database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another version of Farebox wrote it.
    #[error("the ledger has schema version {found}; this version of Farebox reads version {known}")]
    Version {
        /// The version of the database.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// The file is a database of something else.
    #[error("the database is not a Farebox ledger")]
    Foreign,
    /// The database cannot be opened or recovered.
    #[error("the ledger's database cannot be opened")]
    Store(#[from] StoreError),
    /// The writer's thread did not start.
    #[error("the ledger's writer cannot be started")]
    Writer(#[source] std::io::Error),
}

/// Why the ledger did not do what was asked. In each case nothing was held or charged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It was closed.
    #[error("the ledger is closed")]
    Closed,
    /// Too many requests wait for the writer: the limit is `max_queued`.
    #[error("the ledger has too many requests waiting")]
    Overloaded,
    /// Too many holds are open: the limit is `max_open_holds`.
    #[error("the ledger has too many open holds")]
    TooManyHolds,
    /// The store failed before, and nothing more is sold until it works again.
    #[error("the ledger refuses new holds because its store failed")]
    Refusing,
    /// The store failed on this request.
    #[error("the ledger's store failed")]
    Store(#[source] Arc<StoreError>),
    /// A hold with this id was made before.
    #[error("a hold with this id exists")]
    HoldExists,
    /// [`Cost::Call`](crate::Cost::Call) was asked of a balance, which has no price of its own.
    #[error("a balance needs an amount to hold")]
    CallOnBalance,
    /// All money there is would be exceeded.
    #[error("the ledger cannot hold more money than exists")]
    TooMuchMoney,
    /// A payout with this id exists, for another invoice.
    #[error("a payout with this id exists")]
    PayoutExists,
    /// No payout has this id.
    #[error("no payout has this id")]
    NoPayout,
    /// The payout has another end. What the node says now contradicts what it said before.
    #[error("the payout has ended otherwise before: it is {}", state.as_str())]
    PayoutEnded {
        /// Its end.
        state: PayoutState,
    },
    /// The payment of a held call is known: it has a held call, or was claimed.
    #[error("this payment is known already")]
    HeldCallExists,
    /// Only a single call can be held.
    #[error("only a single call can be held")]
    NotHoldable,
    /// Not so much change is owed to this account.
    #[error("no such change is owed to this account")]
    NoChange,
    /// A request of this account is still open.
    #[error("a request of this account is still open")]
    InUse,
    /// A coin was given, or is no coin of ours: choose others.
    #[error("a coin cannot be given")]
    CoinTaken,
    /// The account of a swap was credited before, and is over.
    #[error("the account of this swap was credited before")]
    SwapEnded,
    /// A deposit of nothing.
    #[error("a deposit needs an amount")]
    NoDeposit,
    /// An invoice, a name or an answer is longer than what is kept.
    #[error("a text is too long for the ledger")]
    TooLarge,
}
