//! Swaps whose end nobody waits for: after a crash, a lost answer, or a client that gave up. What became of
//! them is asked by and by, and credited; the holder of the token fetches it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{SwapId, UnixMillis};
use farebox_ecash::{Open, Outcome, Swap};
use farebox_http::aside::aside;
use farebox_ledger::{SwapEnd, SwapView};
use tokio::time::MissedTickBehavior;

use super::Ecash;
use super::redeem::new_coins;
use crate::error::{EcashError, Error};
use crate::mints::Mints;

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

/// Swaps that came to nothing and were looked at again, how often.
#[derive(Default)]
struct Looked(HashSet<(SwapId, usize)>);

/// Goes on until it is dropped. `mints` gives those whose coins are taken at the moment.
pub async fn sweep(ecash: Arc<Ecash>, mints: impl Fn() -> Mints) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Looked::default();
    loop {
        ticks.tick().await;
        let mints = mints();
        if let Err(error) = ecash.sweep(&mints, &mut looked).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "swaps of ecash cannot be looked at; later again");
        }
    }
}

impl Ecash {
    async fn sweep(self: &Arc<Self>, mints: &Mints, looked: &mut Looked) -> Result<(), Error> {
        for swap in self.ledger.open_swaps().await? {
            self.try_to_finish(mints, &swap).await;
        }
        let now = self.clock.now();
        let since = UnixMillis::new(now.get().saturating_sub(millis(VAIN_FOR)));
        for swap in self.ledger.vain_swaps(since).await? {
            let ended_at = swap.ended_at.unwrap_or(now);
            let is_due = |after: &Duration| ended_at.plus(*after) <= now;
            let due = AGAIN_AFTER.iter().filter(|after| is_due(after)).count();
            if due > 0 && looked.0.insert((swap.id, due)) {
                self.try_to_finish(mints, &swap).await;
            }
        }
        Ok(())
    }

    /// What cannot be finished keeps nobody else's from it.
    async fn try_to_finish(self: &Arc<Self>, mints: &Mints, swap: &SwapView) {
        if let Err(error) = self.finish(mints, swap).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, swap = %swap.id, "a swap of ecash cannot be looked at; later again");
        }
    }

    /// Finds out what became of a swap, without sending it again.
    async fn finish(self: &Arc<Self>, mints: &Mints, view: &SwapView) -> Result<(), Error> {
        let Some((trusted, unit)) = mints.find_unit(view.mint) else {
            return Ok(());
        };
        // Whoever waits for it does so himself.
        let Ok(_running) = self.run(view.account) else {
            return Ok(());
        };
        let swap = Swap::from_bytes(&view.body).map_err(|_| EcashError::Plan)?;
        let is_open = !view.state.came_to_nothing();
        let end = match trusted.mint.look(&Arc::new(swap), None).await {
            Outcome::Done(proofs) => {
                let coins = aside(None, move || new_coins(&proofs, unit)).await;
                SwapEnd::Done(coins.map_err(|_| EcashError::Busy)??)
            }
            Outcome::Spent if is_open => SwapEnd::Spent,
            Outcome::Open(Open::Unspent) if is_open => SwapEnd::LetGo,
            Outcome::Misfit(misfit, _) => {
                let mint = trusted.mint.url().as_str();
                tracing::error!(mint, %misfit, "a mint signed something else than it was asked for");
                return Ok(());
            }
            Outcome::Spent | Outcome::Refused(_) | Outcome::Open(_) => return Ok(()),
        };
        self.ledger
            .end_swap(view.facts(), end, self.clock.now())
            .await?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
