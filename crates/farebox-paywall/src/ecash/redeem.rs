//! From somebody's coins to ours: the swap is written down, sent, and ended in the step that holds its
//! request.

use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use farebox_core::{AccountId, Binding, KeyEpoch, Kind, MethodClass, MintId, Msat, SwapId, Terms};
use farebox_ecash::{
    Attempt, Examined, KeysetKeys, Mint, MintFault, Open, Outcome, Output, Proof, Swap, Unit,
    ladder, proof_to_bytes,
};
use farebox_http::aside::aside;
use farebox_http::body_budget::Holder;
use farebox_ledger::{
    Admitted, ClaimPolicy, Funding, HoldRequest, NewCoin, Rail, SwapBegun, SwapEnd, SwapFacts,
    SwapRequest, SwapState, SwapView, Swapped, crash_point,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{Are, Brought, Coins, Ecash};
use crate::ask::Ask;
use crate::error::{EcashError, Error};

/// How long a request waits for its mint.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many swaps may wait for mints at once.
const MAX_WAITING: u64 = 256;

/// The mint has swapped, and nobody has written so: a test kills the process here.
pub const SWAPPED: &str = "swapped";

/// What a request needs of its coins.
pub(crate) struct Needs {
    /// The most that it can cost.
    pub(crate) at_most: Msat,
    /// Whether it costs exactly that, or all change is given at once in the end.
    pub(crate) is_exact: bool,
    /// Whose share of the calls to mints it is.
    pub(crate) holder: Holder,
}

/// The account of coins that are being swapped, until this is dropped.
pub(super) struct Running {
    ecash: Arc<Ecash>,
    account: AccountId,
}

/// What is known of coins that are being swapped.
pub(super) struct Run {
    mint: MintId,
    brings: Msat,
    /// Closed when it is over.
    over: Arc<Semaphore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = &self.ecash.running;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = running.remove(&self.account) {
            run.over.close();
        }
    }
}

impl Coins {
    /// What credits their account: a balance of what their swap brings.
    ///
    /// # Errors
    /// They do not pay for the request. Nothing was done with them.
    pub(crate) fn funding(&self, at_most: Msat, ask: &Ask<'_>) -> Result<Funding, EcashError> {
        let brought = match &self.are {
            Are::Ours(sold) if sold.terms.route != *ask.route => return Err(EcashError::Used),
            Are::Ours(sold) => return Ok((**sold).clone()),
            Are::Brought(brought) => brought,
        };
        let Examined {
            unit, face, fee, ..
        } = brought.examined;
        if self.worth < at_most {
            let needed = unit.covering(at_most).saturating_add(fee);
            return Err(EcashError::TooLittle { face, needed, unit });
        }
        Ok(Funding {
            rail: Rail::Ecash(brought.mint_id()),
            amount: self.worth,
            terms: Terms {
                amount: self.worth,
                kind: Kind::Balance,
                route: ask.route.clone(),
                methods: MethodClass::Any,
                binding: Binding::Route,
                epoch: ask.sale.epoch,
                valid_for: ask.sale.valid_for,
                claim_by: ask.received_at.plus(ask.sale.valid_for),
            },
            key_epoch: KeyEpoch(0),
            claims: ClaimPolicy::Open,
        })
    }
}

impl Ecash {
    /// Holds what a request costs on the account of its coins, and swaps them first where that was not
    /// done. It goes on to its end where nobody waits for it any more: what it brought is then on the
    /// account.
    ///
    /// # Errors
    /// Why nothing is held: the mint refused or does not answer, and the coins are still their holder's
    /// as far as is known; or the ledger does not answer.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        coins: Arc<Coins>,
        request: HoldRequest,
        needs: Needs,
    ) -> Result<Admitted, Error> {
        if coins.are_ours() {
            return Ok(self.ledger.hold(request).await?);
        }
        let running = self.run_alone(&coins).await?;
        let ecash = Arc::clone(self);
        let excuses = self.excuses(needs.holder);
        let task = tokio::spawn(async move {
            let held = ecash.redeem(&coins, request, needs).await;
            drop(running);
            held
        });
        let mut admitted = task.await.map_err(|_| EcashError::Busy)??;
        if let Admitted::Held(hold) = &mut admitted {
            hold.count_in(excuses);
        }
        Ok(admitted)
    }

    /// Requests that a balance pays for wait for the first of them, which has it swapped.
    async fn run_alone(self: &Arc<Self>, coins: &Coins) -> Result<Running, EcashError> {
        let Are::Brought(brought) = &coins.are else {
            return Err(EcashError::Plan);
        };
        let brings = (brought.mint_id(), coins.worth);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let over = match self.run(coins.account, brings) {
                Ok(running) => return Ok(running),
                Err(over) if coins.is_balance() => over,
                Err(_) => return Err(EcashError::InFlight),
            };
            // It has no places, and is closed in the end.
            let waited = timeout_at(deadline, over.acquire()).await;
            waited.map(drop).map_err(|_| EcashError::Untold)?;
        }
    }

    /// Lets nobody else of this process swap the coins of an account, which bring so much.
    ///
    /// # Errors
    /// Somebody does. What comes back is closed when that is over.
    pub(super) fn run(
        self: &Arc<Self>,
        account: AccountId,
        (mint, brings): (MintId, Msat),
    ) -> Result<Running, Arc<Semaphore>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.entry(account) {
            Entry::Occupied(run) => Err(Arc::clone(&run.get().over)),
            Entry::Vacant(place) => {
                let over = Arc::new(Semaphore::new(0));
                place.insert(Run { mint, brings, over });
                Ok(Running {
                    ecash: Arc::clone(self),
                    account,
                })
            }
        }
    }

    /// What swaps of other coins will bring that are running now.
    fn coming(&self, facts: &SwapFacts) -> Msat {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let others = running
            .iter()
            .filter(|(account, run)| **account != facts.account && run.mint == facts.mint);
        let mut amounts = others.map(|(_, run)| run.brings);
        let sum = amounts.try_fold(Msat::ZERO, Msat::checked_add);
        sum.unwrap_or(Msat::MAX)
    }

    async fn redeem(
        &self,
        coins: &Coins,
        mut request: HoldRequest,
        needs: Needs,
    ) -> Result<Admitted, Error> {
        let Are::Brought(brought) = &coins.are else {
            return Err(EcashError::Plan.into());
        };
        let known = self.ledger.swap_of(coins.account).await?;
        // What was sold is what the first request wrote down.
        if let Some(known) = &known {
            if known.terms.route != request.route {
                return Err(EcashError::Used.into());
            }
            request.funding = Some(known.funding());
            if known.state == SwapState::Done {
                self.remember(coins, known.funding());
                return Ok(self.ledger.hold(request).await?);
            }
        }
        // Before anything is written down.
        let place = self.waiting.take(MAX_WAITING, needs.holder, 1);
        let _place = place.map_err(|_| EcashError::Busy)?;
        let mut open = match known {
            Some(open) => Some((open.facts(), Arc::new(read(&open)?))),
            None => None,
        };
        let deadline = Instant::now() + PATIENCE;
        let mint = &brought.mint.mint;
        let mut may_plan_anew = true;
        let (facts, proofs) = loop {
            let (facts, swap, attempt) = match open.take() {
                Some((facts, swap)) => (facts, swap, Attempt::Again),
                None => {
                    let (facts, swap) = self.begin(coins, brought, &request, &needs).await?;
                    (facts, swap, Attempt::First)
                }
            };
            let outcome = mint.swap_until(&swap, attempt, deadline).await;
            crash_point(SWAPPED);
            match self.judge(mint, &facts, outcome).await {
                // It did nothing, for a keyset that was retired since it was listed.
                Err(Error::Ecash(EcashError::Refused(fault)))
                    if may_plan_anew && fault.is_of_keysets() && mint.has_retired(&swap).await =>
                {
                    may_plan_anew = false;
                }
                judged => break (facts, judged?),
            }
        };
        let unit = brought.examined.unit;
        let made = aside(None, move || new_coins(&proofs, unit)).await;
        request.swapped = Some(Box::new(Swapped {
            facts,
            coins: made.map_err(|_| EcashError::Busy)??,
        }));
        let sold = request.funding.clone();
        let admitted = self.ledger.hold(request).await?;
        if let Some(sold) = sold {
            self.remember(coins, sold);
        }
        Ok(admitted)
    }

    /// Plans a swap and writes it down.
    async fn begin(
        &self,
        coins: &Coins,
        brought: &Brought,
        request: &HoldRequest,
        needs: &Needs,
    ) -> Result<(SwapFacts, Arc<Swap>), Error> {
        let (funding, at) = (request.funding.as_ref(), request.now);
        let terms = funding.ok_or(EcashError::Plan)?.terms.clone();
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(crate::error::PaymentError::from)?;
        let id = SwapId::new(at, random);
        let swap = Arc::new(self.plan(brought, id, needs).await?);
        let names = brought.examined.names.iter().map(|y| *y.as_bytes());
        let facts = SwapFacts {
            id,
            mint: brought.mint_id(),
            account: coins.account,
            received: names.collect(),
        };
        let body = swap.to_bytes().map_err(|_| EcashError::Plan)?;
        let request = SwapRequest {
            facts: facts.clone(),
            terms,
            body: body.into(),
            most: brought.mint.most.saturating_sub(self.coming(&facts)),
            at,
        };
        match self.ledger.begin_swap(request).await? {
            SwapBegun::Begun => Ok((facts, swap)),
            SwapBegun::Exists(_) => Err(EcashError::InFlight.into()),
            SwapBegun::Overlaps => Err(EcashError::Overlaps.into()),
            SwapBegun::Exposed => Err(EcashError::Exposed.into()),
        }
    }

    /// What the coins are swapped for: what the request can cost apart from the rest, which goes back
    /// with the first byte, so that any part of it can go back later without a second swap.
    async fn plan(&self, brought: &Brought, id: SwapId, needs: &Needs) -> Result<Swap, Error> {
        let seed = self.seed.as_ref().ok_or(EcashError::NoSeed)?;
        let seed = seed.of_swap(id.as_bytes());
        let (mint, examined) = (&brought.mint.mint, &brought.examined);
        let keysets = mint.keysets().await.map_err(EcashError::Away)?;
        let active = keysets.active(examined.unit);
        let keyset = active.map_err(EcashError::from)?.id;
        let keys = mint.keys(keyset).await.map_err(EcashError::from)?;
        let amounts = amounts(&keys, examined, needs).ok_or(EcashError::TooMuch)?;
        let (inputs, fee) = (examined.proofs.clone(), examined.fee);
        let planned = aside(Some(needs.holder), move || {
            let outputs: Result<Vec<Output>, _> = (0..)
                .zip(amounts)
                .map(|(number, amount)| seed.output(keyset, number, amount))
                .collect();
            Swap::plan(inputs, fee, outputs.map_err(|_| EcashError::Plan)?)
                .map_err(|_| EcashError::Plan)
        });
        Ok(planned.await.map_err(|_| EcashError::Busy)??)
    }

    /// Writes down what became of a swap, where its coins are not ours.
    async fn judge(
        &self,
        mint: &Mint,
        facts: &SwapFacts,
        outcome: Outcome,
    ) -> Result<Vec<Proof>, Error> {
        let (end, error) = match outcome {
            Outcome::Done(proofs) => return Ok(proofs),
            Outcome::Refused(fault) => {
                if fault.is_of_keysets() {
                    // The next attempt finds what is new.
                    let _ = mint.list_anew().await;
                }
                let error = match fault {
                    MintFault::Refused { .. } => EcashError::Refused(fault),
                    away => EcashError::Away(away),
                };
                (SwapEnd::Refused, error)
            }
            Outcome::Spent(names) => {
                let mut dead = self.dead();
                for name in names {
                    dead.put(name, ());
                }
                (SwapEnd::Spent, EcashError::Spent)
            }
            Outcome::Open(Open::Unspent) => (SwapEnd::LetGo, EcashError::Untold),
            // It stays open: what was really signed is ours, and found again.
            Outcome::Misfit(misfit, _) => {
                tracing::error!(
                    mint = mint.url().as_str(), %misfit,
                    "a mint signed something else than it was asked for"
                );
                return Err(EcashError::Untold.into());
            }
            Outcome::Open(Open::Pending) => return Err(EcashError::Untold.into()),
            Outcome::Open(Open::Fault(fault)) => return Err(EcashError::Away(fault).into()),
        };
        let at = self.clock.now();
        self.ledger.end_swap(facts.clone(), end, at).await?;
        Err(error.into())
    }
}

fn read(open: &SwapView) -> Result<Swap, EcashError> {
    Swap::from_bytes(&open.body).map_err(|_| EcashError::Plan)
}

/// The amounts of the new coins, the smallest first, so that none tells what it is for. Of a price that is
/// exact there is one change, of any amount: a call that was given up may be followed by one at another
/// price. Of a price by use there are two: each part is a ladder, so that the first leaves coins of which any
/// second one can be made. None where they were too many.
fn amounts(keys: &KeysetKeys, examined: &Examined, needs: &Needs) -> Option<Vec<u64>> {
    let denominations = keys.denominations();
    let credit = examined.credit();
    if needs.is_exact {
        return ladder(credit, denominations);
    }
    let held = examined.unit.covering(needs.at_most).min(credit);
    let mut amounts = ladder(held, denominations)?;
    amounts.extend(ladder(credit - held, denominations)?);
    amounts.sort_unstable();
    Some(amounts)
}

pub(super) fn new_coins(proofs: &[Proof], unit: Unit) -> Result<Vec<NewCoin>, EcashError> {
    let coins = proofs.iter().map(|proof| {
        Ok(NewCoin {
            y: *proof.y().map_err(|_| EcashError::Plan)?.as_bytes(),
            worth: unit.worth(proof.amount).ok_or(EcashError::TooMuch)?,
            bytes: proof_to_bytes(proof).map_err(|_| EcashError::Plan)?.into(),
        })
    });
    coins.collect()
}
