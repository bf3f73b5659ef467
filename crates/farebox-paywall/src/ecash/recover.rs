//! Swaps whose end nobody waits for: after a crash, a lost answer, or a client that gave up. What became of
//! them is asked by and by, and credited; the holder of the token fetches it.
//!
//! Each mint is walked through by itself, so that one that is away keeps nobody else's money waiting.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{MintId, SwapId, UnixMillis};
use farebox_ecash::{Open, Outcome, Swap, Unit, Y};
use farebox_http::aside::aside;
use farebox_ledger::{SwapEnd, SwapView};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::redeem::new_coins;
use super::{Ecash, Till};
use crate::error::{EcashError, Error};
use crate::mints::{TrustedMint, mint_id};

/// How often open swaps are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// The pause between two of them: the mint has more to do.
const PAUSE: Duration = Duration::from_millis(50);
/// When a swap that came to nothing is looked at again: a request that was under way may have landed.
const AGAIN_AFTER: [Duration; 2] = [
    Duration::from_secs(60 * 60),
    Duration::from_secs(24 * 60 * 60),
];
/// How long such swaps are looked at after a start at all.
const VAIN_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often coins are freed that a crash left reserved.
const FREE_EVERY: Duration = Duration::from_secs(60 * 60);
/// The longest that a mint is left alone which does not answer.
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);

/// How far the swaps at a unit of a mint were looked at.
struct Walk {
    mint: MintId,
    unit: Unit,
    /// Until when those that came to nothing were looked at, for each time they are looked at again.
    looked_until: [UnixMillis; AGAIN_AFTER.len()],
    /// Swaps of which the mint signed something else: said once, and for people to look at.
    odd: HashSet<SwapId>,
    /// For how long the mint is left alone after its next fault, and until when it is.
    rest: Duration,
    rests_until: Instant,
    /// When coins are freed next that nobody has a claim on.
    frees_at: Instant,
}

/// The mint does not answer: later again.
struct Away;

/// Goes on until it is dropped.
pub async fn sweep(till: Till) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A mint's is missing while it is walked through.
    let mut walks: HashMap<MintId, Option<Walk>> = HashMap::new();
    let mut walking = JoinSet::new();
    loop {
        ticks.tick().await;
        while let Some(done) = walking.try_join_next() {
            // One that panicked is over for this run, and the panic was told.
            if let Ok(walk) = done {
                let walk: Walk = walk;
                walks.insert(walk.mint, Some(walk));
            }
        }
        for trusted in (till.mints)().iter() {
            for unit in trusted.mint.units() {
                let id = mint_id(trusted.mint.url(), *unit);
                let kept = walks
                    .entry(id)
                    .or_insert_with(|| Some(Walk::new(id, *unit, &till.ecash)));
                if let Some(walk) = kept.take_if(|walk| walk.rests_until <= Instant::now()) {
                    walking.spawn(walk.go(till.clone(), trusted.clone()));
                }
            }
        }
    }
}

impl Walk {
    fn new(mint: MintId, unit: Unit, ecash: &Ecash) -> Self {
        let now = ecash.clock.now();
        // After a start all are looked at once.
        let mut looked_until = AGAIN_AFTER.map(|after| before(now, after));
        looked_until[0] = before(now, VAIN_FOR);
        Self {
            mint,
            unit,
            looked_until,
            odd: HashSet::new(),
            rest: EVERY,
            rests_until: Instant::now(),
            frees_at: Instant::now(),
        }
    }

    async fn go(mut self, till: Till, trusted: TrustedMint) -> Self {
        match self.walk(&till, &trusted).await {
            Ok(ControlFlow::Continue(())) => self.rest = EVERY,
            Ok(ControlFlow::Break(Away)) => self.rest(),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "swaps of ecash cannot be looked at; later again");
                self.rest();
            }
        }
        self
    }

    fn rest(&mut self) {
        self.rests_until = Instant::now() + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    async fn walk(
        &mut self,
        till: &Till,
        trusted: &TrustedMint,
    ) -> Result<ControlFlow<Away>, Error> {
        let ecash = &till.ecash;
        // Known before somebody asks, and an hour old at most.
        if let Err(fault) = trusted.mint.keysets().await {
            let (mint, fault): (_, &dyn std::error::Error) = (trusted.mint.url(), &fault);
            tracing::warn!(
                mint = mint.as_str(),
                fault,
                "a mint does not answer: its coins buy nothing now"
            );
            return Ok(ControlFlow::Break(Away));
        }
        for swap in ecash.ledger.open_swaps().await? {
            if swap.mint == self.mint && self.look(ecash, trusted, &swap).await.is_break() {
                return Ok(ControlFlow::Break(Away));
            }
        }
        for (stage, after) in AGAIN_AFTER.into_iter().enumerate() {
            let until = before(ecash.clock.now(), after);
            while self.looked_until[stage] < until {
                let span = self.looked_until[stage]..until;
                let vain = ecash.ledger.vain_swaps(self.mint, span).await?;
                for swap in &vain {
                    if self.look(ecash, trusted, swap).await.is_break() {
                        return Ok(ControlFlow::Break(Away));
                    }
                    self.looked_until[stage] = swap.ended_at.unwrap_or(until).plus(MOMENT);
                }
                if vain.is_empty() {
                    self.looked_until[stage] = until;
                }
            }
        }
        if let Err(error) = till.go_on(trusted, self.unit).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a withdrawal is open; later again");
            return Ok(ControlFlow::Break(Away));
        }
        if self.frees_at <= Instant::now() {
            self.frees_at = Instant::now() + FREE_EVERY;
            ecash.free_used_up(trusted, self.unit).await?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Looks at one. What cannot be finished keeps no other from it.
    async fn look(
        &mut self,
        ecash: &Arc<Ecash>,
        trusted: &TrustedMint,
        view: &SwapView,
    ) -> ControlFlow<Away> {
        if self.odd.contains(&view.id) {
            return ControlFlow::Continue(());
        }
        // Whoever waits for it does so himself.
        let Ok(_running) = ecash.run(view.account, (view.mint, view.terms.amount)) else {
            return ControlFlow::Continue(());
        };
        let outcome = match Swap::from_bytes(&view.body) {
            Ok(swap) => trusted.mint.look(&Arc::new(swap), None).await,
            Err(error) => {
                tracing::error!(%error, swap = %view.id, "a swap of ecash");
                self.odd.insert(view.id);
                return ControlFlow::Continue(());
            }
        };
        let mint = trusted.mint.url().as_str();
        match outcome {
            Outcome::Misfit(misfit, _) => {
                tracing::error!(mint, %misfit, swap = %view.id, "a mint signed something else than it was asked for");
                self.odd.insert(view.id);
            }
            Outcome::Open(Open::Fault(fault)) => {
                let fault: &dyn std::error::Error = &fault;
                tracing::warn!(
                    mint,
                    fault,
                    "a mint does not say what became of swaps; later again"
                );
                return ControlFlow::Break(Away);
            }
            outcome => {
                if let Err(error) = self.note(ecash, view, outcome).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, swap = %view.id, "a swap of ecash cannot be ended; later again");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        ControlFlow::Continue(())
    }

    /// Writes down what became of a swap that nobody waits for, where that is known.
    async fn note(&self, ecash: &Ecash, view: &SwapView, outcome: Outcome) -> Result<(), Error> {
        let unit = self.unit;
        let is_open = !view.state.came_to_nothing();
        let end = match outcome {
            Outcome::Done(proofs) => {
                let coins = aside(None, move || new_coins(&proofs, unit)).await;
                SwapEnd::Done(coins.map_err(|_| EcashError::Busy)??)
            }
            Outcome::Spent(_) if is_open => SwapEnd::Spent,
            Outcome::Open(Open::Unspent) if is_open => SwapEnd::LetGo,
            _ => return Ok(()),
        };
        let is_done = matches!(end, SwapEnd::Done(_));
        let at = ecash.clock.now();
        ecash.ledger.end_swap(view.facts(), end, at).await?;
        if is_done {
            // They were spent for us, whatever was thought before.
            let mut dead = ecash.dead();
            for name in view.received.iter() {
                dead.pop(&Y::from_bytes(*name));
            }
        }
        Ok(())
    }
}

/// The least difference of two instants.
const MOMENT: Duration = Duration::from_millis(1);

fn before(now: UnixMillis, span: Duration) -> UnixMillis {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(span))
}
