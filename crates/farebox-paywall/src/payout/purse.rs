//! What one account can give, proven twice: by the ledger, and by our own node's word that it has
//! the money.
//!
//! A token was paid for with one invoice; a key with any number of them. What ever leaves a key is
//! never more than its own deposits that the node calls settled at this moment, so that a deposit
//! nobody can vouch for any more can be spent, but not be paid out.

use farebox_core::{KeyHash, Msat, PaymentHash, UnixMillis};
use farebox_ledger::{ClaimPolicy, Deposit, Funding, KeyView, Ledger};
use farebox_lightning::{InvoiceState, LookupInvoice, received_for};

use super::{RefundError, Source};

/// How many deposits of one key the node is asked about, the largest first: as many as the ledger
/// tells at a time.
const MAX_DEPOSITS: u32 = 1_000;

/// What can be paid out of one account.
pub(super) struct Purse {
    /// Money that may leave, fee included.
    pub(super) available: Msat,
    /// Why it is not more, where there is more that the node says nothing about.
    doubt: Option<RefundError>,
}

/// What can be paid out of an account at this moment.
pub(super) async fn look_into(
    ledger: &Ledger,
    source: &Source,
    lookup: &dyn LookupInvoice,
    now: UnixMillis,
) -> Result<Purse, RefundError> {
    ledger.flush().await?;
    match source {
        Source::Token {
            payment_hash,
            claim,
        } => look_into_token(ledger, *payment_hash, claim.as_ref(), lookup, now).await,
        Source::Key(key) => look_into_key(ledger, *key, lookup).await,
    }
}

async fn look_into_token(
    ledger: &Ledger,
    hash: PaymentHash,
    claim: Option<&Funding>,
    lookup: &dyn LookupInvoice,
    now: UnixMillis,
) -> Result<Purse, RefundError> {
    let asked = invoice_amount(ledger, hash, claim).await?;
    // Nothing else proves that there is money to pay back.
    let received = received_for(asked, settled(lookup, hash).await?);
    if received < asked {
        return Err(RefundError::NotSettled);
    }
    ledger.note_received(hash, asked, received, now).await?;
    let refundable = ledger.refundable(hash.account()).await?;
    // A token never used has all that was paid for it.
    let available = refundable.as_ref().map_or(received, |left| left.available);
    let held = refundable.map_or(Msat::ZERO, |left| left.held);
    Purse::of(available, held)
}

/// What the invoice of this token asked for.
async fn invoice_amount(
    ledger: &Ledger,
    hash: PaymentHash,
    claim: Option<&Funding>,
) -> Result<Msat, RefundError> {
    if let Some(account) = ledger.account(hash.account()).await? {
        return Ok(account.terms.amount);
    }
    match claim {
        None => Err(RefundError::Unknown),
        Some(claim) if claim.claims == ClaimPolicy::ClaimedOnly => Err(RefundError::Voided),
        Some(claim) => Ok(claim.terms.amount),
    }
}

async fn look_into_key(
    ledger: &Ledger,
    key: KeyHash,
    lookup: &dyn LookupInvoice,
) -> Result<Purse, RefundError> {
    let view = ledger.key(key).await?.ok_or(RefundError::Unknown)?;
    if view.parent.is_some() {
        return Err(RefundError::Child);
    }
    let free = view.balance.saturating_sub(view.held);
    let purse = Purse::of(free, view.held)?;
    let gone = gone(&view);
    let needed = gone.checked_add(purse.available).unwrap_or(Msat::MAX);
    let deposits = ledger.deposits_of(key, MAX_DEPOSITS).await?;
    let (proven, doubt) = prove(lookup, &deposits, needed).await;
    let available = free.min(proven.saturating_sub(gone));
    match doubt {
        Some(doubt) if available.is_zero() => Err(doubt),
        doubt => Ok(Purse {
            doubt,
            ..Purse::of(available, view.held)?
        }),
    }
}

impl Purse {
    fn of(available: Msat, held: Msat) -> Result<Self, RefundError> {
        if !available.is_zero() {
            let doubt = None;
            return Ok(Self { available, doubt });
        }
        Err(if held.is_zero() {
            RefundError::NothingLeft { available }
        } else {
            RefundError::Reserved
        })
    }

    /// Why a wish comes to nothing: what is not there because a node is away may be there soon.
    pub(super) fn explain(self, refusal: RefundError) -> RefundError {
        match (refusal, self.doubt) {
            (RefundError::NothingLeft { .. }, Some(away @ RefundError::Node(_))) => away,
            (refusal, _) => refusal,
        }
    }
}

/// What left a key before, or is promised already.
fn gone(view: &KeyView) -> Msat {
    let stayed = view.spent.checked_add(view.balance).unwrap_or(Msat::MAX);
    let paid_out = view.deposited.saturating_sub(stayed);
    paid_out.checked_add(view.held).unwrap_or(Msat::MAX)
}

/// Asks the node about one deposit after the other until it has vouched for as much as is needed.
/// Gives how much it vouches for, and why for no more where it was asked about more.
async fn prove(
    lookup: &dyn LookupInvoice,
    deposits: &[Deposit],
    needed: Msat,
) -> (Msat, Option<RefundError>) {
    let (mut amount, mut doubt) = (Msat::ZERO, None);
    for deposit in deposits {
        if amount >= needed {
            break;
        }
        match settled(lookup, deposit.payment_hash).await {
            // What came on top of it later is not on the key.
            Ok(got) => {
                let got = received_for(deposit.amount, got);
                let more = amount.checked_add(got.min(deposit.amount));
                amount = more.unwrap_or(Msat::MAX);
            }
            Err(error @ RefundError::Node(_)) => {
                // A node that is away now would be asked in vain about all the others.
                doubt = Some(error);
                break;
            }
            Err(error) => doubt = Some(error),
        }
    }
    (amount, doubt)
}

/// What our node got for an invoice.
async fn settled(lookup: &dyn LookupInvoice, hash: PaymentHash) -> Result<Msat, RefundError> {
    match lookup.lookup_invoice(hash).await {
        Ok(InvoiceState::Settled {
            received: Some(received),
        }) => Ok(received),
        Ok(InvoiceState::Settled { received: None }) => Err(RefundError::AmountUnknown),
        Ok(_) => Err(RefundError::NotSettled),
        Err(error) => Err(RefundError::Node(error)),
    }
}
