//! The seller's own coins: what there is of them, and how they leave.
//!
//! Income leaves as a token after a swap. The swap stands in the ledger before its mint is called, is sent
//! until it is known what became of it, also after a restart, and the token stands there before it is told.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Msat, WithdrawalId};
use farebox_ecash::{
    Attempt, KeysFault, KeysetError, Keysets, Mint, MintFault, MintUrl, Open, Outcome, Output,
    Proof, Swap, Unit, WithDleq, choose, fee, proof_from_bytes, split, write_token,
};
use farebox_http::aside::aside;
use farebox_ledger::{
    CoinView, LedgerError, Stock, WithdrawalEnd, WithdrawalRequest, WithdrawalState,
    WithdrawalView, crash_point,
};
use tokio::time::Instant;

use super::Ecash;
use super::redeem::new_coins;
use crate::error::EcashError;
use crate::mints::{Mints, TrustedMint, mint_id};

/// How long whoever withdraws waits for the mint.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many coins leave at once, at most: mints limit what one swap takes.
const MAX_LEAVING: u32 = 500;

/// The mint has swapped, and nobody has written so: a test kills the process here.
pub const WITHDRAWN: &str = "withdrawn";

/// The seller's side of ecash.
#[derive(Clone)]
pub struct Till {
    pub(super) ecash: Arc<Ecash>,
    /// Those whose coins are taken at the moment.
    pub(super) mints: Arc<dyn Fn() -> Mints + Send + Sync>,
}

/// What is to leave.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its id: the same wish again is the same withdrawal.
    pub id: WithdrawalId,
    /// Of which mint.
    pub mint: MintUrl,
    /// In which unit.
    pub unit: Unit,
    /// How much the token is to be worth, in the unit; none for all that is free.
    pub amount: Option<u64>,
}

/// Why no token is there.
#[derive(Debug, thiserror::Error)]
pub enum TillError {
    /// The configuration has no such unit of such a mint.
    #[error("the configuration has no {unit} of {mint}: name it as [[mint]] does")]
    NoMint {
        /// The mint.
        mint: MintUrl,
        /// The unit.
        unit: Unit,
    },
    /// There is less.
    #[error("at most {most} {unit} can be taken out now, with the mint's fee off")]
    Short {
        /// How much there is, in the unit, less the fee.
        most: u64,
        /// The unit.
        unit: Unit,
    },
    /// The mint refused: the coins are free again.
    #[error("the mint refuses the swap, and the coins are as they were: {0}")]
    Refused(#[source] MintFault),
    /// Nothing was sent.
    #[error("the mint is not reached, and the coins are as they were")]
    Away(#[source] MintFault),
    /// It is not known yet what became of it; it is found out.
    #[error("the mint does not say what became of the swap; it is asked again by and by")]
    Unclear,
    /// The mint's keys changed before it was done: the coins are free again.
    #[error("the mint has other keys now, and the coins are as they were: take them out once more")]
    Outdated,
    /// Somebody else had spent some of the coins.
    #[error("some of the coins had been spent by somebody else; the others are free again")]
    Lost,
    /// There is no work room, or no secret, or what was written cannot be read.
    #[error(transparent)]
    Ecash(#[from] EcashError),
    /// The mint cannot be asked for its keys, or shows unusable ones.
    #[error("the mint's keys cannot be had")]
    Keys(#[from] KeysFault),
    /// The ledger does not answer.
    #[error("the ledger does not answer")]
    Ledger(#[from] LedgerError),
}

/// What there is of a unit of a mint.
pub struct Shelf {
    /// What there is.
    pub stock: Stock,
    /// The mint and the unit, where the configuration has it.
    pub of: Option<(TrustedMint, Unit)>,
}

/// A withdrawal as it was planned.
struct Plan {
    swap: Swap,
    coins: Arc<[[u8; 33]]>,
    /// What the token is worth, and what the mint takes, in the unit.
    amount: u64,
    fee: u64,
}

impl Till {
    /// The till of this gateway. `mints` gives those whose coins are taken at the moment.
    pub fn new(ecash: Arc<Ecash>, mints: impl Fn() -> Mints + Send + Sync + 'static) -> Self {
        Self {
            ecash,
            mints: Arc::new(mints),
        }
    }

    /// What there is, of every unit of every mint of the configuration and of those that are left of others.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn stock(&self) -> Result<Vec<Shelf>, TillError> {
        let mints = (self.mints)();
        let mut kept = self.ecash.ledger.stock().await?;
        let mut shelves = Vec::new();
        for trusted in mints.iter() {
            for unit in trusted.mint.units() {
                let id = mint_id(trusted.mint.url(), *unit);
                let at = kept.iter().position(|stock| stock.mint == id);
                shelves.push(Shelf {
                    stock: at.map_or_else(|| Stock::none(id), |at| kept.remove(at)),
                    of: Some((trusted.clone(), *unit)),
                });
            }
        }
        shelves.extend(kept.into_iter().map(|stock| Shelf { stock, of: None }));
        Ok(shelves)
    }

    /// Takes coins out as a token. It goes on to its end where nobody waits for it any more; asked again
    /// with the same id, the same token is told.
    ///
    /// # Errors
    /// Why nothing leaves. Where it is not known yet what became of it, it stays open and is found out.
    pub async fn withdraw(&self, wish: Wish) -> Result<WithdrawalView, TillError> {
        let mints = (self.mints)();
        let trusted = mints.find(&wish.mint);
        let trusted = trusted.filter(|it| it.mint.units().contains(&wish.unit));
        let Some(trusted) = trusted else {
            let (mint, unit) = (wish.mint, wish.unit);
            return Err(TillError::NoMint { mint, unit });
        };
        let mint = Arc::clone(&trusted.mint);
        let till = self.clone();
        let task = tokio::spawn(async move { till.take_out(&mint, &wish).await });
        task.await.map_err(|_| EcashError::Busy)?
    }

    /// The latest withdrawals, up to 1,000, and the mint and the unit of each where the configuration has it.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn withdrawals(&self) -> Result<Vec<WithdrawalView>, TillError> {
        Ok(self.ecash.ledger.withdrawals().await?)
    }

    /// One withdrawal.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn withdrawal(&self, id: WithdrawalId) -> Result<Option<WithdrawalView>, TillError> {
        Ok(self.ecash.ledger.withdrawal(id).await?)
    }

    async fn take_out(&self, mint: &Arc<Mint>, wish: &Wish) -> Result<WithdrawalView, TillError> {
        // One at a time: the next one finds what this one leaves.
        let _one = self.ecash.withdrawing.lock().await;
        if let Some(known) = self.ecash.ledger.withdrawal(wish.id).await? {
            if known.state != WithdrawalState::Open {
                return Ok(known);
            }
            return self.send_out(mint, wish.unit, &known, Attempt::Again).await;
        }
        let id = mint_id(mint.url(), wish.unit);
        let free = self.ecash.ledger.free_coins(id, MAX_LEAVING).await?;
        let plan = self.plan_withdrawal(mint, wish, free).await?;
        let msat = |amount| wish.unit.worth(amount).ok_or(EcashError::TooMuch);
        let request = WithdrawalRequest {
            id: wish.id,
            mint: id,
            coins: Arc::clone(&plan.coins),
            amount: msat(plan.amount)?,
            fee: msat(plan.fee)?,
            body: plan.swap.to_bytes().map_err(|_| EcashError::Plan)?.into(),
            at: self.ecash.clock.now(),
        };
        let begun = self.ecash.ledger.begin_withdrawal(request).await?;
        self.send_out(mint, wish.unit, &begun, Attempt::First).await
    }

    async fn plan_withdrawal(
        &self,
        mint: &Mint,
        wish: &Wish,
        free: Vec<CoinView>,
    ) -> Result<Plan, TillError> {
        let keysets = mint.keysets().await.map_err(KeysFault::from)?;
        let keyset = keysets.active(wish.unit).map_err(KeysFault::from)?.id;
        let keys = mint.keys(keyset).await?;
        let seed = self.ecash.income.as_ref().ok_or(EcashError::NoSeed)?;
        let seed = seed.of_swap(wish.id.as_bytes());
        let (coins, inputs, amount, fee) = pick(&keysets, free, wish)?;
        let all: u64 = inputs.iter().map(|proof| proof.amount).sum();
        let denominations = keys.denominations();
        let mut amounts = split(amount, denominations).ok_or(EcashError::TooMuch)?;
        let rest = split(all - fee - amount, denominations);
        amounts.extend(rest.ok_or(EcashError::TooMuch)?);
        amounts.sort_unstable();
        let planned = aside(None, move || {
            let outputs = (0..).zip(amounts);
            let outputs = outputs.map(|(number, amount)| seed.output(keyset, number, amount));
            let outputs: Result<Vec<Output>, _> = outputs.collect();
            let outputs = outputs.map_err(|_| EcashError::Plan)?;
            Swap::plan(inputs, fee, outputs).map_err(|_| EcashError::Plan)
        });
        Ok(Plan {
            swap: planned.await.map_err(|_| EcashError::Busy)??,
            coins,
            amount,
            fee,
        })
    }

    /// Sends an open withdrawal to its mint, and writes down what became of it.
    async fn send_out(
        &self,
        mint: &Mint,
        unit: Unit,
        open: &WithdrawalView,
        attempt: Attempt,
    ) -> Result<WithdrawalView, TillError> {
        let swap = Swap::from_bytes(&open.body).map_err(|_| EcashError::Plan)?;
        let swap = Arc::new(swap);
        let deadline = Instant::now() + PATIENCE;
        let outcome = mint.swap_until(&swap, attempt, deadline).await;
        crash_point(WITHDRAWN);
        let (end, error) = match outcome {
            Outcome::Done(proofs) => (told(mint.url(), unit, open.amount, proofs).await?, None),
            Outcome::Refused(fault) => {
                if fault.is_of_keysets() {
                    // The next attempt finds what is new.
                    let _ = mint.list_anew().await;
                }
                let error = match fault {
                    MintFault::Refused { .. } => TillError::Refused(fault),
                    away => TillError::Away(away),
                };
                (WithdrawalEnd::Undone, Some(error))
            }
            Outcome::Spent(names) => {
                let names = names.iter().map(|name| *name.as_bytes()).collect();
                tracing::error!(
                    mint = mint.url().as_str(), withdrawal = %open.id,
                    "coins of ours had been spent by somebody else"
                );
                (WithdrawalEnd::Lost(names), Some(TillError::Lost))
            }
            // Its keys sign no more: what was sent before cannot be done any more.
            Outcome::Open(Open::Unspent) if mint.has_retired(&swap).await => {
                (WithdrawalEnd::Undone, Some(TillError::Outdated))
            }
            Outcome::Misfit(misfit, _) => {
                tracing::error!(
                    mint = mint.url().as_str(), %misfit, withdrawal = %open.id,
                    "a mint signed something else than it was asked for"
                );
                return Err(TillError::Unclear);
            }
            Outcome::Open(_) => return Err(TillError::Unclear),
        };
        let ended = self
            .ecash
            .ledger
            .end_withdrawal(open, end, self.ecash.clock.now());
        let ended = ended.await?;
        error.map_or(Ok(ended), Err)
    }

    /// Goes on with withdrawals that nobody waits for: after a crash, or a lost answer.
    pub(super) async fn go_on(&self, trusted: &TrustedMint, unit: Unit) -> Result<(), TillError> {
        let id = mint_id(trusted.mint.url(), unit);
        for open in self.ecash.ledger.open_withdrawals().await? {
            if open.mint != id {
                continue;
            }
            let Ok(_one) = self.ecash.withdrawing.try_lock() else {
                return Ok(());
            };
            self.send_out(&trusted.mint, unit, &open, Attempt::Again)
                .await?;
        }
        Ok(())
    }
}

/// The coins that leave for this amount, or all of them; what they are made of; the amount; and the fee.
type Picked = (Arc<[[u8; 33]]>, Vec<Proof>, u64, u64);

/// The largest first, so that they are few.
fn pick(keysets: &Keysets, free: Vec<CoinView>, wish: &Wish) -> Result<Picked, TillError> {
    let (wanted, unit) = (wish.amount, wish.unit);
    let (mut names, mut proofs, mut ppk) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sum, mut cost) = (0_u64, 0);
    for coin in free {
        let proof = proof_from_bytes(&coin.bytes).map_err(|_| EcashError::Plan)?;
        let keyset = keysets.get(&proof.keyset);
        let keyset = keyset.ok_or_else(|| KeysetError::Unknown(proof.keyset.to_string()));
        let keyset = keyset.map_err(KeysFault::from)?;
        ppk.push(keyset.fee_ppk);
        sum = sum.checked_add(proof.amount).ok_or(EcashError::TooMuch)?;
        names.push(coin.name.y);
        proofs.push(proof);
        cost = fee(ppk.iter().copied());
        let enough = wanted.and_then(|wanted| wanted.checked_add(cost));
        if enough.is_some_and(|enough| enough <= sum) {
            break;
        }
    }
    let most = sum.saturating_sub(cost);
    let amount = wanted.unwrap_or(most);
    if amount == 0 || amount > most {
        return Err(TillError::Short { most, unit });
    }
    Ok((names.into(), proofs, amount, cost))
}

/// The new coins: so much of them is the token, and the rest stays.
async fn told(
    url: &MintUrl,
    unit: Unit,
    amount: Msat,
    proofs: Vec<Proof>,
) -> Result<WithdrawalEnd, EcashError> {
    let amounts: Vec<_> = proofs.iter().map(|proof| proof.amount).collect();
    let places = choose(&amounts, unit.within(amount));
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for (place, proof) in proofs.into_iter().enumerate() {
        if places.contains(&place) {
            leaving.push(proof);
        } else {
            staying.push(proof);
        }
    }
    let token = write_token(url, unit, &leaving, WithDleq::LeftOut).into();
    let rest = aside(None, move || new_coins(&staying, unit)).await;
    let rest = rest.map_err(|_| EcashError::Busy)??;
    Ok(WithdrawalEnd::Done { token, rest })
}
