//! Payouts in the picture: what one may reserve, under which limits.
//!
//! The row is written in the transaction that reserves; only after its commit may anything be sent.

use std::time::Duration;

use farebox_core::{Msat, PayoutId, UnixMillis};

use super::{Book, OpenPayout, Payment, Payout, Rows, Unclaimed};
use crate::decide::{self, Reserve, Standing};
use crate::store::{Outcome, StoreError};
use crate::{
    ClaimPolicy, Funding, LedgerError, PayoutAnswer, PayoutRequest, PayoutState, PayoutView,
};

/// What counts as a day in the limits of payouts.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request comes to: an answer that changed nothing, or a reserve to make.
enum Decision<'a> {
    Refused(PayoutAnswer),
    Reserve(Reserve),
    /// The same, after the claim of its payment.
    Claim(Payment<'a>, Unclaimed, Reserve),
}

impl Book {
    pub(super) fn begin_payout_and_tell(
        &mut self,
        request: &PayoutRequest,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let claims_before = self.claims;
        let answer = self.begin_payout(request, rows)?;
        let funding = request
            .funding
            .as_ref()
            .filter(|_| self.claims > claims_before);
        Ok(Outcome::Payout {
            answer: Box::new(answer),
            claimed: funding.map(|funding| funding.amount),
        })
    }

    fn begin_payout(
        &mut self,
        request: &PayoutRequest,
        rows: &mut dyn Rows,
    ) -> Result<Result<PayoutAnswer, LedgerError>, StoreError> {
        if let Some(known) = self.known_payout(request, rows)? {
            return Ok(Ok(known));
        }
        if rows.payout(&request.id)?.is_some() {
            return Ok(Err(LedgerError::PayoutExists));
        }
        let reserve = match self.decide_payout(request, rows)? {
            Decision::Refused(answer) => return Ok(Ok(answer)),
            Decision::Reserve(reserve) => reserve,
            Decision::Claim(payment, unclaimed, reserve) => {
                if let Err(error) = self.credit(&payment, &unclaimed) {
                    return Ok(Err(error));
                }
                reserve
            }
        };
        self.open_payout(request, reserve, rows)
            .map(|view| Ok(PayoutAnswer::Begun(view)))
    }

    /// What was begun before and forbids another payout.
    fn known_payout(
        &self,
        request: &PayoutRequest,
        rows: &mut dyn Rows,
    ) -> Result<Option<PayoutAnswer>, StoreError> {
        if let Some(known) = rows.payout_to(&request.destination_hash)? {
            let same = known.account == request.account;
            return Ok(Some(if same {
                PayoutAnswer::Exists(known)
            } else {
                PayoutAnswer::DestinationTaken
            }));
        }
        let mut open = self.payouts.iter();
        let open = open.find(|(_, payout)| payout.account == request.account);
        let Some((id, _)) = open else {
            return Ok(None);
        };
        let known = rows
            .payout(id)?
            .ok_or(StoreError::Corrupt("an open payout"))?;
        Ok(Some(PayoutAnswer::Exists(known.view)))
    }

    fn decide_payout<'a>(
        &mut self,
        request: &'a PayoutRequest,
        rows: &mut dyn Rows,
    ) -> Result<Decision<'a>, StoreError> {
        if !self.fetch_payer(&request.account, rows)? {
            let unclaimed = self.unclaimed(&request.account, rows)?;
            return self.decide_first_sight(request, unclaimed, rows);
        }
        let account = super::known(&mut self.accounts, &request.account)?;
        let claim = request.funding.as_ref();
        if claim.is_some_and(|claim| Some(&claim.terms) != account.terms()) {
            return Ok(Decision::Refused(PayoutAnswer::TermsMismatch));
        }
        // A child has no money: its parent's is the parent's to ask for.
        if account.key().is_some_and(|key| key.parent.is_some()) {
            return Ok(Decision::Refused(PayoutAnswer::Unknown));
        }
        let held = self.held.get(&request.account).copied();
        let standing = super::standing(account, held.unwrap_or_default());
        let reserve = match decide::payout(request, &standing) {
            Ok(reserve) => reserve,
            Err(refusal) => return Ok(Decision::Refused(refusal.into())),
        };
        let refusal = self.limit(request, rows)?;
        Ok(refusal.map_or(Decision::Reserve(reserve), Decision::Refused))
    }

    /// Decides on a token that was never used: nothing is claimed unless money is reserved.
    fn decide_first_sight<'a>(
        &self,
        request: &'a PayoutRequest,
        unclaimed: Unclaimed,
        rows: &mut dyn Rows,
    ) -> Result<Decision<'a>, StoreError> {
        let Some(claim) = may_claim(request, &unclaimed) else {
            let available = Msat::ZERO;
            return Ok(Decision::Refused(if unclaimed.spent {
                PayoutAnswer::NothingLeft { available }
            } else {
                PayoutAnswer::Unknown
            }));
        };
        if self.is_being_served(&request.account) {
            return Ok(Decision::Refused(PayoutAnswer::Reserved));
        }
        let reserve = match decide::payout(request, &at_claim(claim, &unclaimed, request.now)) {
            Ok(reserve) => reserve,
            Err(refusal) => return Ok(Decision::Refused(refusal.into())),
        };
        if let Some(refusal) = self.limit(request, rows)? {
            return Ok(Decision::Refused(refusal));
        }
        let payment = Payment {
            account: request.account,
            funding: claim,
            now: request.now,
        };
        Ok(Decision::Claim(payment, unclaimed, reserve))
    }

    /// The first limit that one more payout would break.
    fn limit(
        &self,
        request: &PayoutRequest,
        rows: &mut dyn Rows,
    ) -> Result<Option<PayoutAnswer>, StoreError> {
        let limits = &request.limits;
        let a_day_ago = UnixMillis::new(
            request
                .now
                .get()
                .saturating_sub(u64::try_from(A_DAY.as_millis()).unwrap_or(u64::MAX)),
        );
        let begun = rows.payouts_begun(&request.account, a_day_ago)?;
        if begun >= u64::from(limits.per_account_per_day) {
            return Ok(Some(PayoutAnswer::TooOften));
        }
        if u32::try_from(self.payouts.len()).is_ok_and(|open| open < limits.max_open) {
            let open: u64 = self.payouts.values().map(|open| open.amount.get()).sum();
            let total = rows.paid_out(a_day_ago)?.saturating_add(open);
            let exceeds = total.saturating_add(request.amount.get()) > limits.daily_total.get();
            Ok(exceeds.then_some(PayoutAnswer::DailyTotal))
        } else {
            Ok(Some(PayoutAnswer::TooManyOpen))
        }
    }

    fn open_payout(
        &mut self,
        request: &PayoutRequest,
        reserve: Reserve,
        rows: &mut dyn Rows,
    ) -> Result<PayoutView, StoreError> {
        let mut payout = Payout {
            view: new_view(request, reserve.calls),
            reserve,
        };
        payout.view.cursor = rows.insert_payout(&payout)?;
        let open = OpenPayout {
            account: request.account,
            amount: request.amount,
            reserve,
        };
        self.reserve(request.id, open);
        Ok(payout.view)
    }

    /// Counts an open payout in what its account has reserved.
    pub(super) fn reserve(&mut self, id: PayoutId, payout: OpenPayout) {
        let held = self.held.entry(payout.account).or_default();
        let Reserve {
            sold,
            excess,
            calls,
        } = payout.reserve;
        held.msat = held.msat.checked_add(sold).unwrap_or(Msat::MAX);
        held.excess = held.excess.checked_add(excess).unwrap_or(Msat::MAX);
        held.calls = held.calls.saturating_add(calls);
        held.payouts = held.payouts.saturating_add(1);
        self.payouts.insert(id, payout);
    }
}

/// The claim that may be made with a request, if any.
fn may_claim<'a>(request: &'a PayoutRequest, unclaimed: &Unclaimed) -> Option<&'a Funding> {
    let claim = request.funding.as_ref().filter(|_| !unclaimed.spent)?;
    (claim.claims == ClaimPolicy::Open).then_some(claim)
}

/// How an account would stand right after its claim.
fn at_claim<'a>(claim: &'a Funding, unclaimed: &Unclaimed, now: UnixMillis) -> Standing<'a> {
    let sold = claim.terms.amount;
    let received = unclaimed.received.unwrap_or_default().max(claim.amount);
    let excess = received.saturating_sub(sold);
    Standing {
        terms: Some(&claim.terms),
        kind: claim.terms.kind,
        balance: sold.checked_add(excess).unwrap_or(Msat::MAX),
        excess,
        held: Msat::ZERO,
        excess_held: Msat::ZERO,
        calls_used: 0,
        calls_held: 0,
        voids: 0,
        expires_at: now,
        revoked: unclaimed.revoked_at.is_some(),
    }
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
