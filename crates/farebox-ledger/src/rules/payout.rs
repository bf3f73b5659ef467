//! The rules of money out: what a payout may reserve of one account, whatever its expiry.

use farebox_core::{Kind, Msat};

use super::free;
use crate::rows::{Account, Reserve};
use crate::{AskedBy, PayoutAnswer, PayoutRequest};

/// Decides what a payout takes, or why it takes nothing.
pub(crate) fn payout(
    request: &PayoutRequest,
    account: &Account,
) -> Result<Reserve, Box<PayoutAnswer>> {
    if account.revoked_at.is_some() && request.asked_by == AskedBy::Holder {
        return Err(PayoutAnswer::Revoked.into());
    }
    if request.amount.is_zero() || request.amount < request.limits.least {
        return Err(PayoutAnswer::BelowLeast.into());
    }
    let free = match account.kind() {
        // The first of them that is charged takes the whole of it.
        Kind::Pass(_) if account.held.calls > 0 => Msat::ZERO,
        _ => free(account),
    };
    let free_excess = match account.kind() {
        Kind::Balance => Msat::ZERO,
        Kind::Single | Kind::Calls(_) | Kind::Pass(_) => {
            account.excess.saturating_sub(account.held.excess)
        }
    };
    let available = free.checked_add(free_excess).unwrap_or(Msat::MAX);
    let need = request.amount.checked_add(request.max_fee);
    match need {
        Some(need) if need <= available => Ok(take(account, need, free, free_excess)),
        Some(need) if need <= account.balance => Err(PayoutAnswer::Reserved.into()),
        _ => Err(PayoutAnswer::NothingLeft { available }.into()),
    }
}

/// Excess goes first, since it buys nothing; calls go all together.
fn take(account: &Account, need: Msat, free: Msat, free_excess: Msat) -> Reserve {
    if account.kind() == Kind::Balance {
        return Reserve {
            sold: need,
            ..Reserve::default()
        };
    }
    if need <= free_excess {
        return Reserve {
            excess: need,
            ..Reserve::default()
        };
    }
    Reserve {
        sold: free,
        excess: need.saturating_sub(free),
        calls: free_calls(account, free),
    }
}

fn free_calls(account: &Account, free: Msat) -> u32 {
    let sold = match account.kind() {
        Kind::Single => 1,
        Kind::Calls(count) => count,
        // Its money is still there only if it was never begun.
        Kind::Pass(_) => u32::from(!free.is_zero()),
        Kind::Balance => 0,
    };
    sold.saturating_sub(account.calls_used.saturating_add(account.held.calls))
}
