//! The gateway's own block: [`Terms`] as caveats, one order, nothing optional that the kind does
//! not decide.

use std::iter::Peekable;
use std::time::Duration;

use farebox_core::{Binding, Kind, MethodClass, Msat, RouteName, Terms, TermsEpoch, UnixMillis};

use super::capabilities::is_word_for;
use super::{Capabilities, CaveatError, count, number, request, split};

/// The caveats that say `terms`, in the order in which [`read_caveats`](super::read_caveats)
/// expects them.
///
/// Durations and instants are in whole seconds, rounded up. A [`Kind::Pass`] is valid for its own
/// span, so that span is what its `valid_for` says, and what both read back as.
#[must_use]
pub fn print_terms(terms: &Terms) -> Vec<String> {
    print_block(terms, None)
}

/// The same with the capabilities that are sold with them. They stand inside the block, where no
/// holder can append any.
#[must_use]
pub fn print_block(terms: &Terms, capabilities: Option<&Capabilities>) -> Vec<String> {
    let mut caveats = Vec::with_capacity(10);
    caveats.push(format!("amount_msat={}", terms.amount.get()));
    caveats.push(format!("kind={}", KindWord::of(terms.kind)));
    match terms.kind {
        Kind::Single => caveats.push("count=1".to_owned()),
        Kind::Calls(calls) => caveats.push(format!("count={calls}")),
        Kind::Pass(_) | Kind::Balance => {}
    }
    caveats.push(format!("route={}", terms.route));
    caveats.extend(capabilities.map(|capabilities| capabilities.caveat(&terms.route)));
    caveats.push(format!("methods={}", terms.methods));
    if let Binding::Request(digest) = terms.binding {
        caveats.push(format!("request={}", hex::encode(digest.as_bytes())));
    }
    caveats.push(format!("terms={:08x}", terms.epoch.0));
    caveats.push(format!("valid_for={}", seconds_up(valid_for(terms))));
    caveats.push(format!("claim_by={}", terms.claim_by.get().div_ceil(1000)));
    caveats
}

fn valid_for(terms: &Terms) -> Duration {
    match terms.kind {
        Kind::Pass(span) => span,
        Kind::Single | Kind::Calls(_) | Kind::Balance => terms.valid_for,
    }
}

fn seconds_up(span: Duration) -> u64 {
    span.as_secs()
        .saturating_add(u64::from(span.subsec_nanos() > 0))
}

farebox_core::words! {
    /// The `kind` caveat; the numbers that belong to it have their own.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum KindWord {
        Single = "single",
        Calls = "calls",
        Pass = "pass",
        Balance = "balance",
    }
}

impl KindWord {
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Single => Self::Single,
            Kind::Calls(_) => Self::Calls,
            Kind::Pass(_) => Self::Pass,
            Kind::Balance => Self::Balance,
        }
    }
}

/// How many of a token's caveats are the gateway's own block, which says `terms`.
pub(crate) fn block_length<'c>(
    terms: &Terms,
    mut caveats: impl Iterator<Item = &'c [u8]>,
) -> usize {
    let sold = print_terms(terms);
    let methods = sold.iter().position(|own| own.starts_with("methods="));
    let there = methods.and_then(|methods| caveats.nth(methods));
    let names_capabilities = there.is_some_and(|there| is_capabilities(&terms.route, there));
    sold.len() + usize::from(names_capabilities)
}

/// Reads the block and leaves `caveats` behind its last word.
pub(super) fn read_block<C: AsRef<[u8]>>(
    caveats: &mut Peekable<impl Iterator<Item = Result<C, CaveatError>>>,
) -> Result<(Terms, Option<Capabilities>), CaveatError> {
    let amount = next(caveats, "amount_msat", amount)?;
    let kind = next(caveats, "kind", KindWord::find)?;
    let calls = match kind {
        KindWord::Single => next(caveats, "count", |text| count(text).filter(|&n| n == 1))?,
        KindWord::Calls => next(caveats, "count", |text| count(text).filter(|&n| n > 0))?,
        KindWord::Pass | KindWord::Balance => 0,
    };
    let route = next(caveats, "route", |text| RouteName::parse(text).ok())?;
    let capabilities = capabilities(&route, caveats)?;
    let methods = next(caveats, "methods", MethodClass::find)?;
    let binding = binding(caveats)?;
    let epoch = next(caveats, "terms", terms_epoch)?;
    let valid_for = next(caveats, "valid_for", number).map(Duration::from_secs)?;
    let claim_by = next(caveats, "claim_by", number).map(UnixMillis::from_secs)?;
    let kind = match kind {
        KindWord::Single => Kind::Single,
        KindWord::Calls => Kind::Calls(calls),
        KindWord::Pass => Kind::Pass(valid_for),
        KindWord::Balance => Kind::Balance,
    };
    let terms = Terms {
        amount,
        kind,
        route,
        methods,
        binding,
        epoch,
        valid_for,
        claim_by,
    };
    Ok((terms, capabilities))
}

fn capabilities<C: AsRef<[u8]>>(
    route: &RouteName,
    caveats: &mut Peekable<impl Iterator<Item = Result<C, CaveatError>>>,
) -> Result<Option<Capabilities>, CaveatError> {
    let is_next =
        matches!(caveats.peek(), Some(Ok(caveat)) if is_capabilities(route, caveat.as_ref()));
    let Some(Ok(caveat)) = caveats.next_if(|_| is_next) else {
        return Ok(None);
    };
    let (_, value) = split(caveat.as_ref())?;
    let word = "capabilities";
    Capabilities::parse(value)
        .map(Some)
        .ok_or(CaveatError::Malformed { word })
}

fn is_capabilities(route: &RouteName, caveat: &[u8]) -> bool {
    split(caveat).is_ok_and(|(word, _)| is_word_for(route, word))
}

fn next<C: AsRef<[u8]>, T>(
    caveats: &mut impl Iterator<Item = Result<C, CaveatError>>,
    word: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, CaveatError> {
    let caveat = caveats.next().ok_or(CaveatError::Missing { word })??;
    let (found, value) = split(caveat.as_ref())?;
    if found != word {
        return Err(CaveatError::Missing { word });
    }
    parse(value).ok_or(CaveatError::Malformed { word })
}

fn binding<C: AsRef<[u8]>>(
    caveats: &mut Peekable<impl Iterator<Item = Result<C, CaveatError>>>,
) -> Result<Binding, CaveatError> {
    let bound =
        matches!(caveats.peek(), Some(Ok(caveat)) if caveat.as_ref().starts_with(b"request="));
    if !bound {
        return Ok(Binding::Route);
    }
    next(caveats, "request", request).map(Binding::Request)
}

pub(super) fn amount(text: &str) -> Option<Msat> {
    number(text).and_then(|msat| Msat::new(msat).ok())
}

pub(super) fn terms_epoch(text: &str) -> Option<TermsEpoch> {
    let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 8 || !text.bytes().all(lower_hex) {
        return None;
    }
    u32::from_str_radix(text, 16).ok().map(TermsEpoch)
}
