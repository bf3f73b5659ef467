//! One price from many: the middle of those that agree.
//!
//! A source that lies, by however much, moves the rate no further than to the next honest one, and
//! more than half of those that answered have to agree: of two that contradict each other nobody
//! can tell which is right.

use std::cmp::Ordering;

use farebox_meter::Decimal;

/// How many have to agree, and how closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// At least so many.
    pub quorum: usize,
    /// How far from the middle, in millionths of it.
    pub max_deviation: u64,
}

/// A price, and how many agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The price of one bitcoin.
    pub price: Decimal,
    /// How many said about that.
    pub sources: usize,
}

/// There is no price that enough of them agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// Too few answered.
    #[error("{answered} sources answered, {quorum} are needed")]
    TooFew {
        /// How many did.
        answered: usize,
        /// How many have to.
        quorum: usize,
    },
    /// They answered, and contradict each other.
    #[error("of {answered} sources that answered only {agree} agree")]
    Contradiction {
        /// How many answered.
        answered: usize,
        /// How many of them agree.
        agree: usize,
    },
}

/// The middle of the prices that lie close to the middle of all.
///
/// # Errors
/// [`Disagreement`].
pub fn agree(mut prices: Vec<Decimal>, rules: Agreement) -> Result<Agreed, Disagreement> {
    let answered = prices.len();
    let too_few = Disagreement::TooFew {
        answered,
        quorum: rules.quorum,
    };
    if answered < rules.quorum {
        return Err(too_few);
    }
    prices.sort_by(compare);
    let all = middle(&prices).ok_or(too_few)?;
    prices.retain(|price| !price.deviates(all, rules.max_deviation));
    let agree = prices.len();
    if agree < rules.quorum || agree * 2 <= answered {
        return Err(Disagreement::Contradiction { answered, agree });
    }
    let price = middle(&prices).ok_or(too_few)?;
    Ok(Agreed {
        price,
        sources: agree,
    })
}

/// Of an even number the lower of the two in the middle, which asks for a trifle more bitcoin.
fn middle(sorted: &[Decimal]) -> Option<Decimal> {
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

fn compare(one: &Decimal, other: &Decimal) -> Ordering {
    if one.exceeds(*other) {
        Ordering::Greater
    } else if other.exceeds(*one) {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(quorum: usize, prices: &[&str]) -> Result<String, Disagreement> {
        let prices = prices.iter().map(|price| price.parse().unwrap()).collect();
        let rules = Agreement {
            quorum,
            max_deviation: 50_000,
        };
        agree(prices, rules).map(|agreed| format!("{} of {}", agreed.price, agreed.sources))
    }

    #[test]
    fn the_rate_is_the_middle_of_those_that_agree() {
        let said = of(2, &["97100", "97000.5", "96900"]);
        assert_eq!(said.as_deref(), Ok("97000.5 of 3"));
        let said = of(2, &["970000", "97000", "96900", "9700"]);
        assert_eq!(
            said,
            Err(Disagreement::Contradiction {
                answered: 4,
                agree: 2
            })
        );
        let said = of(2, &["970000", "97000", "96900"]);
        assert_eq!(said.as_deref(), Ok("96900 of 2"));
    }

    #[test]
    fn two_that_contradict_each_other_are_no_rate_whatever_the_quorum() {
        let no = Err(Disagreement::Contradiction {
            answered: 2,
            agree: 1,
        });
        assert_eq!(of(2, &["97000", "970000"]), no);
        assert_eq!(of(1, &["97000", "970000"]), no);
        assert_eq!(of(1, &["97000"]).as_deref(), Ok("97000 of 1"));
    }

    #[test]
    fn fewer_than_the_quorum_are_no_rate() {
        let too_few = |answered| {
            Err(Disagreement::TooFew {
                answered,
                quorum: 2,
            })
        };
        assert_eq!(of(2, &[]), too_few(0));
        assert_eq!(of(2, &["97000"]), too_few(1));
        assert!(of(0, &[]).is_err());
    }

    proptest! {
        #[test]
        fn a_minority_of_liars_moves_the_rate_by_no_more_than_the_honest_differ(
            honest in prop::collection::vec(96_000_u128..98_000, 3..8),
            lies in prop::collection::vec(1_u128..10_u128.pow(20), 0..3),
        ) {
            let (low, high) = (*honest.iter().min().unwrap(), *honest.iter().max().unwrap());
            let lies = lies.into_iter().take(honest.len() - 1);
            let all = honest.iter().copied().chain(lies);
            let all = all.map(|price| Decimal::new(price, 0).unwrap()).collect();
            let rules = Agreement { quorum: 2, max_deviation: 50_000 };
            if let Ok(agreed) = agree(all, rules) {
                let price = agreed.price.parts().0;
                prop_assert!((low..=high).contains(&price), "{price}");
            }
        }
    }
}
