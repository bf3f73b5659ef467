//! What goes back of coins: chosen out of those that their swap made, written down, and told with the same
//! text for ever.

use std::sync::Arc;

use farebox_core::{AccountId, Msat};
use farebox_ecash::{
    MintUrl, Proof, Unit, WithDleq, choose, digest, proof_from_bytes, write_token,
};
use farebox_http::body_budget::Holder;
use farebox_ledger::{
    ChangeRequest, CoinName, CoinState, CoinView, LedgerError, Standing, SwapState,
};

use super::{Coins, Ecash, EcashHeader, EcashText, read};
use crate::error::{EcashError, Error};
use crate::mints::Mints;

/// How often coins are chosen anew, where others took one of them meanwhile.
const ATTEMPTS: usize = 3;

/// Change that is due to whoever paid a request with coins: told when its answer leaves.
pub struct ChangeDue {
    ecash: Arc<Ecash>,
    account: AccountId,
    mint: MintUrl,
    unit: Unit,
    header: EcashHeader,
}

/// The part of a choice that is told, and what it needs.
struct Choice {
    given: Vec<CoinName>,
    freed: Vec<CoinName>,
    amount: Msat,
    text: Arc<str>,
}

/// What is left of coins, for whoever has them as a text.
pub struct PickUp {
    /// Every part that was told, the same to whoever asks again.
    pub told: Vec<Arc<str>>,
    /// The unit of the coins.
    pub unit: Unit,
}

impl Ecash {
    /// Tells what is left of coins that paid for a request. They are never redeemed.
    ///
    /// # Errors
    /// They never paid here, or their request is still being served.
    pub async fn pick_up(
        self: &Arc<Self>,
        brought: EcashText,
        mints: &Mints,
        holder: Holder,
    ) -> Result<PickUp, Error> {
        let token = read(brought.text, holder).await?;
        let mint = mints.find(&token.mint);
        let mint = &mint
            .ok_or_else(|| EcashError::Mint(token.mint.clone()))?
            .mint;
        let names: Vec<_> = token.proofs.iter().map(|proof| proof.y).collect();
        let account = AccountId::from_bytes(digest(mint.url(), &names));
        let swap = self.ledger.swap_of(account).await?;
        let swap = swap.ok_or(EcashError::NeverPaid)?;
        let named = mints.find_unit(swap.mint);
        let (_, unit) = named.ok_or(EcashError::Untold)?;
        if swap.state == SwapState::Open {
            return Err(EcashError::Running.into());
        }
        let due = ChangeDue {
            ecash: Arc::clone(self),
            account,
            mint: mint.url().clone(),
            unit,
            header: brought.header,
        };
        let told = due.tell().await?;
        let standing = self.ledger.standing(account).await?;
        if told.is_empty() && standing.is_some_and(|standing| standing.is_in_use) {
            return Err(EcashError::Running.into());
        }
        Ok(PickUp { told, unit })
    }
}

impl ChangeDue {
    pub(crate) fn of(ecash: &Arc<Ecash>, coins: &Coins) -> Self {
        Self {
            ecash: Arc::clone(ecash),
            account: coins.account,
            mint: coins.mint.mint.url().clone(),
            unit: coins.examined.unit,
            header: coins.header,
        }
    }

    /// The header in which it is told.
    #[must_use]
    pub const fn header(&self) -> &'static str {
        self.header.change()
    }

    /// Tells what is free of it now, and what was told before with the same text: a part each. None where
    /// there is nothing to tell yet.
    ///
    /// # Errors
    /// The ledger does not answer: it can be fetched later.
    pub async fn tell(&self) -> Result<Vec<Arc<str>>, Error> {
        for _ in 0..ATTEMPTS {
            let Some(standing) = self.ecash.ledger.standing(self.account).await? else {
                return Ok(Vec::new());
            };
            let coins = self.ecash.ledger.coins_of(self.account).await?;
            let Some(choice) = self.choose(&standing, &coins)? else {
                return Ok(standing.told);
            };
            let request = ChangeRequest {
                account: self.account,
                part: standing.told.len(),
                given: choice.given,
                freed: choice.freed,
                amount: choice.amount,
                text: choice.text,
                at: self.ecash.clock.now(),
            };
            match self.ecash.ledger.tell_change(request).await {
                Ok(change) => return Ok(change.told),
                Err(LedgerError::CoinTaken | LedgerError::InUse | LedgerError::NoChange) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(EcashError::Busy.into())
    }

    /// What is told now: all that is free, as far as whole coins go. Where nothing is held any more and
    /// nothing is left to tell, the other coins are freed with it.
    fn choose(
        &self,
        standing: &Standing,
        coins: &[CoinView],
    ) -> Result<Option<Choice>, EcashError> {
        let reserved = coins.iter();
        let reserved: Vec<_> = reserved
            .filter(|coin| coin.state == CoinState::Reserved)
            .collect();
        let units: Vec<_> = reserved
            .iter()
            .map(|it| self.unit.within(it.worth))
            .collect();
        // What no choice makes exactly stays on the account.
        let places = choose(&units, self.unit.within(standing.free));
        let count: u64 = places.iter().filter_map(|place| units.get(*place)).sum();
        let is_over = !standing.is_in_use;
        let is_given = |place: &usize| places.contains(place);
        let names = |given: bool| -> Vec<CoinName> {
            let all = reserved.iter().enumerate();
            let wanted = all.filter(|(place, _)| is_given(place) == given);
            wanted.map(|(_, coin)| coin.name).collect()
        };
        let is_whole = count == self.unit.within(standing.free);
        let freed = if is_over && is_whole {
            names(false)
        } else {
            Vec::new()
        };
        if places.is_empty() && freed.is_empty() {
            return Ok(None);
        }
        let proofs: Result<Vec<Proof>, _> = places
            .iter()
            .filter_map(|place| reserved.get(*place))
            .map(|coin| proof_from_bytes(&coin.bytes))
            .collect();
        let proofs = proofs.map_err(|_| EcashError::Plan)?;
        let text = if proofs.is_empty() {
            Arc::default()
        } else {
            write_token(&self.mint, self.unit, &proofs, WithDleq::LeftOut).into()
        };
        Ok(Some(Choice {
            given: names(true),
            freed,
            amount: self.unit.worth(count).ok_or(EcashError::TooMuch)?,
            text,
        }))
    }
}
