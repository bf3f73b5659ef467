//! An amount as coins, and coins as an amount. Denominations are powers of two (NUT-00).

/// The coins of an amount, the largest first: as few as there can be of these denominations, which
/// are sorted and hold 1.
#[must_use]
pub fn split(amount: u64, denominations: &[u64]) -> Vec<u64> {
    let mut left = amount;
    let mut coins = Vec::new();
    for coin in denominations.iter().rev().copied() {
        while coin > 0 && left >= coin {
            coins.push(coin);
            left -= coin;
        }
    }
    coins
}

/// Coins that sum to `value` and of which some sum to any smaller amount, so that every change can be
/// given without a second call to the mint: one of each small denomination, and the rest in as few as
/// can be. About twice the logarithm of the value, the smallest first.
#[must_use]
pub fn ladder(value: u64, denominations: &[u64]) -> Vec<u64> {
    let mut left = value;
    let mut coins = Vec::new();
    for coin in denominations.iter().copied() {
        if coin > left {
            break;
        }
        coins.push(coin);
        left -= coin;
    }
    coins.extend(split(left, denominations));
    coins.sort_unstable();
    coins
}

/// Which of these coins sum to `amount`, or else to as much below it as can be, by their places: as few as
/// there can be. Each coin is a power of two, so the largest that fits is always right.
#[must_use]
pub fn choose(coins: &[u64], amount: u64) -> Vec<usize> {
    let mut places: Vec<_> = (0..coins.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(coins.get(*place).copied()));
    let mut left = amount;
    let mut chosen = Vec::new();
    for place in places {
        let coin = coins.get(place).copied().unwrap_or(u64::MAX);
        if coin <= left {
            chosen.push(place);
            left -= coin;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn powers(count: u32) -> Vec<u64> {
        (0..count).map(|power| 1 << power).collect()
    }

    #[test]
    fn any_change_is_a_choice_of_the_ladder() {
        let (all, few) = (powers(40), powers(5));
        for value in 0..600 {
            for denominations in [&all, &few] {
                let coins = ladder(value, denominations);
                assert_eq!(coins.iter().sum::<u64>(), value);
                for change in 0..=value {
                    let chosen = choose(&coins, change);
                    let sum: u64 = chosen.iter().map(|place| coins[*place]).sum();
                    assert_eq!(sum, change, "of {value}");
                }
            }
        }
    }

    #[test]
    fn a_ladder_is_short() {
        for (value, most) in [(10_000, 19), (1_000_000, 27), (100_000_000, 39)] {
            assert!(ladder(value, &powers(40)).len() <= most, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_given_exactly_is_given_as_far_as_it_can() {
        assert_eq!(choose(&[2, 4], 5), [1]);
        assert_eq!(choose(&[8, 2, 4], 7), [2, 1]);
        assert!(choose(&[], 1).is_empty());
        assert!(choose(&[1], 0).is_empty());
    }

    proptest! {
        #[test]
        fn coins_sum_to_their_amount(amount in 0_u64..1 << 40) {
            let coins = split(amount, &powers(41));
            prop_assert_eq!(coins.iter().sum::<u64>(), amount);
            prop_assert_eq!(coins.len(), amount.count_ones() as usize);
        }
    }
}
