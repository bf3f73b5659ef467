//! Money out: what is asked of the ledger before and after a payment leaves the node.
//!
//! A payout reserves its amount and the most its fee may be, durably, before anything is sent. It
//! stays open, over any number of restarts, until the node has said what became of it. Values only.

use std::num::NonZeroU64;

use farebox_core::{AccountId, Kind, Msat, PaymentHash, PayoutId, UnixMillis};

use crate::code::codes;
use crate::{AccountView, Funding, KeyView, LedgerError};

/// The longest outgoing invoice that is kept, in bytes.
pub const MAX_PAYOUT_INVOICE: usize = 8 * 1024;
/// The longest name of a backend that is kept, in bytes.
pub const MAX_BACKEND_NAME: usize = 128;

/// One request to reserve money for an outgoing payment.
#[derive(Clone, Debug)]
pub struct PayoutRequest {
    /// The id of the payout, made by the asking side.
    pub id: PayoutId,
    /// The account that gives the money. A child of a key has none: it is unknown.
    pub account: AccountId,
    /// What credits the account, where the holder of a token asks. A token never used before is
    /// claimed with it, in the same transaction, if money is reserved; without it such an account is
    /// unknown.
    pub funding: Option<Funding>,
    /// Who asks.
    pub asked_by: AskedBy,
    /// The payment hash of the outgoing invoice: one invoice is one payout, for ever.
    pub destination_hash: PaymentHash,
    /// The outgoing invoice, at most [`MAX_PAYOUT_INVOICE`] bytes.
    pub bolt11: String,
    /// What the invoice asks for.
    pub amount: Msat,
    /// The most that routing may cost on top. Amount and fee come out of the account.
    pub max_fee: Msat,
    /// The name of the backend that will pay, at most [`MAX_BACKEND_NAME`] bytes.
    pub backend: String,
    /// What is allowed.
    pub limits: PayoutLimits,
    /// The present instant by the caller's clock.
    pub now: UnixMillis,
}

/// Who asks for a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// Whoever has the unattenuated token.
    Holder,
    /// The operator, who may also pay from a revoked account.
    Operator,
}

/// What payouts are allowed. Amounts count without fees. Open payouts always count; ended ones for
/// 24 hours, and as long as a clock that was set back says they lie in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutLimits {
    /// The least amount of one payout. Nothing at all is never paid out.
    pub least: Msat,
    /// The most that all payouts, open and paid, may come to within 24 hours.
    pub daily_total: Msat,
    /// The payouts of one account may come to this part of what those of others left of the daily total:
    /// 4 for a quarter. However many take theirs, something is left for another one.
    pub account_part: NonZeroU64,
    /// The most payouts open at once, of all accounts.
    pub max_open: u32,
    /// The most payouts begun for one account within 24 hours, failed ones included.
    pub per_account_per_day: u32,
}

/// The answer to a [`PayoutRequest`]. Each is durable when it is given; all but
/// [`Begun`](Self::Begun) changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayoutAnswer {
    /// The money is reserved: now, and only now, it may be sent.
    Begun(PayoutView),
    /// This invoice was asked for before, for this account; or another payout of this account is
    /// still open. Compare `destination_hash`.
    Exists(PayoutView),
    /// The outgoing invoice belongs to a payout of another account.
    DestinationTaken,
    /// Amount and fee are more than there is, whatever becomes of open requests.
    NothingLeft {
        /// What could be asked for now, fee included.
        available: Msat,
    },
    /// Amount and fee are there, but held by open requests.
    Reserved,
    /// The amount is below the least one.
    BelowLeast,
    /// All payouts together would exceed the daily total.
    DailyTotal,
    /// Those of this account would exceed its part of it.
    DailyShare {
        /// What is left of that part.
        left: Msat,
    },
    /// Too many payouts are open.
    TooManyOpen,
    /// This account had too many payouts within 24 hours.
    TooOften,
    /// The account was revoked, and its holder asks.
    Revoked,
    /// Never claimed, and not to be claimed now.
    Unknown,
    /// The token says something else than what was credited at the first claim.
    TermsMismatch,
}

/// How a payout ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutEnd {
    /// The node paid.
    Paid {
        /// What routing cost. What exceeds `max_fee` is the seller's loss.
        fee: Msat,
    },
    /// The node says for certain that it did not pay and never will.
    Failed,
}

farebox_core::words! {
    /// Where a payout stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum PayoutState {
        /// Reserved. Whether it was sent, and what became of it, only the node knows.
        Open = "open",
        /// Paid, and charged.
        Paid = "paid",
        /// Not paid; the money is back on the account.
        Failed = "failed",
    }
}

/// One payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutView {
    /// The cursor in listings: counts up from payout to payout.
    pub cursor: u64,
    /// Its id.
    pub id: PayoutId,
    /// The account that gives the money.
    pub account: AccountId,
    /// The payment hash of the outgoing invoice.
    pub destination_hash: PaymentHash,
    /// The outgoing invoice: the only one that may be tried for this payout.
    pub bolt11: String,
    /// What the invoice asks for.
    pub amount: Msat,
    /// The most that routing may cost on top.
    pub max_fee: Msat,
    /// What routing cost, as the node said, once it is paid.
    pub fee: Option<Msat>,
    /// Unused calls that go with the money: held while it is open, used up when it is paid.
    pub calls: u32,
    /// The name of the backend that pays.
    pub backend: String,
    /// Who asked.
    pub asked_by: AskedBy,
    /// Where it stands.
    pub state: PayoutState,
    /// When it was begun.
    pub asked_at: UnixMillis,
    /// When its end was written.
    pub ended_at: Option<UnixMillis>,
}

/// What could be paid out of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refundable {
    /// The account.
    pub account: AccountId,
    /// What was sold.
    pub kind: Kind,
    /// Money neither spent nor held: what a payout and its fee may take.
    pub available: Msat,
    /// The part of it that was received beyond what was sold, or given back. A payout of no more
    /// than this takes no calls.
    pub excess: Msat,
    /// Money that open requests and open payouts have reserved.
    pub held: Msat,
    /// Unused calls, which go all together once a payout takes more than the excess.
    pub calls: u32,
    /// Until when the account may be spent. It may be refunded after that, too.
    pub expires_at: UnixMillis,
    /// Whether it was revoked: then only the operator may refund it.
    pub revoked: bool,
}

codes!(pub(crate) AskedBy {
    Holder = 1,
    Operator = 2,
});

codes!(pub(crate) PayoutState {
    Open = 1,
    Paid = 2,
    Failed = 3,
});

impl PayoutRequest {
    /// Whether it fits what is kept.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if self.bolt11.len() > MAX_PAYOUT_INVOICE || self.backend.len() > MAX_BACKEND_NAME {
            return Err(LedgerError::TooLarge);
        }
        Ok(())
    }
}

impl Refundable {
    /// What a key's own money is good for; a child has none.
    pub(crate) fn of_key(key: &KeyView) -> Option<Self> {
        if key.parent.is_some() {
            return None;
        }
        Some(Self {
            account: key.key.account(),
            kind: Kind::Balance,
            available: key.balance.saturating_sub(key.held),
            excess: Msat::ZERO,
            held: key.held,
            calls: 0,
            expires_at: key.limits.expires_at.unwrap_or(UnixMillis::new(u64::MAX)),
            revoked: key.revoked_at.is_some(),
        })
    }

    pub(crate) fn of(account: &AccountView) -> Self {
        let sold = match account.terms.kind {
            Kind::Single => 1,
            Kind::Calls(count) => count,
            Kind::Pass(_) | Kind::Balance => 0,
        };
        let available = account.balance.saturating_sub(account.held);
        let excess = match account.terms.kind {
            Kind::Balance => Msat::ZERO,
            Kind::Single | Kind::Calls(_) | Kind::Pass(_) => account.excess.min(available),
        };
        Self {
            account: account.account,
            kind: account.terms.kind,
            available,
            excess,
            held: account.held,
            calls: sold.saturating_sub(account.calls_used.saturating_add(account.calls_held)),
            expires_at: account.expires_at,
            revoked: account.revoked_at.is_some(),
        }
    }
}
