//! What credits an account: which payment, over which rail, for what.
//!
//! A payment is credited once, for ever, whatever it is used for first. Values only.

use std::fmt;

use farebox_core::{KeyEpoch, MintId, Msat, Terms};

/// The way by which money comes in and goes out. Each has a clearing account of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rail {
    /// Payments to the operator's own Lightning nodes.
    Lightning,
    /// Coins of one unit of one mint.
    Ecash(MintId),
    /// Stands in for rails to come, in tests: no money comes by it.
    Fake,
}

/// A payment that funds an account at its first sight, and what was sold for it.
#[derive(Clone, Debug)]
pub struct Funding {
    /// How it came.
    pub rail: Rail,
    /// What it brought. More than the terms say is excess of the account.
    pub amount: Msat,
    /// What was sold, as the token says.
    pub terms: Terms,
    /// Which secret signed the token.
    pub key_epoch: KeyEpoch,
    /// Whether it may be credited if it was never seen.
    pub claims: ClaimPolicy,
}

/// Whether a token that was never seen may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimPolicy {
    /// It may.
    Open,
    /// Only tokens claimed before are good: their key epoch was rotated in an emergency.
    ClaimedOnly,
}

/// The name of the clearing account, where money comes from and goes to: it stands below zero by all that
/// came in and did not go out.
impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lightning => f.write_str(LIGHTNING),
            Self::Ecash(mint) => write!(f, "{ECASH}{mint}"),
            Self::Fake => f.write_str(FAKE),
        }
    }
}

const LIGHTNING: &str = "lightning";
const ECASH: &str = "ecash:";
const FAKE: &str = "fake";

impl Rail {
    /// The rail whose clearing account has this name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            LIGHTNING => Some(Self::Lightning),
            FAKE => Some(Self::Fake),
            _ => {
                let mint = MintId::parse(text.strip_prefix(ECASH)?);
                mint.ok().map(Self::Ecash)
            }
        }
    }

    /// The number it is stored under. Never change one.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Lightning => 1,
            Self::Fake => 255,
            Self::Ecash(mint) => mint.number().cast_signed(),
        }
    }

    /// The rail with this number.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Lightning),
            255 => Some(Self::Fake),
            _ => match MintId::from_number(code.cast_unsigned()) {
                Some(mint) => Some(Self::Ecash(mint)),
                None => None,
            },
        }
    }
}
