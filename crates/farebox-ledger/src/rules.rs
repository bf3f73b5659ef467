//! The rules of admission: what one request gets from one account, as a function of rows and an
//! instant. Nothing is read or written here.

mod key;
mod payout;

pub(crate) use key::{OnDay, key};
pub(crate) use payout::payout;

use farebox_core::{Allowance, Kind, Msat, Terms, UnixMillis};

use crate::rows::Account;
use crate::{Admitted, Cost, HoldRequest, LedgerError, Receipt, Remaining};

/// What is left of what was sold, held or not: on a balance, all there is.
fn for_sale(account: &Account) -> Msat {
    match account.kind() {
        Kind::Balance => account.balance,
        Kind::Single | Kind::Calls(_) | Kind::Pass(_) => {
            account.balance.saturating_sub(account.excess)
        }
    }
}

/// What is for sale and not held.
fn free(account: &Account) -> Msat {
    for_sale(account).saturating_sub(account.held.msat)
}

/// Everything that ever left the account.
fn spent(account: &Account) -> Msat {
    let sold = account.terms().map_or(Msat::ZERO, |terms| terms.amount);
    let came = sold.get().saturating_add(account.excess.get());
    Msat::new(came.saturating_sub(account.balance.get())).unwrap_or(Msat::MAX)
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
    account: &Account,
    earlier: Earlier,
) -> Result<Admitted<Grant>, LedgerError> {
    if account.terms().is_none() || account.terms() != request.terms() {
        return Ok(Admitted::TermsMismatch);
    }
    if account.revoked_at.is_some() {
        return Ok(Admitted::Revoked);
    }
    if is_past(request.allowance.expires_at, request.now) {
        return Ok(Admitted::Expired);
    }
    if let Some(answer) = repeated(account.kind(), earlier) {
        return Ok(answer);
    }
    if request.now >= account.expires_at {
        return Ok(Admitted::Expired);
    }
    hold(request, account)
}

/// Decides a request with a pass that is known to run.
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

fn hold(request: &HoldRequest, account: &Account) -> Result<Admitted<Grant>, LedgerError> {
    match (account.kind(), request.cost) {
        (Kind::Pass(_), _) => Ok(account.terms().map_or(Admitted::TermsMismatch, |terms| {
            pass(request, account, terms)
        })),
        (Kind::Single, _) => Ok(call(request, account, 1)),
        (Kind::Calls(count), _) => Ok(call(request, account, count)),
        (Kind::Balance, Cost::Amount(amount)) => Ok(draw(request, account, amount)),
        (Kind::Balance, Cost::Call) => Err(LedgerError::CallOnBalance),
    }
}

/// A pass that was paid out is none, and one that is being paid out may come back. One that does not
/// run yet begins with the first answer that is charged, whichever of those under way that is: each
/// has a hold, of nothing, since all of them together cost the price once.
fn pass(request: &HoldRequest, account: &Account, terms: &Terms) -> Admitted<Grant> {
    if account.calls_used > 0 {
        Admitted::Exhausted
    } else if !account.held.msat.is_zero() {
        Admitted::Reserved
    } else if for_sale(account).is_zero() {
        known_pass(request, terms, account.expires_at)
    } else if is_limited(&request.allowance, terms.amount) {
        Admitted::Exhausted
    } else {
        Admitted::Held(Grant {
            charge: Msat::ZERO,
            remaining: Remaining {
                calls: None,
                msat: None,
            },
            expires_at: account.expires_at,
        })
    }
}

/// One of `count` calls. Its share of the money is taken from what is free, so that the shares of
/// all calls sum to the amount whatever is voided in between.
fn call(request: &HoldRequest, account: &Account, count: u32) -> Admitted<Grant> {
    let within = calls_within(account, Some(count));
    let Some(free_calls) = count
        .checked_sub(account.calls_used.saturating_add(account.held.calls))
        .filter(|free| *free > 0)
    else {
        return within.refusal();
    };
    let free = free(account);
    let charge = free.share_ceil(u64::from(free_calls));
    let verdict = within
        .and(calls_within(account, request.allowance.calls))
        .and(amount_within(account, charge, request.allowance.amount));
    let own = request.allowance.calls.map(|most| {
        let taken = account.calls_used.saturating_add(account.held.calls);
        most.saturating_sub(taken)
    });
    let calls = own.map_or(free_calls, |own| own.min(free_calls));
    let remaining = Remaining {
        calls: Some(calls.saturating_sub(1)),
        msat: Some(left_of(request, account, free).saturating_sub(charge)),
    };
    verdict.grant(Grant {
        charge,
        remaining,
        expires_at: account.expires_at,
    })
}

/// An amount of a balance.
fn draw(request: &HoldRequest, account: &Account, charge: Msat) -> Admitted<Grant> {
    let free = free(account);
    let verdict = balance_covers(account, charge)
        .and(calls_within(account, request.allowance.calls))
        .and(amount_within(account, charge, request.allowance.amount));
    let remaining = Remaining {
        calls: None,
        msat: Some(left_of(request, account, free).saturating_sub(charge)),
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

fn calls_within(account: &Account, most: Option<u32>) -> Fit {
    let Some(most) = most else { return Fit::Now };
    let used = account.calls_used;
    Fit::of(used.saturating_add(account.held.calls) < most, used < most)
}

fn amount_within(account: &Account, charge: Msat, most: Option<Msat>) -> Fit {
    fit(most, spent(account), account.held.msat, charge)
}

/// Whether so much more fits a limit on what was spent and is held.
fn fit(most: Option<Msat>, spent: Msat, held: Msat, amount: Msat) -> Fit {
    let Some(most) = most else { return Fit::Now };
    let fits = |taken: Option<Msat>| {
        let sum = taken.and_then(|taken| taken.checked_add(amount));
        sum.is_some_and(|sum| sum <= most)
    };
    Fit::of(fits(spent.checked_add(held)), fits(Some(spent)))
}

/// What of the free money is the holder's by its own limit on the amount: the rest is others' affair.
fn left_of(request: &HoldRequest, account: &Account, free: Msat) -> Msat {
    request.allowance.amount.map_or(free, |most| {
        let own = most.saturating_sub(spent(account));
        own.saturating_sub(account.held.msat).min(free)
    })
}

fn balance_covers(account: &Account, charge: Msat) -> Fit {
    Fit::of(charge <= free(account), charge <= for_sale(account))
}
