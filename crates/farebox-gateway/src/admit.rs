//! Whether a request may pass: the only place where an [`Admission`] is made.
//!
//! Everything that can refuse comes before the ledger's hold, and the hold is the last step that
//! can. Nothing is marked spent before every check has passed.

use std::sync::Arc;

use farebox_core::{HoldId, Kind, Msat, RequestDigest, UnixMillis};
use farebox_http::limits::TokenPermit;
use farebox_ledger::{
    Admitted, ChargeBasis, Cost, Funding, Hold, HoldRequest, Ledger, Once, Rail, Receipt,
};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::gauge::Gauge;
use crate::plan::Route;
use crate::refusal::{AdmissionError, Owed, Refusal};
use crate::sale::Sale;
use farebox_paywall::credential::Token;

/// The permission to forward one request. Its fields are private: only [`free`](Admission::free)
/// routes, keys and [`admit`] make one, and `forward` consumes it.
pub(crate) struct Admission {
    route: Arc<Route>,
    payment: Payment,
    permit: Option<TokenPermit>,
}

/// How an admitted request is paid for.
pub(crate) enum Payment {
    /// It costs nothing.
    Free,
    /// A token that is good until an instant.
    Pass { expires_at: UnixMillis },
    /// The payment itself is held at the node, and is taken when the answer is stored.
    Accepted,
    /// Held on an account; `once` when a retry must find this sale again.
    Held {
        hold: Hold,
        once: bool,
        /// What tells the charge, where it is not the whole hold.
        gauge: Option<Box<dyn Gauge>>,
    },
}

/// What came of asking for admission.
pub(crate) enum Verdict {
    /// It may pass.
    Admitted(Admission),
    /// It was served and charged before.
    Finished(Receipt),
    /// Something has to be paid first.
    Owed(Owed),
}

impl Admission {
    /// A request on a free route.
    pub(crate) const fn free(route: Arc<Route>) -> Self {
        Self {
            route,
            payment: Payment::Free,
            permit: None,
        }
    }

    /// A request whose payment the node has accepted and holds.
    pub(crate) const fn accepted(route: Arc<Route>) -> Self {
        Self {
            route,
            payment: Payment::Accepted,
            permit: None,
        }
    }

    /// A request that is held on the money of a key.
    pub(crate) const fn of_key(
        route: Arc<Route>,
        hold: Hold,
        once: bool,
        permit: TokenPermit,
    ) -> Self {
        Self {
            route,
            payment: Payment::Held {
                hold,
                once,
                gauge: None,
            },
            permit: Some(permit),
        }
    }

    /// The same request, charged by what this gauge finds. A token that bought calls pays with a
    /// call, whatever that uses.
    pub(crate) fn gauged(mut self, by: Box<dyn Gauge>) -> Self {
        if let Payment::Held { gauge, hold, .. } = &mut self.payment
            && hold.remaining().calls.is_none()
        {
            *gauge = Some(by);
        }
        self
    }

    pub(crate) fn into_parts(self) -> (Arc<Route>, Payment, Option<TokenPermit>) {
        (self.route, self.payment, self.permit)
    }
}

/// What tells one request from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fingerprint {
    /// Nothing; nobody asked.
    None,
    /// Everything: method, path, query and body.
    Whole(RequestDigest),
    /// Everything but the content of a body that is too long to be read first. Such a request is
    /// known again, so that it is not sold twice, but is never answered from memory.
    Outline(RequestDigest),
}

impl Fingerprint {
    /// What the request is known by, if anybody asked.
    pub(crate) const fn digest(self) -> Option<RequestDigest> {
        match self {
            Self::None => None,
            Self::Whole(digest) | Self::Outline(digest) => Some(digest),
        }
    }

    /// Whether the request is known to its last byte, so that its answer may be kept.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// What `admit` needs to know of the request beyond its token.
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Arc<Route>,
    pub(crate) sale: &'a Sale,
    /// The most that the request can cost.
    pub(crate) at_most: Msat,
    /// What that was found by.
    pub(crate) basis: Option<Box<ChargeBasis>>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) idempotency_key: Option<[u8; 32]>,
    pub(crate) now: UnixMillis,
    pub(crate) hold: HoldId,
}

/// Whether the digest of the request has to be known to judge `token`.
pub(crate) fn needs_digest(token: &Token, idempotency_key: Option<[u8; 32]>) -> bool {
    let bound = token.granted.holder.request.is_some();
    let single = matches!(token.granted.terms.kind, Kind::Single);
    let keyed = idempotency_key.is_some() && !matches!(token.granted.terms.kind, Kind::Pass(_));
    bound || single || keyed
}

/// The key under which a client repeats a request, if it names one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut lines = headers.get_all("idempotency-key").iter();
    let mut hasher = Sha256::new();
    hasher.update(b"idempotency-key\n");
    hasher.update(lines.next()?.as_bytes());
    // All of them, as the upstream sees all: what differs in any is another sale.
    for line in lines {
        hasher.update(b"\n");
        hasher.update(line.as_bytes());
    }
    Some(hasher.finalize().into())
}

/// Checks scope and expiry as far as the head of a request tells, without touching anything.
pub(crate) fn check_scope(
    token: &Token,
    route: &Route,
    method: &http::Method,
    now: UnixMillis,
) -> Result<(), Owed> {
    let granted = &token.granted;
    if granted.terms.route != route.name {
        return Err(Owed::WrongRoute);
    }
    let class = farebox_core::MethodClass::of(method.as_str());
    if !granted.holder.methods.covers(class) {
        return Err(Owed::WrongMethod);
    }
    let end = granted.holder.allowance.expires_at;
    if end.is_some_and(|end| end <= now) {
        return Err(Owed::Expired);
    }
    Ok(())
}

/// Whether this is the request that the token is for, where it is for one.
fn is_bound_elsewhere(token: &Token, fingerprint: Fingerprint) -> bool {
    let only = token.granted.holder.request;
    only.is_some_and(|only| fingerprint != Fingerprint::Whole(only))
}

/// Claims the token, if this is its first use, and holds what the request costs, in one step.
pub(crate) async fn admit(
    ledger: &Ledger,
    token: &Token,
    asked: &Asked<'_>,
    claims: farebox_ledger::ClaimPolicy,
    permit: TokenPermit,
) -> Result<Verdict, Refusal> {
    if is_bound_elsewhere(token, asked.fingerprint) {
        return Ok(Verdict::Owed(Owed::WrongRequest));
    }
    let once = once(token, asked);
    let keeps_answer = once.is_some() && asked.fingerprint.is_whole();
    let request = HoldRequest {
        hold: asked.hold,
        account: token.payment_hash.account(),
        funding: Some(Funding {
            rail: Rail::Lightning,
            id: token.payment_hash,
            amount: token.granted.terms.amount,
            terms: token.granted.terms.clone(),
            key_epoch: token.key_epoch,
            claims,
        }),
        allowance: token.granted.holder.allowance,
        route: asked.route.name.clone(),
        model: None,
        cost: cost(token, asked.at_most),
        once,
        max_voids: asked.sale.max_voids,
        now: asked.now,
        basis: asked.basis.clone(),
    };
    let payment = match ledger.hold(request).await? {
        Admitted::Held(hold) => Payment::Held {
            hold,
            once: keeps_answer,
            gauge: None,
        },
        Admitted::Pass { expires_at } => Payment::Pass { expires_at },
        Admitted::Finished(receipt) => return Ok(Verdict::Finished(receipt)),
        Admitted::InFlight => return Err(AdmissionError::InFlight.into()),
        Admitted::Conflict => return Err(AdmissionError::IdempotencyConflict.into()),
        Admitted::Reserved => return Err(AdmissionError::Reserved.into()),
        Admitted::TooManyVoids => return Err(AdmissionError::TooManyVoids.into()),
        Admitted::Exhausted => return Ok(Verdict::Owed(Owed::Exhausted)),
        Admitted::Expired => return Ok(Verdict::Owed(Owed::Expired)),
        Admitted::Revoked => return Ok(Verdict::Owed(Owed::Revoked)),
        Admitted::Unclaimed => return Ok(Verdict::Owed(Owed::Voided)),
        // The second is never said of a token.
        Admitted::TermsMismatch | Admitted::Key(_) => {
            return Ok(Verdict::Owed(Owed::TermsMismatch));
        }
    };
    Ok(Verdict::Admitted(Admission {
        route: Arc::clone(asked.route),
        payment,
        permit: Some(permit),
    }))
}

fn cost(token: &Token, at_most: Msat) -> Cost {
    match token.granted.terms.kind {
        Kind::Single | Kind::Calls(_) | Kind::Pass(_) => Cost::Call,
        Kind::Balance => Cost::Amount(at_most),
    }
}

/// The name under which a retry finds this sale again.
fn once(token: &Token, asked: &Asked<'_>) -> Option<Once> {
    const SINGLE: [u8; 32] = [0; 32];
    let digest = asked.fingerprint.digest()?;
    match token.granted.terms.kind {
        Kind::Single => Some(Once {
            key: SINGLE,
            digest,
        }),
        Kind::Calls(_) | Kind::Balance => asked.idempotency_key.map(|key| Once { key, digest }),
        Kind::Pass(_) => None,
    }
}
