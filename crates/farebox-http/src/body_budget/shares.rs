//! What each client may take of a budget that all share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use farebox_core::AccountId;

use super::ByteBudget;
use crate::client_addr::AddressPrefix;

/// One payer's share is this part of the budget.
const OF_A_PAYER: usize = 4;
/// What strangers may take together is this part of the budget: the rest is for those who paid.
const OF_STRANGERS: usize = 2;
/// The share of the strangers of one address prefix is this part of the budget.
const OF_A_PREFIX: usize = 8;
/// As many holders are remembered before those who hold nothing any more are looked for.
const FEW: usize = 256;

/// Who takes bytes of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Somebody who has not paid.
    Stranger(AddressPrefix),
    /// Whoever spends the money of an account.
    Payer(AccountId),
}

/// A budget in shares: one for each payer, and one for the strangers of each address prefix, who
/// together leave room for the payers.
#[derive(Debug)]
pub struct Shares {
    whole: Arc<ByteBudget>,
    strangers: Arc<ByteBudget>,
    holders: Mutex<Holders>,
}

#[derive(Debug)]
struct Holders {
    shares: HashMap<Holder, Arc<ByteBudget>>,
    /// How many are remembered before they are looked through.
    enough: usize,
}

impl Shares {
    /// Shares of a budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        let whole = ByteBudget::new(limit);
        Arc::new(Self {
            strangers: whole.part(limit / OF_STRANGERS),
            whole,
            holders: Mutex::new(Holders {
                shares: HashMap::new(),
                enough: FEW,
            }),
        })
    }

    /// The least that anybody's share of a budget of `limit` bytes is.
    #[must_use]
    pub const fn least(limit: u64) -> u64 {
        limit / OF_A_PREFIX as u64
    }

    /// Bytes leased by all at the moment.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.whole.in_use()
    }

    /// All of it, for a body of which nothing will be kept.
    #[must_use]
    pub const fn whole(&self) -> &Arc<ByteBudget> {
        &self.whole
    }

    /// The share of `holder`. It is forgotten some time after the last of it was given back.
    #[must_use]
    pub fn of(&self, holder: Holder) -> Arc<ByteBudget> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = holders.shares.get(&holder) {
            return Arc::clone(share);
        }
        let share = match holder {
            Holder::Payer(_) => self.whole.part(self.whole.limit / OF_A_PAYER),
            Holder::Stranger(_) => self.strangers.part(self.whole.limit / OF_A_PREFIX),
        };
        holders.shares.insert(holder, Arc::clone(&share));
        if holders.shares.len() > holders.enough {
            holders
                .shares
                .retain(|_, share| Arc::strong_count(share) > 1);
            holders.enough = FEW.max(holders.shares.len() * 2);
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use farebox_core::PaymentHash;

    use super::*;
    use crate::body_budget::{BudgetExhausted, Lease};

    const LIMIT: usize = 800;

    fn stranger(network: u8) -> Holder {
        Holder::Stranger(AddressPrefix::V4([192, 0, network]))
    }

    fn payer(id: u8) -> Holder {
        Holder::Payer(PaymentHash::from_bytes([id; 32]).account())
    }

    fn leased(shares: &Shares, holder: Holder, bytes: usize) -> Result<Lease, BudgetExhausted> {
        let mut lease = shares.of(holder).lease();
        lease.grow(bytes).map(|()| lease)
    }

    #[test]
    fn strangers_leave_room_for_payers_and_no_prefix_takes_all_that_strangers_may() {
        let shares = Shares::new(LIMIT);
        let first = leased(&shares, stranger(0), 100).unwrap();
        leased(&shares, stranger(0), 1).unwrap_err();
        let others: Vec<_> = (1..4)
            .map(|network| leased(&shares, stranger(network), 100).unwrap())
            .collect();
        leased(&shares, stranger(4), 1).unwrap_err();
        let paid = leased(&shares, payer(0), 200).unwrap();
        leased(&shares, payer(0), 1).unwrap_err();
        let also_paid = leased(&shares, payer(1), 200).unwrap();
        assert_eq!(shares.in_use(), LIMIT);
        drop((first, others, paid, also_paid));
        assert_eq!(shares.in_use(), 0);
        leased(&shares, stranger(4), 100).unwrap();
    }

    #[test]
    fn what_the_whole_has_no_room_for_is_taken_of_no_share() {
        let shares = Shares::new(LIMIT);
        let all: Vec<_> = (0..4)
            .map(|id| leased(&shares, payer(id), 200).unwrap())
            .collect();
        let share = shares.of(stranger(0));
        share.lease().grow(1).unwrap_err();
        assert_eq!(share.in_use(), 0);
        drop(all);
        share.lease().grow(100).unwrap();
    }

    #[test]
    fn those_who_hold_nothing_are_forgotten() {
        let shares = Shares::new(LIMIT);
        let held = leased(&shares, payer(0), 200).unwrap();
        for id in 0..u16::MAX {
            let [high, low] = id.to_be_bytes();
            let prefix = AddressPrefix::V4([10, high, low]);
            drop(shares.of(Holder::Stranger(prefix)));
        }
        let remembered = shares.holders.lock().unwrap().shares.len();
        assert!(remembered <= FEW + 1, "{remembered}");
        leased(&shares, payer(0), 1).unwrap_err();
        drop(held);
    }
}
