//! Coins of ours that leave the store as a token for the seller's own wallet.
//!
//! They are swapped for new ones first, since whoever saw them as change could spend them too. The swap is
//! written down whole before its mint is called, and it is sent until it is known what became of it. The
//! token stands in the store before anybody is told. Values only.

use std::sync::Arc;

use farebox_core::{MintId, Msat, ProcessEpoch, UnixMillis, WithdrawalId};

use crate::code::codes;
use crate::{LedgerError, MAX_SWAP_BYTES, MAX_SWAP_COINS, MAX_TOLD, NewCoin};

/// One request to write down a withdrawal.
#[derive(Clone, Debug)]
pub struct WithdrawalRequest {
    /// Its id, made by the asking side.
    pub id: WithdrawalId,
    /// The unit of the mint.
    pub mint: MintId,
    /// The coins that leave: free ones.
    pub coins: Arc<[[u8; 33]]>,
    /// What the token will be worth.
    pub amount: Msat,
    /// What the mint takes for the swap. What the coins are worth beyond both comes back as free coins.
    pub fee: Msat,
    /// Everything that the new coins can be found by, at most [`MAX_SWAP_BYTES`].
    pub body: Arc<[u8]>,
    /// The present instant by the caller's clock.
    pub at: UnixMillis,
}

/// What is kept of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalView {
    /// Its id.
    pub id: WithdrawalId,
    /// The unit of the mint.
    pub mint: MintId,
    /// The coins that leave.
    pub coins: Arc<[[u8; 33]]>,
    /// What the token is worth.
    pub amount: Msat,
    /// What the mint takes for the swap.
    pub fee: Msat,
    /// Everything that the new coins can be found by; nothing once it has ended.
    pub body: Arc<[u8]>,
    /// What became of it.
    pub state: WithdrawalState,
    /// The token, once it is done: whoever has it can spend it.
    pub token: Arc<str>,
    /// When it was written down.
    pub begun_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
}

/// What became of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawalState {
    /// It is not known: its request may be under way.
    Open,
    /// Its token is there.
    Done,
    /// The mint did nothing, and its coins are free again.
    Undone,
    /// Some of its coins had been spent by somebody else. The others are free again.
    Lost,
}

codes!(pub WithdrawalState {
    Open = 1,
    Done = 2,
    Undone = 3,
    Lost = 4,
});

/// What is known of the end of a withdrawal.
#[derive(Clone, Debug)]
pub enum WithdrawalEnd {
    /// The new coins are there.
    Done {
        /// The token that they are, for the seller, at most [`MAX_TOLD`] bytes.
        token: Arc<str>,
        /// What stays: free coins.
        rest: Vec<NewCoin>,
    },
    /// The mint did nothing, and nothing can come of it.
    Undone,
    /// These of its coins had been spent by somebody else.
    Lost(Vec<[u8; 33]>),
}

/// A withdrawal as it is kept.
#[derive(Clone, Debug)]
pub struct WithdrawalRow {
    /// What people read of it.
    pub view: WithdrawalView,
    /// The run of a process that wrote it down.
    pub epoch: ProcessEpoch,
}

/// What there is of one unit of one mint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The unit of the mint.
    pub mint: MintId,
    /// Coins that nobody has a claim on.
    pub free: Heap,
    /// Coins that may still become somebody's change.
    pub reserved: Heap,
    /// Coins that are leaving by open withdrawals.
    pub leaving: Heap,
    /// Coins that were given as change.
    pub given: Heap,
    /// What left the store by withdrawals, fees included.
    pub withdrawn: Heap,
    /// Swaps of which it is not known what became, and what they bring.
    pub in_doubt: Heap,
    /// When the oldest of those was begun.
    pub oldest_doubt: Option<UnixMillis>,
}

/// So many, worth so much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// How many.
    pub count: u64,
    /// What they are worth.
    pub worth: Msat,
}

impl Stock {
    /// Nothing of this unit.
    #[must_use]
    pub const fn none(mint: MintId) -> Self {
        const NONE: Heap = Heap {
            count: 0,
            worth: Msat::ZERO,
        };
        Self {
            mint,
            free: NONE,
            reserved: NONE,
            leaving: NONE,
            given: NONE,
            withdrawn: NONE,
            in_doubt: NONE,
            oldest_doubt: None,
        }
    }
}

impl WithdrawalRequest {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if self.coins.len() > MAX_SWAP_COINS || self.body.len() > MAX_SWAP_BYTES {
            return Err(LedgerError::TooLarge);
        }
        Ok(())
    }
}

impl WithdrawalEnd {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        match self {
            Self::Done { token, .. } if token.len() > MAX_TOLD => Err(LedgerError::TooLarge),
            _ => Ok(()),
        }
    }
}

impl WithdrawalState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Lost => "lost",
        }
    }
}
