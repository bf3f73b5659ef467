//! What holders append. Each word is checked against what stood before it, and the result is the
//! conjunction of all, so it does not matter who appended what in which order.

use std::cmp::Ordering;
use std::time::Duration;

use farebox_core::{Allowance, Binding, Kind, MethodClass, Msat, Preimage, Terms, UnixMillis};

use super::capabilities::is_word_for;
use super::terms::{KindWord, amount, terms_epoch};
use super::{Capabilities, CaveatError, HolderLimits, count, number, request};

/// The limits so far; starts as wide as the terms.
pub(super) struct Narrowing<'t> {
    terms: &'t Terms,
    amount: Msat,
    calls: Option<u32>,
    limits: HolderLimits,
    preimage: Option<Preimage>,
}

impl<'t> Narrowing<'t> {
    pub(super) fn of(terms: &'t Terms, capabilities: Option<&Capabilities>) -> Self {
        let request = match terms.binding {
            Binding::Route => None,
            Binding::Request(digest) => Some(digest),
        };
        let calls = match terms.kind {
            Kind::Single => Some(1),
            Kind::Calls(calls) => Some(calls),
            Kind::Pass(_) | Kind::Balance => None,
        };
        let limits = HolderLimits {
            allowance: Allowance::default(),
            methods: terms.methods,
            request,
            capabilities: capabilities.cloned(),
        };
        Self {
            terms,
            amount: terms.amount,
            calls,
            limits,
            preimage: None,
        }
    }

    pub(super) fn finish(self) -> (HolderLimits, Option<Preimage>) {
        (self.limits, self.preimage)
    }

    pub(super) fn apply(&mut self, word: &str, value: &str) -> Result<(), CaveatError> {
        match word {
            "amount_msat" => self.amount(value),
            "count" => self.count(value),
            "methods" => self.methods(value),
            "request" => self.request(value),
            "valid_until" => self.valid_until(value),
            "preimage" => same_preimage(&mut self.preimage, value.as_bytes()),
            _ if is_word_for(&self.terms.route, word) => self.capabilities(value),
            _ => self.repeated(word, value),
        }
    }

    /// A cap on all that is drawn. A pass is drawn whole at its first claim, so no part of it can
    /// be kept back.
    fn amount(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "amount_msat";
        let cap = amount(value).ok_or(CaveatError::Malformed { word: WORD })?;
        if cap > self.amount {
            return Err(CaveatError::Widened { word: WORD });
        }
        if cap < self.amount && self.is_pass() {
            return Err(CaveatError::Fixed { word: WORD });
        }
        self.amount = cap;
        self.limits.allowance.amount = Some(cap);
        Ok(())
    }

    /// A cap on all calls. Nobody counts the calls of a pass, so one cannot be enforced there.
    fn count(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "count";
        let cap = count(value).ok_or(CaveatError::Malformed { word: WORD })?;
        if self.calls.is_some_and(|calls| cap > calls) {
            return Err(CaveatError::Widened { word: WORD });
        }
        if self.is_pass() {
            return Err(CaveatError::Fixed { word: WORD });
        }
        self.calls = Some(cap);
        self.limits.allowance.calls = Some(cap);
        Ok(())
    }

    fn methods(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "methods";
        let class = MethodClass::find(value).ok_or(CaveatError::Malformed { word: WORD })?;
        if !self.limits.methods.covers(class) {
            return Err(CaveatError::Widened { word: WORD });
        }
        self.limits.methods = class;
        Ok(())
    }

    fn capabilities(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "capabilities";
        let left = Capabilities::parse(value).ok_or(CaveatError::Malformed { word: WORD })?;
        let so_far = self.limits.capabilities.as_ref();
        if so_far.is_some_and(|so_far| !left.is_within(so_far)) {
            return Err(CaveatError::Widened { word: WORD });
        }
        self.limits.capabilities = Some(left);
        Ok(())
    }

    fn request(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "request";
        let digest = request(value).ok_or(CaveatError::Malformed { word: WORD })?;
        if self.limits.request.is_some_and(|only| only != digest) {
            return Err(CaveatError::Widened { word: WORD });
        }
        self.limits.request = Some(digest);
        Ok(())
    }

    fn valid_until(&mut self, value: &str) -> Result<(), CaveatError> {
        const WORD: &str = "valid_until";
        let end = number(value).ok_or(CaveatError::Malformed { word: WORD })?;
        let end = UnixMillis::from_secs(end);
        if self
            .limits
            .allowance
            .expires_at
            .is_some_and(|earlier| end > earlier)
        {
            return Err(CaveatError::Widened { word: WORD });
        }
        self.limits.allowance.expires_at = Some(end);
        Ok(())
    }

    /// Words that may be said again but not changed. The span of a token runs from its first claim,
    /// which a holder neither knows nor moves: `valid_until` is the word for ending earlier.
    fn repeated(&self, word: &str, value: &str) -> Result<(), CaveatError> {
        let sold = self.terms;
        match word {
            "route" => unchanged("route", Some(value == sold.route.as_str())),
            "kind" => {
                let kind = KindWord::find(value).map(|kind| kind == KindWord::of(sold.kind));
                unchanged("kind", kind)
            }
            "terms" => unchanged("terms", terms_epoch(value).map(|epoch| epoch == sold.epoch)),
            "valid_for" => {
                let span = number(value).map(Duration::from_secs);
                not_moved("valid_for", span.map(|span| span.cmp(&sold.valid_for)))
            }
            "claim_by" => {
                let end = number(value).map(UnixMillis::from_secs);
                not_moved("claim_by", end.map(|end| end.cmp(&sold.claim_by)))
            }
            _ => Err(CaveatError::Unknown),
        }
    }

    const fn is_pass(&self) -> bool {
        matches!(self.terms.kind, Kind::Pass(_))
    }
}

fn unchanged(word: &'static str, same: Option<bool>) -> Result<(), CaveatError> {
    match same {
        Some(true) => Ok(()),
        Some(false) => Err(CaveatError::Widened { word }),
        None => Err(CaveatError::Malformed { word }),
    }
}

fn not_moved(word: &'static str, against_sold: Option<Ordering>) -> Result<(), CaveatError> {
    match against_sold {
        Some(Ordering::Less) => Err(CaveatError::Fixed { word }),
        other => unchanged(word, other.map(Ordering::is_eq)),
    }
}

/// Takes a carried preimage, unless another one came before it.
pub(super) fn same_preimage(
    carried: &mut Option<Preimage>,
    value: &[u8],
) -> Result<(), CaveatError> {
    let preimage =
        Preimage::from_hex(value).map_err(|_| CaveatError::Malformed { word: "preimage" })?;
    match carried {
        Some(other) if *other != preimage => Err(CaveatError::DifferentPreimages),
        Some(_) | None => {
            *carried = Some(preimage);
            Ok(())
        }
    }
}
