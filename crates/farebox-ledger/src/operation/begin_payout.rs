//! The money of a payout is reserved; only after the commit may anything be sent.

use std::time::Duration;

use farebox_core::{AccountId, Msat, PayoutId, UnixMillis};

use super::Operation;
use crate::book::{Book, Moment};
use crate::money::{self, Verdict};
use crate::name::Name;
use crate::rows::{Account, Entry, Is, PayoutRow, Reserve};
use crate::rules;
use crate::store::StoreError;
use crate::{
    ClaimPolicy, Funding, LedgerError, PayoutAnswer, PayoutRequest, PayoutState, PayoutView,
};

/// What counts as a day in the limits of payouts.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reserves the money of a payout.
pub(crate) struct BeginPayout(pub(crate) PayoutRequest);

/// What came of it.
pub(crate) enum Beginning {
    /// The answer.
    Answered(PayoutAnswer),
    /// Another payout of the account is open: this one.
    Busy(PayoutId),
}

impl Operation for BeginPayout {
    const TAKES_GATE: bool = true;
    type Answer = Beginning;

    fn footprint(&self, names: &mut Vec<Name>) {
        let request = &self.0;
        names.push(Name::PayoutGate(request.account, a_day_before(request.now)));
        names.push(Name::Account(request.account));
        names.push(Name::Payout(request.id));
        names.push(Name::Outgoing(request.destination_hash));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<Beginning> {
        let request = &self.0;
        if let Some(known) = book.payout_to(&request.destination_hash)? {
            let same = known.view.account == request.account;
            return answered(if same {
                PayoutAnswer::Exists(known.view.clone())
            } else {
                PayoutAnswer::DestinationTaken
            });
        }
        let open = book.entry(&request.account)?.account();
        if let Some(open) = open.and_then(|account| account.held.payout) {
            return Ok(Ok(Beginning::Busy(open)));
        }
        if book.payout(&request.id)?.is_some() {
            return Ok(Err(LedgerError::PayoutExists));
        }
        match decide(request, book)? {
            Decision::Refused(answer) => answered(answer),
            Decision::Reserve(reserve) => begin(request, reserve, book),
            Decision::Claim(funding, reserve) => {
                match money::claim(book, &request.account, funding, request.now)? {
                    Ok(()) => begin(request, reserve, book),
                    Err(error) => Ok(Err(error)),
                }
            }
        }
    }
}

/// What a request comes to: an answer that changes nothing, or a reserve to make.
enum Decision<'a> {
    Refused(PayoutAnswer),
    Reserve(Reserve),
    /// The same, after the claim of its payment.
    Claim(&'a Funding, Reserve),
}

fn decide<'a>(request: &'a PayoutRequest, book: &Book<'_>) -> Result<Decision<'a>, StoreError> {
    let entry = book.entry(&request.account)?;
    let Some(account) = entry.account() else {
        return decide_first_sight(request, entry, book);
    };
    let funding = request.funding.as_ref();
    if funding.is_some_and(|funding| Some(&funding.terms) != account.terms()) {
        return Ok(Decision::Refused(PayoutAnswer::TermsMismatch));
    }
    // A child has no money: its parent's is the parent's to ask for.
    if account.key().is_some_and(|key| key.parent.is_some()) {
        return Ok(Decision::Refused(PayoutAnswer::Unknown));
    }
    let reserve = match rules::payout(request, account) {
        Ok(reserve) => reserve,
        Err(refusal) => return Ok(Decision::Refused(*refusal)),
    };
    let refusal = limit(request, book)?;
    Ok(refusal.map_or(Decision::Reserve(reserve), Decision::Refused))
}

/// Decides on a token that was never used: nothing is claimed unless money is reserved.
fn decide_first_sight<'a>(
    request: &'a PayoutRequest,
    entry: &Entry,
    book: &Book<'_>,
) -> Result<Decision<'a>, StoreError> {
    if !matches!(entry.is, Is::Nothing) {
        let available = Msat::ZERO;
        return Ok(Decision::Refused(PayoutAnswer::NothingLeft { available }));
    }
    let funding = request.funding.as_ref();
    let Some(funding) = funding.filter(|funding| funding.claims == ClaimPolicy::Open) else {
        return Ok(Decision::Refused(PayoutAnswer::Unknown));
    };
    if entry.is_being_served() {
        return Ok(Decision::Refused(PayoutAnswer::Reserved));
    }
    let reserve = match rules::payout(request, &at_claim(funding, entry, request.now)) {
        Ok(reserve) => reserve,
        Err(refusal) => return Ok(Decision::Refused(*refusal)),
    };
    let refusal = limit(request, book)?;
    Ok(refusal.map_or(Decision::Claim(funding, reserve), Decision::Refused))
}

/// The first limit that one more payout would break.
fn limit(request: &PayoutRequest, book: &Book<'_>) -> Result<Option<PayoutAnswer>, StoreError> {
    let (limits, gate) = (&request.limits, book.gate()?);
    let (daily, amount) = (limits.daily_total.get(), request.amount.get());
    let others = gate.total.saturating_sub(gate.own);
    let share = daily.saturating_sub(others) / limits.account_part;
    Ok(if gate.begun >= u64::from(limits.per_account_per_day) {
        Some(PayoutAnswer::TooOften)
    } else if gate.open >= limits.max_open {
        Some(PayoutAnswer::TooManyOpen)
    } else if gate.total.saturating_add(amount) > daily {
        Some(PayoutAnswer::DailyTotal)
    } else {
        let left = Msat::new(share.saturating_sub(gate.own)).unwrap_or(Msat::MAX);
        (request.amount > left).then_some(PayoutAnswer::DailyShare { left })
    })
}

fn begin(request: &PayoutRequest, reserve: Reserve, book: &mut Book<'_>) -> Verdict<Beginning> {
    let account: &AccountId = &request.account;
    let view = new_view(request, reserve.calls);
    book.change_account(account)?.reserve(request.id, &reserve);
    let epoch = book.counts.epoch;
    book.put_payout(PayoutRow {
        view: view.clone(),
        reserve,
        epoch,
    })?;
    book.notes.moment = Some(Moment::Payout);
    answered(PayoutAnswer::Begun(view))
}

const fn answered(answer: PayoutAnswer) -> Verdict<Beginning> {
    Ok(Ok(Beginning::Answered(answer)))
}

/// An account as it would be right after its claim.
fn at_claim(funding: &Funding, entry: &Entry, now: UnixMillis) -> Account {
    let sold = funding.terms.amount;
    let excess = entry.noted().max(funding.amount).saturating_sub(sold);
    Account {
        balance: sold.checked_add(excess).unwrap_or(Msat::MAX),
        excess,
        revoked_at: entry.revoked_at,
        ..Account::claimed(funding, now)
    }
}

fn a_day_before(now: UnixMillis) -> UnixMillis {
    let day = u64::try_from(A_DAY.as_millis()).unwrap_or(u64::MAX);
    UnixMillis::new(now.get().saturating_sub(day))
}

fn new_view(request: &PayoutRequest, calls: u32) -> PayoutView {
    PayoutView {
        cursor: 0,
        id: request.id,
        account: request.account,
        destination_hash: request.destination_hash,
        bolt11: request.bolt11.clone(),
        amount: request.amount,
        max_fee: request.max_fee,
        fee: None,
        calls,
        backend: request.backend.clone(),
        asked_by: request.asked_by,
        state: PayoutState::Open,
        asked_at: request.now,
        ended_at: None,
    }
}
