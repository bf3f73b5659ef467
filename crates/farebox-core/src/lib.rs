//! Money, ids, prices and the states a payment passes through.
//!
//! Everything here is a value: this crate does no I/O, is never async and never reads a clock.
//! Instants and random bytes come in as arguments.

mod hash;
mod id;
mod money;
mod secret;
mod terms;
mod time;
mod words;

pub use hash::{AccountId, BadHex, KeyHash, PaymentHash, Preimage, RequestDigest};
pub use id::{
    HoldId, IdError, KeyEpoch, MintId, PayoutId, ProcessEpoch, RequestId, RouteName,
    RouteNameError, SwapId, WithdrawalId,
};
pub use money::{Msat, MsatOverflow};
pub use secret::Secret;
pub use terms::{Allowance, Binding, Kind, MethodClass, Terms, TermsEpoch};
pub use time::{Clock, UnixMillis};
