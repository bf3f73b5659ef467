//! An amount as coins, and coins as an amount. Denominations are powers of two (NUT-00).

/// No amount is made of more coins than this: each costs a computation, and a mint says of which sizes they are.
pub const MAX_COINS: usize = 256;

/// The coins of an amount, the largest first: as few as there can be of these denominations, which
/// are sorted and hold 1. `None` where they were more than [`MAX_COINS`].
#[must_use]
pub fn split(amount: u64, denominations: &[u64]) -> Option<Vec<u64>> {
    let mut left = amount;
    let mut coins = Vec::new();
    for coin in denominations.iter().rev().copied() {
        while coin > 0 && left >= coin {
            if coins.len() == MAX_COINS {
                return None;
            }
            coins.push(coin);
            left -= coin;
        }
    }
    Some(coins)
}

/// Coins that sum to `value` and of which some sum to any smaller amount, so that every change can be
/// given without a second call to the mint: one of each small denomination, and the rest in as few as
/// can be. About twice the logarithm of the value, the smallest first. `None` as of [`split`].
#[must_use]
pub fn ladder(value: u64, denominations: &[u64]) -> Option<Vec<u64>> {
    let mut left = value;
    let mut coins = Vec::new();
    for coin in denominations.iter().copied() {
        if coin > left {
            break;
        }
        coins.push(coin);
        left -= coin;
    }
    coins.extend(split(left, denominations)?);
    coins.sort_unstable();
    Some(coins)
}

/// The coins that stay where the rest is given away now, by their places: of what stays some sum to any
/// smaller amount, and it is worth `amount`, or else as little more as these coins allow.
#[must_use]
pub fn keep(coins: &[u64], amount: u64) -> Vec<usize> {
    let mut places: Vec<_> = (0..coins.len()).collect();
    let coin = |place: &usize| coins.get(*place).copied().unwrap_or(u64::MAX);
    places.sort_by_key(coin);
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    let mut sum = 0_u64;
    // One of each size, so that no gap is in what stays.
    for place in places {
        let coin = coin(&place);
        if coin == sum.saturating_add(1) && coin <= amount - sum {
            kept.push(place);
            sum += coin;
        } else {
            others.push(place);
        }
    }
    while sum < amount {
        // A larger coin than all that stays beside it, and 1, makes a gap.
        let joins = |at: &usize| coin(&others[*at]) <= sum.saturating_add(1);
        let left = amount - sum;
        let mut fits = (0..others.len()).rev().filter(joins);
        let fits = fits.find(|at| coin(&others[*at]) <= left);
        // None fits: the smallest is the least too much.
        let Some(at) = fits.or_else(|| (0..others.len()).find(joins)) else {
            break;
        };
        let place = others.remove(at);
        sum = sum.saturating_add(coin(&place));
        kept.push(place);
    }
    kept
}

/// Whether some of these coins sum to any amount up to what all of them are worth: none is larger than all
/// smaller ones, and 1.
#[must_use]
pub fn gives_any(mut coins: Vec<u64>) -> bool {
    coins.sort_unstable();
    let mut sum = 0_u64;
    coins.into_iter().all(|coin| {
        let has_no_gap = coin <= sum.saturating_add(1);
        sum = sum.saturating_add(coin);
        has_no_gap
    })
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
                let coins = ladder(value, denominations).unwrap();
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
    fn too_many_coins_are_none() {
        assert_eq!(split(1 << 40, &[1]), None);
        assert_eq!(ladder(u64::MAX, &powers(10)), None);
    }

    #[test]
    fn a_ladder_is_short() {
        for (value, most) in [(10_000, 19), (1_000_000, 27), (100_000_000, 39)] {
            assert!(ladder(value, &powers(40)).unwrap().len() <= most, "{value}");
        }
    }

    #[test]
    fn of_what_stays_any_change_can_be_given() {
        let all = powers(40);
        for (first, rest) in [(0, 9), (1, 1), (5, 70), (100, 3), (64, 191), (300, 300)] {
            let mut coins = ladder(first, &all).unwrap();
            coins.extend(ladder(rest, &all).unwrap());
            for amount in 0..=first + rest {
                let kept = keep(&coins, amount);
                let kept: Vec<_> = kept.iter().map(|place| coins[*place]).collect();
                let sum = kept.iter().sum::<u64>();
                assert!(sum >= amount, "{amount} of {first} and {rest}");
                for change in 0..=sum {
                    let chosen = choose(&kept, change);
                    let given: u64 = chosen.iter().map(|place| kept[*place]).sum();
                    assert_eq!(given, change, "{amount} of {first} and {rest}");
                }
            }
            let kept = keep(&coins, first);
            let sum: u64 = kept.iter().map(|place| coins[*place]).sum();
            assert_eq!(sum, first, "what was planned for is exact");
        }
    }

    #[test]
    fn coins_without_a_gap_give_any_amount() {
        for (coins, gives) in [
            (vec![], true),
            (vec![1], true),
            (vec![2], false),
            (vec![4, 1, 2, 4], true),
            (vec![1, 4], false),
            (vec![1, 1, 1, 4], true),
        ] {
            assert_eq!(gives_any(coins.clone()), gives, "{coins:?}");
        }
    }

    #[test]
    fn coins_with_gaps_stay_as_far_as_they_can() {
        assert_eq!(keep(&[4, 8], 3), Vec::<usize>::new());
        assert_eq!(keep(&[1, 4], 3), [0]);
        assert_eq!(keep(&[], 3), Vec::<usize>::new());
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
            let coins = split(amount, &powers(41)).unwrap();
            prop_assert_eq!(coins.iter().sum::<u64>(), amount);
            prop_assert_eq!(coins.len(), amount.count_ones() as usize);
        }
    }
}
