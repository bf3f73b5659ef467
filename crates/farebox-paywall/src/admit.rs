//! Whether a request may pass: where an [`Admission`] is made.
//!
//! Everything that can refuse comes before the ledger's hold, and the hold is the last step that
//! can. Nothing is marked spent before every check has passed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farebox_core::{Allowance, KeyHash, Kind, Msat, PaymentHash, UnixMillis};
use farebox_http::limits::TokenPermit;
use farebox_ledger::{Admitted, Cost, Funding, Hold, HoldRequest, KeyRefusal, Once, Rail, Receipt};

use crate::Paywall;
use crate::ask::{Ask, Fingerprint};
use crate::claim::OpenClaim;
use crate::credential::Token;
use crate::due::Due;
use crate::ecash::{ChangeDue, Needs};
use crate::error::{AdmissionError, EcashError, Error, KeyFault, Owed};
use crate::gauge::Gauge;
use crate::payer::{Payer, Spender};
use crate::price::Quote;
use crate::retry_words::RetryWords;
use crate::tenure::Tenure;

/// The permission to forward one request. [`Paywall::admit`] makes one, and so does whoever knows that a
/// request costs nothing, or that the node holds its payment.
#[must_use = "what is held goes back when it is dropped"]
pub struct Admission {
    /// How it is paid for.
    pub payment: Payment,
    /// The payer's place among its requests in flight.
    pub permit: Option<TokenPermit>,
    /// The body that was priced, where that is not the one that came.
    pub body: Option<Bytes>,
    /// How long what pays lasts, where that can be over before the answer is.
    pub tenure: Option<Tenure>,
    /// What the upstream is told in the place of the payer's idempotency keys.
    pub retry_words: Option<RetryWords>,
    /// What goes back of the coins that paid.
    pub change: Option<Arc<ChangeDue>>,
}

/// How an admitted request is paid for.
pub enum Payment {
    /// It costs nothing.
    Free,
    /// A token that is good until an instant.
    Pass {
        /// Which.
        expires_at: UnixMillis,
    },
    /// A pass that does not run yet, and begins with the answer to this request if that is charged.
    FirstOfPass {
        /// Held on its account.
        hold: Hold,
        /// How long it runs.
        span: Duration,
    },
    /// The payment itself is held at the node, and is taken when the answer is stored.
    Accepted,
    /// Held on an account.
    Held {
        /// What is held.
        hold: Hold,
        /// Whether a retry must find this sale again, and its answer be kept for that.
        once: bool,
        /// What finds out the charge, where it is not the whole hold.
        gauge: Option<Box<dyn Gauge>>,
    },
}

/// What came of asking for admission.
pub enum Verdict {
    /// It may pass.
    Admitted(Admission),
    /// It was served and charged before.
    Finished(Finished),
    /// Something has to be paid first.
    Owed(Debt),
}

/// A request that was served and charged before.
pub struct Finished {
    /// What it was charged.
    pub receipt: Receipt,
    /// The payment that bought it alone, if one did: its answer may be with the payment.
    pub bought_by: Option<PaymentHash>,
    /// What goes back of the coins that paid.
    pub change: Option<Arc<ChangeDue>>,
}

/// Something that has to be paid before a request is served.
pub struct Debt {
    /// Why.
    pub owed: Owed,
    /// The claim on an invoice that was made for this client and can still be paid.
    pub claim: Option<Box<OpenClaim>>,
    /// The price, where the payer asked for it.
    pub due: Option<Due>,
}

impl Admission {
    /// A request that costs nothing.
    pub const fn free() -> Self {
        Self::by(Payment::Free)
    }

    /// A request whose payment the node has accepted and holds.
    pub fn accepted(retry_words: Option<RetryWords>) -> Self {
        Self {
            retry_words,
            ..Self::by(Payment::Accepted)
        }
    }

    /// A call that was bought is paid for by that call, whatever it uses.
    fn held(hold: Hold, once: bool, quote: Quote, permit: TokenPermit) -> Self {
        let (gauge, body) = quote.into_gauge();
        let gauge = gauge.filter(|_| hold.remaining().calls.is_none());
        Self {
            payment: Payment::Held { hold, once, gauge },
            permit: Some(permit),
            body,
            tenure: None,
            retry_words: None,
            change: None,
        }
    }

    const fn by(payment: Payment) -> Self {
        Self {
            payment,
            permit: None,
            body: None,
            tenure: None,
            retry_words: None,
            change: None,
        }
    }
}

impl Paywall {
    /// Admits a request for its payer, or says what is owed. `fingerprint` is as exact as
    /// [`Payer::knows`] demands.
    ///
    /// # Errors
    /// Why it is neither: another request of the payer is in the way, its key may not pay for this,
    /// or the ledger or the node does not answer. Nothing is held then.
    pub async fn admit(
        &self,
        payer: Payer,
        quote: Quote,
        fingerprint: Fingerprint,
        ask: &Ask<'_>,
    ) -> Result<Verdict, Error> {
        if let Quote::Free = quote {
            return Ok(Verdict::Admitted(Admission::free()));
        }
        let (spender, permit) = match payer {
            Payer::Account { spender, permit } => (spender, permit),
            Payer::Nobody { owed, claim } => {
                let due = quote.due();
                return Ok(Verdict::Owed(Debt { owed, claim, due }));
            }
        };
        let only = spender.bound_to();
        if only.is_some_and(|only| fingerprint != Fingerprint::Whole(only)) {
            return Ok(Verdict::owed(Owed::WrongRequest, quote));
        }
        let once = spender.once(fingerprint, ask);
        let change = match &spender {
            Spender::Coins(coins) => {
                ChangeDue::of(&self.ecash, coins, quote.is_exact()).map(Arc::new)
            }
            Spender::Token(_) | Spender::Key(_) => None,
        };
        let (admitted, quote) = self.hold_within_means(&spender, once, quote, ask).await?;
        let retry_words = RetryWords::of(&self.keyring, spender.account(), ask.headers);
        let payment = match (admitted, spender.kind()) {
            (Admitted::Held(hold), Kind::Pass(span)) => Payment::FirstOfPass { hold, span },
            (Admitted::Held(hold), _) => {
                let once = once.is_some() && fingerprint.is_whole();
                return Ok(Verdict::Admitted(Admission {
                    tenure: Some(self.tenure(spender, ask)),
                    retry_words,
                    change,
                    ..Admission::held(hold, once, quote, permit)
                }));
            }
            (Admitted::Pass { expires_at }, _) => Payment::Pass { expires_at },
            (Admitted::Finished(receipt), _) => {
                let bought_by = spender.bought_alone();
                return Ok(Verdict::Finished(Finished {
                    receipt,
                    bought_by,
                    change,
                }));
            }
            (other, _) => return spender.refused(&other, quote, ask),
        };
        Ok(Verdict::Admitted(Admission {
            payment,
            permit: Some(permit),
            body: quote.into_body(),
            tenure: Some(self.tenure(spender, ask)),
            retry_words,
            change,
        }))
    }

    fn tenure(&self, spender: Spender, ask: &Ask<'_>) -> Tenure {
        Tenure {
            spender,
            ledger: self.ledger.clone(),
            clock: Arc::clone(&self.clock),
            since: ask.received_at,
        }
    }

    /// Holds what a request can cost. Where a key has less, payments that wait for it are looked up
    /// first. Where a balance still has less, the answer may become shorter instead.
    async fn hold_within_means(
        &self,
        spender: &Spender,
        once: Option<Once>,
        mut quote: Quote,
        ask: &Ask<'_>,
    ) -> Result<(Admitted, Quote), Error> {
        if let Spender::Coins(coins) = spender
            && quote.can_shrink()
            && coins.worth < quote.at_most()
        {
            quote.shrink_to(coins.worth).await?;
        }
        let mut admitted = self.hold(spender, once, &quote, ask).await?;
        if let Spender::Key(known) = spender
            && matches!(admitted, Admitted::Exhausted)
        {
            let node = ask.rules.node.as_deref();
            // In a box, as all that is rare and large: it would be a part of every request otherwise.
            Box::pin(self.deposits.credit_waiting(node, known.key, ask.holder)).await?;
            admitted = self.hold(spender, once, &quote, ask).await?;
        }
        let is_short = matches!(
            admitted,
            Admitted::Exhausted
                | Admitted::Key(KeyRefusal::TotalLimit | KeyRefusal::DayLimit { .. })
        );
        if is_short
            && quote.can_shrink()
            && quote.shrink_to(self.free_balance(spender).await?).await?
        {
            admitted = self.hold(spender, once, &quote, ask).await?;
        }
        Ok((admitted, quote))
    }

    async fn hold(
        &self,
        spender: &Spender,
        once: Option<Once>,
        quote: &Quote,
        ask: &Ask<'_>,
    ) -> Result<Admitted, Error> {
        let request = HoldRequest {
            hold: ask.hold,
            account: spender.account(),
            funding: match spender {
                Spender::Token(token) => Some(self.funding(token)),
                Spender::Key(_) => None,
                Spender::Coins(coins) => Some(coins.funding(quote.at_most(), ask)?),
            },
            swapped: None,
            allowance: match spender {
                Spender::Token(token) => token.granted.holder.allowance,
                Spender::Key(_) | Spender::Coins(_) => Allowance::default(),
            },
            route: ask.route.clone(),
            model: quote.model().map(str::to_owned),
            cost: spender.cost(quote),
            once,
            max_voids: ask.sale.max_voids,
            now: ask.received_at,
            basis: quote.basis(ask.received_at),
        };
        if let Spender::Coins(coins) = spender {
            let needs = Needs {
                at_most: quote.at_most(),
                is_exact: quote.is_exact() || coins.is_balance(),
                holder: ask.holder,
            };
            return self.ecash.hold(Arc::clone(coins), request, needs).await;
        }
        Ok(self.ledger.hold(request).await?)
    }

    /// What credits the account of a token at its first use: what the token says.
    fn funding(&self, token: &Token) -> Funding {
        Funding {
            rail: Rail::Lightning,
            amount: token.granted.terms.amount,
            terms: token.granted.terms.clone(),
            key_epoch: token.key_epoch,
            claims: self.keyring.claim_policy(token.key_epoch),
        }
    }

    /// What may still be spent: neither spent nor held, and within what a holder left of it.
    async fn free_balance(&self, spender: &Spender) -> Result<Msat, Error> {
        match spender {
            Spender::Token(token) => self.free_on_token(token).await,
            Spender::Key(known) => self.free_on_key(known.key).await,
            Spender::Coins(coins) => {
                let standing = self.ledger.standing(coins.account).await?;
                Ok(standing.map_or(coins.worth, |standing| standing.free))
            }
        }
    }

    async fn free_on_token(&self, token: &Token) -> Result<Msat, Error> {
        let most = token.granted.holder.allowance.amount;
        let Some(account) = self.ledger.account(token.account()).await? else {
            // Never used: all that was sold.
            let sold = token.granted.terms.amount;
            return Ok(most.map_or(sold, |most| sold.min(most)));
        };
        let free = account.balance.saturating_sub(account.held);
        let came = account.terms.amount.checked_add(account.excess);
        let spent = came.unwrap_or(Msat::MAX).saturating_sub(account.balance);
        let within = |most: Msat| most.saturating_sub(spent).saturating_sub(account.held);
        Ok(most.map_or(free, |most| free.min(within(most))))
    }

    /// Of the money that a key spends, its own or its parent's, and within the limits of both.
    async fn free_on_key(&self, key: KeyHash) -> Result<Msat, Error> {
        let Some(asker) = self.ledger.key(key).await? else {
            return Ok(Msat::ZERO);
        };
        let parent = match asker.parent {
            Some(parent) => self.ledger.key(parent).await?,
            None => None,
        };
        let payer = parent.as_ref().unwrap_or(&asker);
        let money = Some(payer.balance.saturating_sub(payer.held));
        let limits = [asker.left_by_limits(), payer.left_by_limits(), money];
        Ok(limits.into_iter().flatten().min().unwrap_or(Msat::ZERO))
    }
}

impl Spender {
    /// A token that bought calls or a time pays with them, whatever they cost now.
    fn cost(&self, quote: &Quote) -> Cost {
        match self.kind() {
            Kind::Balance => Cost::Amount(quote.at_most()),
            Kind::Single | Kind::Calls(_) | Kind::Pass(_) => Cost::Call,
        }
    }

    /// The name under which a retry finds this sale again.
    fn once(&self, fingerprint: Fingerprint, ask: &Ask<'_>) -> Option<Once> {
        const SINGLE: [u8; 32] = [0; 32];
        let digest = fingerprint.digest()?;
        let key = match self.kind() {
            _ if self.pays_once() => SINGLE,
            Kind::Single => SINGLE,
            Kind::Calls(_) | Kind::Balance => ask.idempotency_key()?,
            Kind::Pass(_) => return None,
        };
        Some(Once { key, digest })
    }

    /// What becomes of a request for which nothing is held: a token's holder may buy again, a key's
    /// is told what is wrong with the key.
    fn refused(&self, admitted: &Admitted, quote: Quote, ask: &Ask<'_>) -> Result<Verdict, Error> {
        let error = match admitted {
            Admitted::InFlight => AdmissionError::InFlight,
            Admitted::Conflict => AdmissionError::IdempotencyConflict,
            Admitted::Reserved => AdmissionError::Reserved,
            _ => {
                return match self {
                    Self::Token(_) => Ok(Verdict::owed(owed(admitted), quote)),
                    Self::Key(_) => Err(key_fault(admitted, ask.received_at).into()),
                    // An invoice would be for another purse, and `X-Cashu` of a 402 is taken for change.
                    Self::Coins(coins) => Err(match admitted {
                        Admitted::Exhausted if coins.is_balance() => EcashError::UsedUp,
                        _ => EcashError::Used,
                    }
                    .into()),
                };
            }
        };
        Err(error.into())
    }
}

fn owed(admitted: &Admitted) -> Owed {
    match admitted {
        Admitted::Exhausted => Owed::Exhausted,
        Admitted::Expired => Owed::Expired,
        Admitted::Revoked => Owed::Revoked,
        Admitted::Unclaimed => Owed::Voided,
        _ => Owed::TermsMismatch,
    }
}

fn key_fault(admitted: &Admitted, now: UnixMillis) -> KeyFault {
    match admitted {
        Admitted::Exhausted => KeyFault::UsedUp,
        Admitted::Expired => KeyFault::Expired,
        Admitted::Revoked => KeyFault::Revoked,
        Admitted::Key(refusal) => KeyFault::of(*refusal, now),
        _ => KeyFault::Unknown,
    }
}

impl Verdict {
    fn owed(owed: Owed, quote: Quote) -> Self {
        Self::Owed(Debt {
            owed,
            claim: None,
            due: quote.due(),
        })
    }
}
