//! What became of a swap. It is done, refused, or spent by somebody else; everything else is open until
//! our own outputs and the mint's word on the inputs decide it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use farebox_http::aside::aside;
use tokio::time::Instant;

use super::{KeysFault, Mint, no_place};
use crate::fault::MintFault;
use crate::proof::{NoPoint, Proof, Y};
use crate::swap::{Misfit, Swap};
use crate::wire::CoinState;

/// How long is waited between two attempts, where the mint does not say.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest that a mint's own wish to wait is followed within one request.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What became of a swap.
#[derive(Debug)]
pub enum Outcome {
    /// The coins are ours, in the order of the outputs.
    Done(Vec<Proof>),
    /// The mint did nothing, and says why or was never reached: the coins that were given are still whose
    /// they were.
    Refused(MintFault),
    /// These of the coins that were given are spent, and not for our outputs.
    Spent(Vec<Y>),
    /// The mint signed something else than was asked for. What of it is good is ours.
    Misfit(Misfit, Vec<Proof>),
    /// It is not known yet.
    Open(Open),
}

/// Why what became of a swap is not known yet.
#[derive(Debug)]
pub enum Open {
    /// The mint had nothing of it when it was asked. A request that is still under way may reach it
    /// later.
    Unspent,
    /// The mint says that the coins are being spent.
    Pending,
    /// It could not be asked, or did not answer.
    Fault(MintFault),
}

impl Outcome {
    /// Whether trying the same body again may end it.
    #[must_use]
    pub const fn may_try_again(&self) -> bool {
        match self {
            Self::Open(_) => true,
            Self::Done(_) | Self::Refused(_) | Self::Spent(_) | Self::Misfit(..) => false,
        }
    }
}

/// Whether the body of a swap may have reached its mint before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Nobody sent it yet: a refusal that is certain means that nothing was done.
    First,
    /// It was sent, or may have been: a refusal says nothing of the body that landed.
    Again,
}

impl Mint {
    /// Sends a swap, and again while that may help, until `deadline`. It was written down before.
    pub async fn swap_until(
        &self,
        swap: &Arc<Swap>,
        mut attempt: Attempt,
        deadline: Instant,
    ) -> Outcome {
        loop {
            let outcome = self.swap(swap, attempt).await;
            let is_unsent = matches!(&outcome, Outcome::Open(Open::Fault(MintFault::NotSent(_))));
            if !is_unsent {
                attempt = Attempt::Again;
            }
            let pause = match &outcome {
                Outcome::Open(Open::Fault(MintFault::Limited { retry_after })) => {
                    retry_after.unwrap_or(PAUSE).min(MAX_PAUSE)
                }
                _ => PAUSE,
            };
            let next = Instant::now() + pause;
            if !outcome.may_try_again() || next >= deadline {
                return match (outcome, attempt) {
                    (Outcome::Open(Open::Fault(fault)), Attempt::First) => Outcome::Refused(fault),
                    (outcome, _) => outcome,
                };
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Sends a swap once, and finds out what became of it where its answer does not say.
    pub async fn swap(&self, swap: &Arc<Swap>, attempt: Attempt) -> Outcome {
        let is_first = attempt == Attempt::First;
        let signatures = match self.client.swap(swap).await {
            Ok(signatures) => signatures,
            Err(fault) if is_first && fault.certain_code().is_some() => {
                return Outcome::Refused(fault);
            }
            Err(fault @ (MintFault::NotSent(_) | MintFault::Limited { .. })) => {
                return Outcome::Open(Open::Fault(fault));
            }
            Err(fault) => return self.look(swap, Some(fault)).await,
        };
        let keys = match self.keys_of(swap).await {
            Ok(keys) => keys,
            Err(outcome) => return outcome,
        };
        let planned = Arc::clone(swap);
        match aside(None, move || planned.accept(&signatures, &keys)).await {
            Ok(Ok(proofs)) => Outcome::Done(proofs),
            // What the mint really signed is asked for once more.
            Ok(Err(misfit)) => match self.look(swap, None).await {
                Outcome::Done(proofs) => Outcome::Done(proofs),
                Outcome::Misfit(_, proofs) => Outcome::Misfit(misfit, proofs),
                Outcome::Spent(_) | Outcome::Refused(_) => Outcome::Misfit(misfit, Vec::new()),
                open @ Outcome::Open(_) => open,
            },
            Err(_) => Outcome::Open(Open::Fault(no_place())),
        }
    }

    /// Finds out what became of a swap without sending it: first what the mint says of the coins that were
    /// given (NUT-07), then whether our outputs were signed (NUT-09). A swap that lands between the two
    /// questions is open, and never somebody else's. Signatures count only beside spent coins.
    pub async fn look(&self, swap: &Arc<Swap>, why: Option<MintFault>) -> Outcome {
        let names: Result<Vec<_>, NoPoint> = swap.inputs().iter().map(Proof::y).collect();
        let Ok(names) = names else {
            return Outcome::Spent(Vec::new());
        };
        let states = match self.client.states(&names).await {
            Ok(states) => states,
            Err(fault) => return Outcome::Open(Open::Fault(fault)),
        };
        let said = judge(&names, &states, why);
        if !matches!(said, Outcome::Spent(_)) {
            return said;
        }
        match self.client.restore(swap.outputs()).await {
            Ok(signed) if signed.is_empty() => said,
            // It landed while the mint was asked: those of a swap are spent together.
            Ok(_)
                if names
                    .iter()
                    .any(|y| states.get(y) != Some(&CoinState::Spent)) =>
            {
                Outcome::Open(Open::Pending)
            }
            Ok(signed) => self.found(swap, signed.into_iter().collect()).await,
            Err(fault) => Outcome::Open(Open::Fault(fault)),
        }
    }

    /// Our outputs were signed, some of them at least.
    async fn found(
        &self,
        swap: &Arc<Swap>,
        signed: HashMap<cashu::nuts::PublicKey, crate::swap::Signature>,
    ) -> Outcome {
        let keys = match self.keys_of(swap).await {
            Ok(keys) => keys,
            Err(outcome) => return outcome,
        };
        let planned = Arc::clone(swap);
        let count = signed.len();
        let kept = aside(None, move || planned.salvage(&signed, &keys)).await;
        let Ok(kept) = kept else {
            return Outcome::Open(Open::Fault(no_place()));
        };
        let planned = swap.outputs().iter().map(|output| output.amount);
        if planned.eq(kept.iter().map(|proof| proof.amount)) {
            return Outcome::Done(kept);
        }
        let misfit = Misfit::Count {
            signatures: count,
            outputs: swap.outputs().len(),
        };
        Outcome::Misfit(misfit, kept)
    }

    async fn keys_of(&self, swap: &Swap) -> Result<Arc<crate::KeysetKeys>, Outcome> {
        let Some(id) = swap.keyset() else {
            return Err(Outcome::Spent(Vec::new()));
        };
        self.keys(id).await.map_err(|fault| {
            Outcome::Open(Open::Fault(match fault {
                KeysFault::Mint(fault) => fault,
                KeysFault::Keyset(_) => MintFault::Unread {
                    status: 200,
                    what: "keys that are not those of the keyset",
                },
            }))
        })
    }
}

/// What the states of the coins that were given say, where none of our outputs was signed.
fn judge(names: &[Y], states: &BTreeMap<Y, CoinState>, why: Option<MintFault>) -> Outcome {
    let is = |state| move |y: &Y| states.get(y) == Some(&state);
    let spent: Vec<_> = names
        .iter()
        .filter(|y| is(CoinState::Spent)(y))
        .copied()
        .collect();
    if !spent.is_empty() {
        Outcome::Spent(spent)
    } else if names.iter().all(is(CoinState::Unspent)) {
        Outcome::Open(Open::Unspent)
    } else if names.iter().any(is(CoinState::Pending)) {
        Outcome::Open(Open::Pending)
    } else {
        Outcome::Open(Open::Fault(why.unwrap_or(MintFault::Unread {
            status: 200,
            what: "no word on some coins",
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_of_which_nothing_is_said_is_not_unspent() {
        let names: Vec<_> = ["1", "2"].iter().map(|it| Y::of(it).unwrap()).collect();
        let says = |states: &[CoinState]| {
            let states = names.iter().copied().zip(states.iter().copied());
            judge(&names, &states.collect(), None)
        };
        use CoinState::{Pending, Spent, Unspent};
        assert!(matches!(says(&[Unspent]), Outcome::Open(Open::Fault(_))));
        let both = says(&[Unspent, Unspent]);
        assert!(matches!(both, Outcome::Open(Open::Unspent)));
        let pending = says(&[Unspent, Pending]);
        assert!(matches!(pending, Outcome::Open(Open::Pending)));
        assert!(matches!(says(&[Pending, Spent]), Outcome::Spent(spent) if spent == [names[1]]));
        assert!(matches!(says(&[Spent]), Outcome::Spent(_)));
    }
}
