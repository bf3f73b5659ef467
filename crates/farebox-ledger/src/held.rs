//! Held calls: requests that are served while their payment is held, and paid when they succeeded.
//!
//! Each is one durable row with a state that only ever moves forward, by compare-and-set, so that a
//! call runs once and is settled or canceled once, whatever dies in between. Values only.

use std::fmt;

use farebox_core::{KeyEpoch, Kind, PaymentHash, RequestDigest, Terms, UnixMillis};

use crate::LedgerError;
use crate::code::codes;
use crate::payout::MAX_BACKEND_NAME;

/// The longest answer that is kept, in bytes.
pub const MAX_HELD_ANSWER: usize = 16 * 1024 * 1024;

/// A request that waits for its payment to be held, and what became of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldCall {
    /// The hash of the hold invoice: the account that settling creates.
    pub payment_hash: PaymentHash,
    /// The identifier of the token that was offered with it.
    pub token_id: [u8; 32],
    /// Which secret signed the token.
    pub key_epoch: KeyEpoch,
    /// What is sold: of kind [`Single`](farebox_core::Kind::Single).
    pub terms: Terms,
    /// The request that the token is bound to.
    pub digest: RequestDigest,
    /// The request as the gateway encodes it; empty once the call has ended.
    pub request: Vec<u8>,
    /// The name of the backend that holds the payment.
    pub backend: String,
    /// How far it has come.
    pub state: HeldState,
    /// When it was offered.
    pub created_at: UnixMillis,
    /// When the invoice can no longer be paid.
    pub expires_at: UnixMillis,
    /// The answer as the gateway encodes it, from [`Answered`](HeldState::Answered) until the keep
    /// time after the end has passed.
    pub answer: Option<Vec<u8>>,
}

/// How far a held call has come. The numbers are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeldState {
    /// The invoice is out.
    Offered,
    /// The payment is held, and the call was begun. It is never begun again.
    Running,
    /// The answer is stored: the payment may be settled.
    Answered,
    /// The payment is settled, claimed and charged.
    Settled,
    /// The payment went back, or never came.
    Canceled,
}

/// A held call that has not ended, without its request and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSummary {
    /// The hash of the hold invoice.
    pub payment_hash: PaymentHash,
    /// How far it has come.
    pub state: HeldState,
    /// The name of the backend that holds the payment.
    pub backend: String,
    /// When it was offered.
    pub created_at: UnixMillis,
    /// When the invoice can no longer be paid.
    pub expires_at: UnixMillis,
}

/// How many held calls may be open at once, those whose payment has not come included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLimits {
    /// Calls neither settled nor canceled.
    pub max_calls: u32,
    /// The bytes of their requests, all together.
    pub max_bytes: u64,
}

codes!(pub(crate) HeldState {
    Offered = 1,
    Running = 2,
    Answered = 3,
    Settled = 4,
    Canceled = 5,
});

impl HeldState {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Settled | Self::Canceled)
    }
}

impl HeldCall {
    /// Whether it is one that can be held.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if self.terms.kind != Kind::Single {
            return Err(LedgerError::NotHoldable);
        }
        if self.backend.len() > MAX_BACKEND_NAME {
            return Err(LedgerError::TooLarge);
        }
        Ok(())
    }
}

impl fmt::Debug for HeldCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldCall")
            .field("payment_hash", &self.payment_hash)
            .field("state", &self.state)
            .field("backend", &self.backend)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
