//! What goes back of coins: chosen out of those that their swap made, written down, and told with the same
//! text for ever.

use std::sync::Arc;

use farebox_core::{AccountId, Msat};
use farebox_ecash::{
    MintUrl, Proof, Token, Unit, WithDleq, choose, digest, gives_any, keep, proof_from_bytes,
    write_token,
};
use farebox_http::body_budget::Holder;
use farebox_ledger::{
    ChangeRequest, CoinName, CoinState, CoinView, LedgerError, Standing, SwapState,
};

use super::{Are, Coins, Ecash, EcashText, read};
use crate::error::{EcashError, Error};
use crate::mints::{TrustedMint, mint_id};

/// More than any coin has in the text of a token, in bytes.
const LONGEST_COIN: usize = 400;
/// How often coins are chosen anew, where others took one of them meanwhile.
const ATTEMPTS: usize = 8;

/// Change that is due to whoever paid a request with coins: told when its answer leaves.
pub struct ChangeDue {
    ecash: Arc<Ecash>,
    left: Left,
    header: &'static str,
}

/// What is left of coins, on their account.
struct Left {
    account: AccountId,
    mint: MintUrl,
    unit: Unit,
    /// Whether what is held of it comes back whole or not at all, as far as that is known.
    is_exact: bool,
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
    pub async fn pick_up(&self, brought: EcashText, holder: Holder) -> Result<PickUp, Error> {
        let Token { mint, proofs, .. } = read(brought.text, holder).await?;
        let names: Vec<_> = proofs.iter().map(|proof| proof.y).collect();
        let account = AccountId::from_bytes(digest(&mint, &names));
        let swap = self.ledger.swap_of(account).await?;
        let swap = swap.ok_or(EcashError::NeverPaid)?;
        // Its mint may not be trusted any more: what is owed is owed.
        let units = Unit::ALL.into_iter();
        let mut of_swap = units.filter(|unit| mint_id(&mint, *unit) == swap.mint);
        let unit = of_swap.next().ok_or(EcashError::Plan)?;
        if swap.state == SwapState::Open {
            return Err(EcashError::Running.into());
        }
        let left = Left {
            account,
            mint,
            unit,
            is_exact: false,
        };
        let told = self.tell(&left, None).await?;
        let standing = self.ledger.standing(account).await?;
        if told.is_empty() && standing.is_some_and(|standing| standing.is_in_use) {
            return Err(EcashError::Running.into());
        }
        Ok(PickUp { told, unit })
    }
}

impl ChangeDue {
    /// Of a balance none is due before its holder fetches it.
    pub(crate) fn of(ecash: &Arc<Ecash>, coins: &Coins, is_exact: bool) -> Option<Self> {
        let Are::Brought(brought) = &coins.are else {
            return None;
        };
        Some(Self {
            ecash: Arc::clone(ecash),
            left: Left {
                account: coins.account,
                mint: brought.mint.mint.url().clone(),
                unit: brought.examined.unit,
                is_exact,
            },
            header: coins.header.change()?,
        })
    }

    /// The header in which it is told.
    #[must_use]
    pub const fn header(&self) -> &'static str {
        self.header
    }

    /// Tells what is free of it now, and what was told before with the same text: a part each. None where
    /// there is nothing to tell yet.
    ///
    /// # Errors
    /// The ledger does not answer: it can be fetched later.
    pub async fn tell(&self) -> Result<Vec<Arc<str>>, Error> {
        self.ecash.tell(&self.left, None).await
    }

    /// The same where a part may have so many bytes: the largest coins, and the others later.
    ///
    /// # Errors
    /// As of [`tell`](Self::tell).
    pub async fn tell_within(&self, longest: usize) -> Result<Vec<Arc<str>>, Error> {
        self.ecash.tell(&self.left, Some(longest)).await
    }
}

impl Ecash {
    async fn tell(&self, left: &Left, longest: Option<usize>) -> Result<Vec<Arc<str>>, Error> {
        for _ in 0..ATTEMPTS {
            let Some(standing) = self.ledger.standing(left.account).await? else {
                return Ok(Vec::new());
            };
            let coins = self.ledger.coins_of(left.account).await?;
            let Some(choice) = left.choose(&standing, &coins, longest)? else {
                // Somebody else may have told it between the two questions.
                let now = self.ledger.standing(left.account).await?;
                if now.as_ref() == Some(&standing) {
                    return Ok(standing.told);
                }
                continue;
            };
            let request = ChangeRequest {
                account: left.account,
                part: standing.told.len(),
                given: choice.given,
                freed: choice.freed,
                amount: choice.amount,
                text: choice.text,
                at: self.clock.now(),
            };
            match self.ledger.tell_change(request).await {
                Ok(change) => return Ok(change.told),
                Err(LedgerError::CoinTaken | LedgerError::InUse | LedgerError::NoChange) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(EcashError::Busy.into())
    }
}

impl Ecash {
    /// Frees coins that are reserved for accounts of which nothing is left.
    pub(super) async fn free_used_up(
        &self,
        trusted: &TrustedMint,
        unit: Unit,
    ) -> Result<(), Error> {
        let mint = trusted.mint.url();
        let mut after = 0;
        loop {
            let page = self.ledger.reserved_accounts(mint_id(mint, unit), after);
            let page = page.await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (_, account) in page {
                let left = Left {
                    account,
                    mint: mint.clone(),
                    unit,
                    is_exact: false,
                };
                let standing = self.ledger.standing(account).await?;
                if standing.is_some_and(|standing| left.is_nothing(&standing)) {
                    self.tell(&left, None).await?;
                }
            }
        }
    }
}

impl Left {
    /// Whether nobody can want anything of it any more.
    fn is_nothing(&self, standing: &Standing) -> bool {
        let is_closed = !standing.told.is_empty() && self.unit.within(standing.free) == 0;
        !standing.is_in_use && (standing.free.is_zero() || is_closed)
    }

    /// What is told now: all that is free, as far as whole coins go, and while an amount is held that nobody
    /// knows yet, as far as any part of it can be given later. Where nothing is held any more and nothing is
    /// left to tell, the other coins are freed with it.
    fn choose(
        &self,
        standing: &Standing,
        coins: &[CoinView],
        longest: Option<usize>,
    ) -> Result<Option<Choice>, EcashError> {
        let reserved = coins.iter();
        let reserved: Vec<_> = reserved
            .filter(|coin| coin.state == CoinState::Reserved)
            .collect();
        let units: Vec<_> = reserved
            .iter()
            .map(|it| self.unit.within(it.worth))
            .collect();
        let is_over = !standing.is_in_use;
        let free = self.unit.within(standing.free);
        // What no choice makes exactly stays on the account.
        let fewest = choose(&units, free);
        let places = if is_over || self.is_exact || can_give_any(&units, &fewest) {
            fewest
        } else {
            all_but_kept(&units, free)
        };
        let mut proofs = Vec::with_capacity(places.len());
        for place in &places {
            let coin = reserved.get(*place).ok_or(EcashError::Plan)?;
            proofs.push(proof_from_bytes(&coin.bytes).map_err(|_| EcashError::Plan)?);
        }
        let (text, count) = self.write(&proofs, longest);
        // The largest came first.
        let places = places.get(..count).unwrap_or_default();
        let sum: u64 = places.iter().filter_map(|place| units.get(*place)).sum();
        let is_given = |place: &usize| places.contains(place);
        let names = |given: bool| -> Vec<CoinName> {
            let all = reserved.iter().enumerate();
            let wanted = all.filter(|(place, _)| is_given(place) == given);
            wanted.map(|(_, coin)| coin.name).collect()
        };
        let is_whole = sum == free;
        let freed = if is_over && is_whole {
            names(false)
        } else {
            Vec::new()
        };
        if places.is_empty() && freed.is_empty() {
            return Ok(None);
        }
        Ok(Some(Choice {
            given: names(true),
            freed,
            amount: self.unit.worth(sum).ok_or(EcashError::TooMuch)?,
            text,
        }))
    }

    /// A token of as many of these coins, from the first on, as there is room for; and how many those are.
    fn write(&self, proofs: &[Proof], longest: Option<usize>) -> (Arc<str>, usize) {
        let mut count = proofs.len();
        while let Some(proofs) = proofs.get(..count).filter(|proofs| !proofs.is_empty()) {
            let text = write_token(&self.mint, self.unit, proofs, WithDleq::LeftOut);
            let excess = longest.map_or(0, |longest| text.len().saturating_sub(longest));
            if excess == 0 {
                return (text.into(), count);
            }
            // No fewer than are certainly too many.
            count -= (excess / LONGEST_COIN).max(1).min(count);
        }
        (Arc::default(), 0)
    }
}

/// Whether of the coins that stay any amount can be given.
fn can_give_any(units: &[u64], going: &[usize]) -> bool {
    let stay = units.iter().enumerate();
    let stay = stay.filter(|(place, _)| !going.contains(place));
    gives_any(stay.map(|(_, units)| *units).collect())
}

/// The coins that can go now, of which `free` may go, so that of those that stay any amount can be given.
fn all_but_kept(units: &[u64], free: u64) -> Vec<usize> {
    let sum: u64 = units.iter().sum();
    let kept = keep(units, sum.saturating_sub(free));
    let goes = |place: &usize| !kept.contains(place);
    let mut places: Vec<_> = (0..units.len()).filter(goes).collect();
    places.sort_by_key(|place| std::cmp::Reverse(units.get(*place).copied()));
    let count: u64 = places.iter().filter_map(|place| units.get(*place)).sum();
    if count > free { Vec::new() } else { places }
}
