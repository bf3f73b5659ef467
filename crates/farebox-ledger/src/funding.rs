//! What credits an account: which payment, over which rail, for what.
//!
//! A payment is credited once, for ever, whatever it is used for first. Values only.

use farebox_core::{KeyEpoch, Msat, PaymentHash, Terms};

use crate::code::codes;

/// The way by which money comes in and goes out. Each has a clearing account of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rail {
    /// Payments to the operator's own Lightning nodes.
    Lightning,
    /// Stands in for rails to come, in tests: no money comes by it.
    Fake,
}

/// A payment that funds an account at its first sight, and what was sold for it.
#[derive(Clone, Debug)]
pub struct Funding {
    /// How it came.
    pub rail: Rail,
    /// What names the payment on its rail: on Lightning, its payment hash.
    pub id: PaymentHash,
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

impl Rail {
    /// The name of its clearing account, where money comes from and goes to: it stands below zero by
    /// all that came in and did not go out.
    #[must_use]
    pub const fn clearing(self) -> &'static str {
        match self {
            Self::Lightning => "lightning",
            Self::Fake => "fake",
        }
    }

    /// Every rail.
    pub(crate) const ALL: [Self; 2] = [Self::Lightning, Self::Fake];
}

codes!(pub Rail {
    Lightning = 1,
    Fake = 255,
});
