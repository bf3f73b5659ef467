//! How much may go out, how often, and what routing may cost.

use std::num::NonZeroU64;

use farebox_core::Msat;
use farebox_http::client::AllowedHosts;
use farebox_ledger::{AskedBy, PayoutLimits};
use farebox_lightning::Network;

/// One token or key gets this part of what others left of the daily total.
const OF_DAILY_TOTAL: NonZeroU64 = NonZeroU64::new(4).expect("not zero");

/// The operator's rules for refunds. They hold for the holders of tokens; the operator is bound by
/// `max_fee` only.
#[derive(Clone, Debug)]
pub struct RefundRules {
    /// Whether the holder of a token may ask.
    pub enabled: bool,
    /// The least amount that is paid out to a holder.
    pub least: Msat,
    /// The most that is paid out within 24 hours, all together, fees apart; beyond it holders wait.
    pub daily_total: Msat,
    /// How many payouts one token may begin within 24 hours.
    pub per_token_per_day: u32,
    /// How many payouts may be under way, or of unknown outcome, at one time.
    pub max_open: u32,
    /// The most that routing may cost.
    pub max_fee: MaxFee,
    /// Hosts of Lightning Addresses that are exempt from the rules of
    /// [`GuardedClient`](farebox_http::client::GuardedClient).
    pub allow_hosts: AllowedHosts,
    /// The network that invoices must be for.
    pub network: Network,
}

impl RefundRules {
    /// The operator knows why, and must not be kept out by holders whose payees never take their money.
    pub(super) const fn limits(&self, asked_by: AskedBy) -> PayoutLimits {
        match asked_by {
            AskedBy::Holder => PayoutLimits {
                least: self.least,
                daily_total: self.daily_total,
                account_part: OF_DAILY_TOTAL,
                max_open: self.max_open,
                per_account_per_day: self.per_token_per_day,
            },
            AskedBy::Operator => PayoutLimits {
                least: Msat::ZERO,
                daily_total: Msat::MAX,
                account_part: NonZeroU64::MIN,
                max_open: u32::MAX,
                per_account_per_day: u32::MAX,
            },
        }
    }
}

/// A limit on routing fees: a part of the amount, but never less than a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFee {
    /// Percent of the amount.
    pub percent: u32,
    /// What is always allowed.
    pub base: Msat,
}

/// What is paid, and what paying it may cost on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) amount: Msat,
    pub(super) max_fee: Msat,
}

impl MaxFee {
    fn of(self, amount: Msat) -> u64 {
        let part = u128::from(amount.get()) * u128::from(self.percent);
        let part = u64::try_from(part.div_ceil(100)).unwrap_or(u64::MAX);
        part.max(self.base.get())
    }

    /// What paying exactly `amount` out of `available` may cost; none if it is more than there is.
    pub(super) fn for_amount(self, amount: Msat, available: Msat) -> Option<Share> {
        let rest = available.get().checked_sub(amount.get())?;
        let max_fee = Msat::new(self.of(amount).min(rest)).ok()?;
        Some(Share { amount, max_fee })
    }

    /// The most that can be paid out of `available` with the fee on top, in whole `step`s. Where
    /// the allowed fee would eat more than half, half is kept for it: a small rest can go back too.
    pub(super) fn largest(self, available: Msat, step: Msat) -> Option<Share> {
        let all = available.get();
        let by_base = all.saturating_sub(self.base.get());
        let by_percent = u128::from(all) * 100 / (100 + u128::from(self.percent));
        let by_percent = u64::try_from(by_percent).unwrap_or(u64::MAX);
        let amount = by_base.min(by_percent).max(all / 2);
        let step = step.get().max(1);
        let amount = Msat::new(amount / step * step).ok()?;
        self.for_amount(amount, available)
            .filter(|share| !share.amount.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: MaxFee = MaxFee {
        percent: 1,
        base: msat(5_000),
    };
    const SAT: Msat = msat(1000);

    const fn msat(msat: u64) -> Msat {
        match Msat::new(msat) {
            Ok(amount) => amount,
            Err(_) => Msat::MAX,
        }
    }

    fn largest(available: u64) -> Option<(u64, u64)> {
        let share = RULE.largest(msat(available), SAT)?;
        Some((share.amount.get(), share.max_fee.get()))
    }

    #[test]
    fn the_fee_comes_out_of_what_is_left() {
        assert_eq!(largest(2_000_000), Some((1_980_000, 19_800)));
        assert_eq!(largest(100_000), Some((95_000, 5_000)));
        assert_eq!(largest(100_999), Some((95_000, 5_000)));
    }

    #[test]
    fn a_small_rest_goes_back_with_at_most_half_of_it_for_the_fee() {
        assert_eq!(largest(9_999), Some((4_000, 5_000)));
        assert_eq!(largest(2_000), Some((1_000, 1_000)));
        assert_eq!(largest(1_999), None);
        assert_eq!(largest(0), None);
    }

    #[test]
    fn amount_and_fee_never_exceed_what_is_left() {
        for available in (0..400_000).step_by(777).chain([u64::MAX / 10]) {
            let Ok(available) = Msat::new(available) else {
                continue;
            };
            for step in [1, 1000] {
                let Some(share) = RULE.largest(available, msat(step)) else {
                    continue;
                };
                assert!(share.amount.get() + share.max_fee.get() <= available.get());
                assert_eq!(share.amount.get() % step, 0);
            }
        }
    }

    #[test]
    fn a_given_amount_may_leave_nothing_for_the_fee_but_is_never_more_than_there_is() {
        let share = |amount, available| {
            RULE.for_amount(msat(amount), msat(available))
                .map(|share| share.max_fee.get())
        };
        assert_eq!(share(2_000, 2_000), Some(0));
        assert_eq!(share(2_000, 3_000), Some(1_000));
        assert_eq!(share(2_000, 30_000), Some(5_000));
        assert_eq!(share(2_000_000, 3_000_000), Some(20_000));
        assert_eq!(share(2_001, 2_000), None);
    }
}
