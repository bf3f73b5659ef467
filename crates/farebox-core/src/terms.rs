//! What a payment buys: the terms of sale that a token carries and the ledger keeps.

use std::time::Duration;

use crate::{Msat, RequestDigest, RouteName, UnixMillis};

/// What kind of value a payment turns into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request; a retry of it is the same sale.
    Single,
    /// This many requests (at least one), counted, whatever they would cost later.
    Calls(u32),
    /// Any number of requests until so long after the first claim.
    Pass(Duration),
    /// An amount that requests draw down.
    Balance,
}

crate::words! {
    /// A class of HTTP methods a token is good for, by its word in caveats and the configuration.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MethodClass {
        /// The safe methods of RFC 9110 section 9.2.1: GET, HEAD, OPTIONS, TRACE.
        Read = "read",
        /// Every other method.
        Write = "write",
        /// All methods.
        Any = "any",
    }
}

/// How tightly a token is tied to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Any request on the route, within the method class.
    Route,
    /// Exactly the request with this digest.
    Request(RequestDigest),
}

/// A fingerprint of a route's conditions of sale at the moment a token was issued: tells in
/// receipts and reports which version of the price list was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TermsEpoch(pub u32);

/// What was sold: fixed when the challenge is made, credited once at the first claim, and never
/// touched by later changes of price or plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the invoice asked for.
    pub amount: Msat,
    /// What the amount turns into.
    pub kind: Kind,
    /// Where it may be spent.
    pub route: RouteName,
    /// With which methods.
    pub methods: MethodClass,
    /// On which request.
    pub binding: Binding,
    /// Under which version of the price list.
    pub epoch: TermsEpoch,
    /// How long after the first claim it may be spent. A [`Kind::Pass`] has its own span.
    pub valid_for: Duration,
    /// Until when the first claim may start that time; later the value is credited, but expired.
    pub claim_by: UnixMillis,
}

/// How much of a token one presentation may use: what the holder's own caveats leave of the terms.
/// Each limit counts everything the account has spent or holds, whoever spent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// At most so many calls in all.
    pub calls: Option<u32>,
    /// At most so much in all.
    pub amount: Option<Msat>,
    /// Not at or after this instant.
    pub expires_at: Option<UnixMillis>,
}

impl MethodClass {
    /// The class of one method; the name is compared by case, as RFC 9110 section 9.1 has it.
    #[must_use]
    pub fn of(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" => Self::Read,
            _ => Self::Write,
        }
    }

    /// Whether every method of `other` is in this class.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_bought_for_reading_does_not_write() {
        let bought = MethodClass::of("GET");
        assert!(bought.covers(MethodClass::of("HEAD")));
        assert!(!bought.covers(MethodClass::of("DELETE")));
        assert!(!bought.covers(MethodClass::of("get")));
        assert!(MethodClass::Any.covers(MethodClass::Write));
        assert!(!MethodClass::Write.covers(MethodClass::Any));
    }
}
