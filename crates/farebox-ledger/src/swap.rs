//! Swaps of coins at mints, and the coins that are ours: what is asked of the ledger before and after a
//! mint is called.
//!
//! A swap is written down whole before its request leaves, and stays open until it is known what became
//! of it. What the coins are made of is nobody's affair here: they are bytes with a name and a worth.
//! Values only.

use std::sync::Arc;

use farebox_core::{AccountId, MintId, Msat, ProcessEpoch, SwapId, Terms, UnixMillis};

use crate::code::codes;
use crate::{ChangeView, ClaimPolicy, Funding, LedgerError, Rail};

/// The most coins that one swap takes or makes.
pub const MAX_SWAP_COINS: usize = 1_000;
/// The longest that is kept of one swap, in bytes.
pub const MAX_SWAP_BYTES: usize = 1024 * 1024;
/// The most bytes of the coins told at once.
pub const MAX_TOLD: usize = 256 * 1024;

/// What names a coin: the unit of the mint it is of, and the point that the mint knows it by when it is
/// spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoinName {
    /// The unit of its mint.
    pub mint: MintId,
    /// `hash_to_curve(secret)`, compressed.
    pub y: [u8; 33],
}

/// What never changes of a swap, so that its end can name its rows.
#[derive(Clone, Debug)]
pub struct SwapFacts {
    /// Its id, made by the asking side.
    pub id: SwapId,
    /// The unit of the mint.
    pub mint: MintId,
    /// The account that it credits.
    pub account: AccountId,
    /// The coins that were received for it. No coin is received twice.
    pub received: Arc<[[u8; 33]]>,
}

/// One request to write down a swap of coins that somebody paid with.
#[derive(Clone, Debug)]
pub struct SwapRequest {
    /// What never changes of it.
    pub facts: SwapFacts,
    /// What is sold for it: a balance of what the swap brings, on a route.
    pub terms: Terms,
    /// Everything that its coins can be found by, at most [`MAX_SWAP_BYTES`].
    pub body: Arc<[u8]>,
    /// How much of this unit of this mint may be ours at most, with what it brings.
    pub most: Msat,
    /// The present instant by the caller's clock.
    pub at: UnixMillis,
}

/// The answer to a [`SwapRequest`]. Each is on the disk when it is given.
#[derive(Clone, Debug)]
pub enum SwapBegun {
    /// It is written down: the mint may be called.
    Begun,
    /// The same coins were received before, all of them and no other, by a swap that is open or done.
    Exists(Box<SwapView>),
    /// Some of the coins were received before, together with others.
    Overlaps,
    /// More of this unit of this mint would be ours than may be.
    Exposed,
}

/// What is kept of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapView {
    /// Its id.
    pub id: SwapId,
    /// The unit of the mint.
    pub mint: MintId,
    /// The account that it credits.
    pub account: AccountId,
    /// The coins that were received for it.
    pub received: Arc<[[u8; 33]]>,
    /// What is sold for it.
    pub terms: Terms,
    /// Everything that its coins can be found by.
    pub body: Arc<[u8]>,
    /// What became of it.
    pub state: SwapState,
    /// When it was written down.
    pub begun_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
}

/// What became of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapState {
    /// It is not known: its request may be under way.
    Open,
    /// Its coins are ours.
    Done,
    /// The coins that were received had been spent by somebody else.
    Spent,
    /// The mint had nothing of it, and nobody waited any longer.
    LetGo,
}

codes!(pub SwapState {
    Open = 1,
    Done = 2,
    Spent = 3,
    LetGo = 4,
});

/// A coin that a swap made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCoin {
    /// What the mint knows it by.
    pub y: [u8; 33],
    /// What it is worth.
    pub worth: Msat,
    /// What it is made of: whoever has it can spend it.
    pub bytes: Arc<[u8]>,
}

/// What is known of the end of a swap.
#[derive(Clone, Debug)]
pub enum SwapEnd {
    /// Its coins are ours. They are reserved for the change of its account.
    Done(Vec<NewCoin>),
    /// The mint refused it, or was never reached: nothing can come of it, and nothing is kept.
    Refused,
    /// What was received had been spent by somebody else.
    Spent,
    /// The mint had nothing of it, and nobody waits any longer.
    LetGo,
}

/// A swap whose coins are ours, told with the request that they pay for.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// Which.
    pub facts: SwapFacts,
    /// Its coins.
    pub coins: Vec<NewCoin>,
}

/// A coin that is or was ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinView {
    /// What names it.
    pub name: CoinName,
    /// What it is worth.
    pub worth: Msat,
    /// What it is made of.
    pub bytes: Arc<[u8]>,
    /// Where it is.
    pub state: CoinState,
    /// The swap that made it.
    pub made_by: SwapId,
}

/// Where a coin of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinState {
    /// It may become the change of the account that its swap credits, and of no other.
    Reserved,
    /// It may be given to anybody.
    Free,
    /// It was told as change. It is given once.
    Given,
    /// It is being swapped for a token of the seller's.
    Leaving,
}

codes!(pub CoinState {
    Reserved = 1,
    Free = 2,
    Given = 3,
    Leaving = 4,
});

/// One request to tell change.
#[derive(Clone, Debug)]
pub struct ChangeRequest {
    /// Whose change it is.
    pub account: AccountId,
    /// Which part of it, from 0: the first may be told while the rest is still held.
    pub part: usize,
    /// The coins that are given: together as much as is told.
    pub given: Vec<CoinName>,
    /// Coins that were reserved for this account and are not needed, where nothing is held any more.
    pub freed: Vec<CoinName>,
    /// What is told. What the account has beyond it stays on it.
    pub amount: Msat,
    /// The exact text that gives it, in one line, at most [`MAX_TOLD`] bytes; empty where nothing is told and
    /// coins are freed alone.
    pub text: Arc<str>,
    /// The present instant by the caller's clock.
    pub at: UnixMillis,
}

/// What an account stands at, in the order of all that was asked before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is neither spent nor held, with what is owed.
    pub free: Msat,
    /// Whether something of it is held.
    pub is_in_use: bool,
    /// The change that was told of it, a part each.
    pub told: Vec<Arc<str>>,
}

/// A swap as it is kept.
#[derive(Clone, Debug)]
pub struct SwapRow {
    /// What people read of it.
    pub view: SwapView,
    /// The run of a process that wrote it down.
    pub epoch: ProcessEpoch,
}

/// Change that is owed.
#[derive(Clone, Debug)]
pub struct ChangeRow {
    /// What people read of it.
    pub view: ChangeView,
    /// The run of a process that owes it.
    pub epoch: ProcessEpoch,
}

impl SwapRequest {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let coins = self.facts.received.len();
        if coins > MAX_SWAP_COINS || self.body.len() > MAX_SWAP_BYTES {
            return Err(LedgerError::TooLarge);
        }
        Ok(())
    }
}

impl SwapView {
    /// What never changes of it.
    #[must_use]
    pub fn facts(&self) -> SwapFacts {
        SwapFacts {
            id: self.id,
            mint: self.mint,
            account: self.account,
            received: Arc::clone(&self.received),
        }
    }

    /// What credits its account: once.
    #[must_use]
    pub fn funding(&self) -> Funding {
        let is_credited = self.state == SwapState::Done;
        Funding {
            rail: Rail::Ecash(self.mint),
            amount: self.terms.amount,
            terms: self.terms.clone(),
            key_epoch: farebox_core::KeyEpoch(0),
            claims: if is_credited {
                ClaimPolicy::ClaimedOnly
            } else {
                ClaimPolicy::Open
            },
        }
    }
}

impl SwapFacts {
    /// The names of the coins that were received.
    pub fn names(&self) -> impl Iterator<Item = CoinName> {
        let mint = self.mint;
        self.received.iter().map(move |y| CoinName { mint, y: *y })
    }
}

impl SwapState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Spent => "spent",
            Self::LetGo => "let_go",
        }
    }

    /// Whether nothing came of it. What turns up later all the same is credited.
    #[must_use]
    pub const fn came_to_nothing(self) -> bool {
        matches!(self, Self::Spent | Self::LetGo)
    }
}
