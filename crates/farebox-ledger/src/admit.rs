//! What the gateway asks of the ledger for one request, and every answer it can get.
//!
//! Values only: nothing here reaches a store.

use farebox_core::{
    AccountId, Allowance, HoldId, Msat, RequestDigest, RouteName, Terms, UnixMillis,
};

use crate::{ChargeBasis, Funding, Hold, KeyRefusal, LedgerError, Swapped};

/// One request for a hold, and for the credit of its account where that was never seen: decided
/// together.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// The id of the hold, made by the asking side; it also names the transfer that settles it.
    pub hold: HoldId,
    /// The account that asks: a payment's, or a prepaid key's, whose parent's money it may spend.
    pub account: AccountId,
    /// What credits the account at its first sight. None for an account that must exist: a key's.
    pub funding: Option<Funding>,
    /// The swap that brought the money, where it is not ended yet: it ends in the same step.
    pub swapped: Option<Box<Swapped>>,
    /// What the holder's own caveats leave of what was sold. It only lowers it, and means nothing
    /// without `funding`.
    pub allowance: Allowance,
    /// The route that is asked for. It earns the money of a key; the money of a payment is earned by
    /// the route it was sold for.
    pub route: RouteName,
    /// The model it asks for, where the route has models.
    pub model: Option<String>,
    /// What this request costs.
    pub cost: Cost,
    /// Under which key of the client this request is sold at most once. Each account has its own,
    /// children of keys included.
    pub once: Option<Once>,
    /// How many releases that its client caused the paying account may have behind it, beyond as many
    /// requests as it was charged for. The next one is charged instead.
    pub max_voids: u32,
    /// The present instant by the caller's clock.
    pub now: UnixMillis,
    /// What the price was found by, where there is anything to tell.
    pub basis: Option<Box<ChargeBasis>>,
}

/// What one request takes from an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// One call, and that call's share of the money.
    Call,
    /// So much of a balance. On an account that counts calls it is one call, whatever the amount.
    Amount(Msat),
}

/// Names a request, so that a retry of it is not a second sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key: a constant for a single-use token, else the hash of the client's own key.
    pub key: [u8; 32],
    /// What the key was first used for.
    pub digest: RequestDigest,
}

/// The answer to a [`HoldRequest`]. Each is durable when it is given. The engine answers with a
/// [`Granted`](crate::Granted) where the front hands out a [`Hold`].
#[derive(Debug)]
pub enum Admitted<H = Hold> {
    /// The money is held. Settle or void it.
    Held(H),
    /// The token is good for any number of requests until `expires_at`; nothing is held.
    Pass {
        /// When the pass ends.
        expires_at: UnixMillis,
    },
    /// The same request is still open under the same key.
    InFlight,
    /// The key was used for another request.
    Conflict,
    /// The same request was charged before.
    Finished(Receipt),
    /// What is left is held by requests that are still open.
    Reserved,
    /// Not enough is left for this request, whatever becomes of the open ones.
    Exhausted,
    /// The time to spend is over; the value stays on the account.
    Expired,
    /// The account was revoked; the value stays on it.
    Revoked,
    /// Never claimed, and not to be claimed now.
    Unclaimed,
    /// The funding says something else than what was credited at the first claim.
    TermsMismatch,
    /// A prepaid key may not do this. Tokens are never answered so.
    Key(KeyRefusal),
}

/// What a settled request was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The hold that was settled: also the id of the transfer.
    pub hold: HoldId,
    /// How much it was.
    pub charged: Msat,
    /// When it was settled.
    pub settled_at: UnixMillis,
}

/// What an account has left after a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Calls neither used nor held; absent on a balance.
    pub calls: Option<u32>,
    /// Money neither spent nor held. Of a key that spends another one's, what it may spend itself by
    /// its own limits, and absent where it has none: the other one's money is not its affair.
    pub msat: Option<Msat>,
}

/// Why a hold is released that its client did not bring about. Such releases are never counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// The request never left for the upstream.
    NotForwarded,
    /// The upstream could not be reached.
    Unreachable,
    /// The upstream sent no headers in time.
    TimedOut,
    /// The upstream answered with a status that is not charged.
    Refused,
    /// The upstream broke off its answer.
    CutShort,
    /// The hold was dropped without a decision.
    Dropped,
    /// The process that owned the hold died before it recorded anything to charge.
    Recovered,
}

/// Why a forwarded request should cost nothing by its own client's doing. Beyond a few of them it is
/// charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// The client left before the first byte was sent.
    Gone,
    /// It spoilt its own upload, or kept the upstream waiting for it.
    Upload,
    /// What it asked for is not delivered yet: the upstream said that nothing is new, or sent it on to
    /// another of its own paths.
    NotDelivered,
}

impl HoldRequest {
    /// What was sold, as the token says.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.funding.as_ref().map(|funding| &funding.terms)
    }

    /// Cuts what is kept of it to the length that is kept.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] where its basis cannot be kept.
    pub(crate) fn fit(&mut self) -> Result<(), LedgerError> {
        self.basis.as_mut().map_or(Ok(()), |basis| basis.fit())
    }
}

impl<H> Admitted<H> {
    /// The same answer with another value for what is held.
    pub(crate) fn map_held<T>(self, held: impl FnOnce(H) -> T) -> Admitted<T> {
        match self {
            Self::Held(hold) => Admitted::Held(held(hold)),
            Self::Pass { expires_at } => Admitted::Pass { expires_at },
            Self::InFlight => Admitted::InFlight,
            Self::Conflict => Admitted::Conflict,
            Self::Finished(receipt) => Admitted::Finished(receipt),
            Self::Reserved => Admitted::Reserved,
            Self::Exhausted => Admitted::Exhausted,
            Self::Expired => Admitted::Expired,
            Self::Revoked => Admitted::Revoked,
            Self::Unclaimed => Admitted::Unclaimed,
            Self::TermsMismatch => Admitted::TermsMismatch,
            Self::Key(refusal) => Admitted::Key(refusal),
        }
    }
}
