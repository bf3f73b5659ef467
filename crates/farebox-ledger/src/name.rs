//! Names of rows. A command names every row that it may read or write before anything is loaded.
//!
//! One name is one row, whatever becomes of it: a payment that waits for a key, is credited, revoked
//! or spent is always the row of its account's name.

use std::fmt;

use farebox_core::{
    AccountId, HoldId, PaymentHash, PayoutId, RouteName, SwapId, UnixMillis, WithdrawalId,
};

use crate::day::Day;
use crate::{CoinName, Rail};

/// The name of a row, or of rows that never change hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Whatever a payment or a key is.
    Account(AccountId),
    /// The same, and what counts against it on a day, where it is a key: a day on which nothing
    /// does is loaded as an empty one.
    Use(AccountId, Day),
    /// A key that asks, its parent, and what counts against both on a day. Whose child a key is
    /// never changes.
    Asker(AccountId, Day),
    /// A hold, or the transfer that it became.
    Hold(HoldId),
    /// What an account asked for under a key of its client.
    Once(AccountId, [u8; 32]),
    /// A payout.
    Payout(PayoutId),
    /// The payout to an outgoing invoice.
    Outgoing(PaymentHash),
    /// The prepaid key with this public name.
    PublicId(Box<str>),
    /// What counts against the limits of payouts since an instant: of all, and of one account. At
    /// most one command of a batch has it.
    PayoutGate(AccountId, UnixMillis),
    /// Change that is owed to an account.
    Change(AccountId),
    /// A swap at a mint.
    Swap(SwapId),
    /// The swap that a coin was received for, if it was received.
    Received(CoinName),
    /// A coin of ours.
    Coin(CoinName),
    /// Coins of ours that leave as a token.
    Withdrawal(WithdrawalId),
}

/// One of the house's accounts. Each writer has a shard of it; they are added up on reading.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HouseName {
    /// Where the money of a rail comes from and goes to.
    Clearing(Rail),
    /// What a route earned.
    Revenue(RouteName),
    /// Usage above its hold and fees above theirs, which the seller bears.
    SellerLoss,
    /// Fees above what a payout had reserved for them: what the seller paid the network.
    RoutingFees,
    /// Change that is owed and not yet told.
    Owed(Rail),
    /// What the seller took out of the stock of a rail.
    Withdrawn(Rail),
    /// What mints took for swaps of the seller's own coins.
    MintFees,
}

const REVENUE: &str = "revenue:";
const OWED: &str = "owed:";
const WITHDRAWN: &str = "withdrawn:";

impl HouseName {
    /// The name that was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "seller_loss" => Some(Self::SellerLoss),
            "lightning_fees" => Some(Self::RoutingFees),
            "mint_fees" => Some(Self::MintFees),
            _ => Rail::parse(text)
                .map(Self::Clearing)
                .or_else(|| {
                    text.strip_prefix(OWED)
                        .and_then(Rail::parse)
                        .map(Self::Owed)
                })
                .or_else(|| {
                    text.strip_prefix(WITHDRAWN)
                        .and_then(Rail::parse)
                        .map(Self::Withdrawn)
                })
                .or_else(|| {
                    RouteName::parse(text.strip_prefix(REVENUE)?)
                        .ok()
                        .map(Self::Revenue)
                }),
        }
    }

    /// Whether it cannot stand at this sum of all its shards: clearing and losses stand below zero,
    /// what was earned or is owed above.
    #[must_use]
    pub const fn is_impossible(&self, sum: i64) -> bool {
        match self {
            Self::Clearing(_) | Self::SellerLoss | Self::Withdrawn(_) | Self::MintFees => sum > 0,
            Self::Revenue(_) | Self::RoutingFees | Self::Owed(_) => sum < 0,
        }
    }
}

impl fmt::Display for HouseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clearing(rail) => rail.fmt(f),
            Self::Revenue(route) => write!(f, "{REVENUE}{route}"),
            Self::SellerLoss => f.write_str("seller_loss"),
            Self::RoutingFees => f.write_str("lightning_fees"),
            Self::Owed(rail) => write!(f, "{OWED}{rail}"),
            Self::Withdrawn(rail) => write!(f, "{WITHDRAWN}{rail}"),
            Self::MintFees => f.write_str("mint_fees"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_house_is_read_as_it_was_written() {
        let route = RouteName::parse("weather").unwrap();
        let mint = farebox_core::MintId::of("https://mint.example.com", "msat");
        for name in [
            HouseName::Clearing(Rail::Lightning),
            HouseName::Clearing(Rail::Fake),
            HouseName::Revenue(route),
            HouseName::SellerLoss,
            HouseName::RoutingFees,
            HouseName::Owed(Rail::Fake),
            HouseName::Clearing(Rail::Ecash(mint)),
            HouseName::Owed(Rail::Ecash(mint)),
            HouseName::Withdrawn(Rail::Ecash(mint)),
            HouseName::MintFees,
        ] {
            assert_eq!(HouseName::parse(&name.to_string()), Some(name));
        }
        assert_eq!(HouseName::parse("nobody"), None);
    }
}
