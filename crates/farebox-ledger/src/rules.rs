//! The rules of admission: what one request gets from one account, as a function of rows and an
//! instant. Nothing is read or written here.

mod key;
mod payout;

pub(crate) use key::{KeyStanding, Purse, key};
pub(crate) use payout::payout;

use farebox_core::{Allowance, Kind, Msat, Terms, UnixMillis};

use crate::rows::Account;
use crate::{Admitted, Cost, HoldRequest, LedgerError, Receipt, Remaining};

/// What is known of an account when a request comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// What was sold, of the account of a payment.
    pub(crate) terms: Option<&'a Terms>,
    pub(crate) kind: Kind,
    /// All there is.
    pub(crate) balance: Msat,
    /// The part of it that is not for sale; of a balance, all that ever came on top of it.
    pub(crate) excess: Msat,
    /// What is held of what is for sale.
    pub(crate) held: Msat,
    /// What is held of the excess of calls and passes.
    pub(crate) excess_held: Msat,
    pub(crate) calls_used: u32,
    pub(crate) calls_held: u32,
    pub(crate) voids: u32,
    pub(crate) expires_at: UnixMillis,
    pub(crate) revoked: bool,
}

impl<'a> Standing<'a> {
    /// How an account stands.
    pub(crate) const fn of(account: &'a Account) -> Self {
        Self {
            terms: account.terms(),
            kind: account.kind(),
            balance: account.balance,
            excess: account.excess,
            held: account.held.msat,
            excess_held: account.held.excess,
            calls_used: account.calls_used,
            calls_held: account.held.calls,
            voids: account.voids,
            expires_at: account.expires_at,
            revoked: account.revoked_at.is_some(),
        }
    }

    /// What is left of what was sold, held or not: on a balance, all there is.
    pub(crate) const fn for_sale(&self) -> Msat {
        match self.kind {
            Kind::Balance => self.balance,
            Kind::Single | Kind::Calls(_) | Kind::Pass(_) => {
                self.balance.saturating_sub(self.excess)
            }
        }
    }

    /// What is for sale and not held.
    pub(crate) const fn free(&self) -> Msat {
        self.for_sale().saturating_sub(self.held)
    }

    /// Everything that ever left the account.
    fn spent(&self) -> Msat {
        let sold = self.terms.map_or(Msat::ZERO, |terms| terms.amount);
        let came = sold.get().saturating_add(self.excess.get());
        Msat::new(came.saturating_sub(self.balance.get())).unwrap_or(Msat::MAX)
    }
}

/// What is known of the key under which a request is sold at most once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Earlier {
    /// Nothing: the key is new, or none was given.
    Nothing,
    /// It is open, for the same request or another.
    Open { same: bool },
    /// It was settled, for the same request or another.
    Settled { same: bool, receipt: Receipt },
}

/// A hold that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) charge: Msat,
    pub(crate) remaining: Remaining,
    pub(crate) expires_at: UnixMillis,
}

/// Decides a request on a claimed account. Of the reasons to refuse, those that can never change
/// come before those that might.
pub(crate) fn admit(
    request: &HoldRequest,
    account: &Standing<'_>,
    earlier: Earlier,
) -> Result<Admitted<Grant>, LedgerError> {
    if account.terms.is_none() || account.terms != request.terms() {
        return Ok(Admitted::TermsMismatch);
    }
    if account.revoked {
        return Ok(Admitted::Revoked);
    }
    if is_past(request.allowance.expires_at, request.now) {
        return Ok(Admitted::Expired);
    }
    if let Some(answer) = repeated(account.kind, earlier) {
        return Ok(answer);
    }
    if request.now >= account.expires_at {
        return Ok(Admitted::Expired);
    }
    // Beyond as many as were charged: a token of many calls meets many failures that are nobody's
    // fault, and must not lose its value to them.
    if account.voids >= request.max_voids.saturating_add(account.calls_used) {
        return Ok(Admitted::TooManyVoids);
    }
    hold(request, account)
}

/// Decides a request with a pass whose claim is known to be written.
pub(crate) fn known_pass<H>(
    request: &HoldRequest,
    terms: &Terms,
    expires_at: UnixMillis,
) -> Admitted<H> {
    if request.terms() != Some(terms) {
        Admitted::TermsMismatch
    } else if is_past(request.allowance.expires_at, request.now) || request.now >= expires_at {
        Admitted::Expired
    } else if is_limited(&request.allowance, terms.amount) {
        Admitted::Exhausted
    } else {
        Admitted::Pass { expires_at }
    }
}

/// Uses of a pass are not counted, so a holder's limit on their number cannot be kept; the money
/// was spent when the pass was bought. What cannot be kept is refused.
fn is_limited(allowance: &Allowance, spent: Msat) -> bool {
    allowance.calls.is_some() || allowance.amount.is_some_and(|most| most < spent)
}

fn is_past(deadline: Option<UnixMillis>, now: UnixMillis) -> bool {
    deadline.is_some_and(|deadline| now >= deadline)
}

fn repeated<H>(kind: Kind, earlier: Earlier) -> Option<Admitted<H>> {
    match (earlier, kind) {
        (Earlier::Nothing, _) => None,
        (Earlier::Open { same: true }, _) => Some(Admitted::InFlight),
        (
            Earlier::Settled {
                same: true,
                receipt,
            },
            _,
        ) => Some(Admitted::Finished(receipt)),
        (Earlier::Open { same: false }, Kind::Single) => Some(Admitted::Reserved),
        (Earlier::Settled { same: false, .. }, Kind::Single) => Some(Admitted::Exhausted),
        (Earlier::Open { same: false } | Earlier::Settled { same: false, .. }, _) => {
            Some(Admitted::Conflict)
        }
    }
}

fn hold(request: &HoldRequest, account: &Standing<'_>) -> Result<Admitted<Grant>, LedgerError> {
    match (account.kind, request.cost) {
        (Kind::Pass(_), _) => Ok(account.terms.map_or(Admitted::TermsMismatch, |terms| {
            pass(request, account, terms)
        })),
        (Kind::Single, _) => Ok(call(request, account, 1)),
        (Kind::Calls(count), _) => Ok(call(request, account, count)),
        (Kind::Balance, Cost::Amount(amount)) => Ok(draw(request, account, amount)),
        (Kind::Balance, Cost::Call) => Err(LedgerError::CallOnBalance),
    }
}

/// A pass that was paid out is none, and one that is being paid out may come back.
fn pass(request: &HoldRequest, account: &Standing<'_>, terms: &Terms) -> Admitted<Grant> {
    if account.calls_used > 0 {
        Admitted::Exhausted
    } else if !account.held.is_zero() {
        Admitted::Reserved
    } else {
        known_pass(request, terms, account.expires_at)
    }
}

/// One of `count` calls. Its share of the money is taken from what is free, so that the shares of
/// all calls sum to the amount whatever is voided in between.
fn call(request: &HoldRequest, account: &Standing<'_>, count: u32) -> Admitted<Grant> {
    let within = calls_within(account, Some(count));
    let Some(free_calls) = count
        .checked_sub(account.calls_used.saturating_add(account.calls_held))
        .filter(|free| *free > 0)
    else {
        return within.refusal();
    };
    let free = account.free();
    let charge = free.share_ceil(u64::from(free_calls));
    let verdict = within
        .and(calls_within(account, request.allowance.calls))
        .and(amount_within(account, charge, request.allowance.amount));
    let remaining = Remaining {
        calls: Some(free_calls - 1),
        msat: free.saturating_sub(charge),
    };
    verdict.grant(Grant {
        charge,
        remaining,
        expires_at: account.expires_at,
    })
}

/// An amount of a balance.
fn draw(request: &HoldRequest, account: &Standing<'_>, charge: Msat) -> Admitted<Grant> {
    let free = account.free();
    let verdict = balance_covers(account, charge)
        .and(calls_within(account, request.allowance.calls))
        .and(amount_within(account, charge, request.allowance.amount));
    let remaining = Remaining {
        calls: None,
        msat: free.saturating_sub(charge),
    };
    verdict.grant(Grant {
        charge,
        remaining,
        expires_at: account.expires_at,
    })
}

/// Whether one more request fits a limit: now, after the open ones are voided, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Now,
    Later,
    Never,
}

impl Fit {
    fn of(with_open: bool, without_open: bool) -> Self {
        match (with_open, without_open) {
            (true, _) => Self::Now,
            (false, true) => Self::Later,
            (false, false) => Self::Never,
        }
    }

    fn and(self, other: Self) -> Self {
        self.max(other)
    }

    fn refusal<H>(self) -> Admitted<H> {
        match self {
            Self::Now | Self::Later => Admitted::Reserved,
            Self::Never => Admitted::Exhausted,
        }
    }

    fn grant(self, grant: Grant) -> Admitted<Grant> {
        match self {
            Self::Now => Admitted::Held(grant),
            Self::Later | Self::Never => self.refusal(),
        }
    }
}

fn calls_within(account: &Standing<'_>, most: Option<u32>) -> Fit {
    let Some(most) = most else { return Fit::Now };
    let used = account.calls_used;
    Fit::of(used.saturating_add(account.calls_held) < most, used < most)
}

fn amount_within(account: &Standing<'_>, charge: Msat, most: Option<Msat>) -> Fit {
    let Some(most) = most else { return Fit::Now };
    let spent = account.spent();
    let fits = |taken: Option<Msat>| {
        taken
            .and_then(|taken| taken.checked_add(charge))
            .is_some_and(|sum| sum <= most)
    };
    Fit::of(fits(spent.checked_add(account.held)), fits(Some(spent)))
}

fn balance_covers(account: &Standing<'_>, charge: Msat) -> Fit {
    Fit::of(charge <= account.free(), charge <= account.for_sale())
}
