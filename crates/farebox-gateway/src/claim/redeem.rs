//! From a claim to the token that it stands for, once our node says that it was paid.

use std::time::Duration;

use farebox_core::{Binding, Kind, MethodClass};
use farebox_paywall::claim::{Claim, Note, OpenClaim};
use farebox_paywall::payer::Credential;
use farebox_paywall::settled::{LookUpFor, Paid};
use farebox_wire::credential::CredentialError;

use super::Claims;
use super::cookies::Cookie;
use super::visit::{UsedCookie, Visit};
use crate::access_log::Exchange;
use crate::plan::{Plan, Route};
use crate::refusal::{EcashError, KeyFault, Owed, PaymentError, PresentedError, Refusal};
use farebox_paywall::credential::{Presented, Token};

/// The longest that browsers keep a cookie.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What is known about one claim.
enum Standing {
    Paid,
    Open { told: bool },
    Over,
}

fn waiting(claim: Claim, told: bool) -> Credential {
    Credential::Claim(Box::new(OpenClaim { claim, told }))
}

impl Claims {
    /// Judges the claims of a request beside whatever else it presents.
    ///
    /// A credential that was sent on purpose wins over the cookies that a browser adds by itself;
    /// two that were both sent on purpose are one too many.
    pub(crate) async fn redeem(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        route: &Route,
        presented: Result<Presented, PresentedError>,
        visit: Option<&mut Visit>,
    ) -> Result<Credential, Refusal> {
        let header = visit.as_ref().is_some_and(|visit| visit.header.is_some());
        match (presented, visit) {
            (Err(error), _) => Ok(Credential::None(Owed::Unproven(error))),
            (Ok(Presented::L402(_)), _) if header => Ok(Credential::None(Owed::Unproven(
                CredentialError::Ambiguous.into(),
            ))),
            (Ok(Presented::L402(token)), _) => Ok(Credential::Token(token)),
            (Ok(Presented::Key(_)), _) if header => Err(KeyFault::Ambiguous.into()),
            (Ok(Presented::Key(key)), _) => Ok(Credential::Key(key)),
            (Ok(Presented::BadKey(fault)), _) => Err(fault.into()),
            (Ok(Presented::AmbiguousEcash), _) => Err(EcashError::Ambiguous.into()),
            (Ok(Presented::Ecash(_)), _) if header => Err(EcashError::Ambiguous.into()),
            (Ok(Presented::Ecash(text)), _) => Ok(Credential::Ecash(text)),
            (Ok(Presented::Nothing), Some(visit)) if visit.brings_claim() => {
                Box::pin(self.redeem_claims(plan, exchange, route, visit)).await
            }
            (Ok(Presented::Nothing), _) => Ok(Credential::None(Owed::Nothing)),
        }
    }

    async fn redeem_claims(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        route: &Route,
        visit: &mut Visit,
    ) -> Result<Credential, Refusal> {
        if visit.header.is_some() {
            let claim = match self.header_claim(exchange, route, visit) {
                Ok(claim) => claim,
                Err(owed) => return Ok(Credential::None(owed)),
            };
            return Ok(match self.standing(plan, exchange, &claim).await? {
                Standing::Paid => Credential::Token(claim.token),
                Standing::Open { told: true } => waiting(claim, true),
                // A program has nobody to ask for a preimage.
                Standing::Open { told: false } => return Err(PaymentError::Untold.into()),
                Standing::Over => Credential::None(Owed::Nothing),
            });
        }
        let mut open = None;
        for (cookie, claim) in self.cookie_claims(exchange, route, visit) {
            match self.standing(plan, exchange, &claim).await? {
                Standing::Paid => {
                    visit.used = Some(used(visit, route, &claim.token, cookie));
                    return Ok(Credential::Token(claim.token));
                }
                Standing::Open { told } if open.is_none() => {
                    open = Some(waiting(claim, told));
                }
                Standing::Open { .. } | Standing::Over => {}
            }
        }
        Ok(open.unwrap_or(Credential::None(Owed::Nothing)))
    }

    /// The claim whose state a request asks for: in its header, or else its first cookie.
    pub(super) fn claim_asked_for(
        &self,
        exchange: &Exchange,
        route: &Route,
        visit: &Visit,
    ) -> Option<Claim> {
        if visit.header.is_some() {
            return self.header_claim(exchange, route, visit).ok();
        }
        let mut claims = self.cookie_claims(exchange, route, visit);
        (!claims.is_empty()).then(|| claims.swap_remove(0).1)
    }

    /// The claim in the header. Whoever sends one means it, and is told what is wrong with it.
    fn header_claim(
        &self,
        exchange: &Exchange,
        route: &Route,
        visit: &Visit,
    ) -> Result<Claim, Owed> {
        let text = visit.header.as_ref().and_then(|value| value.to_str().ok());
        let claim =
            Claim::read(text.unwrap_or_default(), &self.paywall.keyring).map_err(Owed::Unproven)?;
        check_scope(&claim.token, route, visit, exchange)?;
        Ok(claim)
    }

    /// The claims in cookies for this very request. Others are somebody's old ones, or for another
    /// place: they are passed over in silence.
    fn cookie_claims(
        &self,
        exchange: &Exchange,
        route: &Route,
        visit: &Visit,
    ) -> Vec<(Cookie, Claim)> {
        let read = |cookie: &Cookie| {
            let claim = Claim::read(&cookie.value, &self.paywall.keyring).ok()?;
            check_scope(&claim.token, route, visit, exchange).ok()?;
            Some((cookie.clone(), claim))
        };
        visit.cookies_for(route).filter_map(read).collect()
    }

    async fn standing(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        claim: &Claim,
    ) -> Result<Standing, Refusal> {
        let over = exchange.received_at >= claim.expires_at();
        let wanted = LookUpFor::Service;
        match self.paid(plan, exchange, claim, wanted).await? {
            Paid::Yes(_) => Ok(Standing::Paid),
            Paid::No if !over => Ok(Standing::Open { told: true }),
            Paid::Untold if !over => Ok(Standing::Open { told: false }),
            Paid::Unknown if !over => Err(PaymentError::Untold.into()),
            Paid::No | Paid::Never | Paid::Untold | Paid::Unknown => Ok(Standing::Over),
        }
    }

    /// Whether the invoice of a claim was paid: by its own proof, by what the node told by itself,
    /// by what the ledger knows, and only then by asking the node.
    pub(super) async fn paid(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        claim: &Claim,
        wanted: LookUpFor,
    ) -> Result<Paid, Refusal> {
        if claim.note == Note::Paid {
            return Ok(Paid::Yes(None));
        }
        let node = plan.payments.node.as_deref();
        let settled = &self.paywall.settled;
        let (hash, amount) = (claim.token.payment_hash, claim.token.granted.terms.amount);
        let wanted = (wanted, exchange.holder);
        Ok(settled.is_settled(node, hash, amount, wanted).await?)
    }
}

/// Whether a claim's token is for this request, as far as the request's head tells, which is all
/// there is of it.
fn check_scope(
    token: &Token,
    route: &Route,
    visit: &Visit,
    exchange: &Exchange,
) -> Result<(), Owed> {
    token.check_scope(&route.name, &http::Method::GET, exchange.received_at)?;
    let bound = token.granted.holder.request;
    if bound.is_some_and(|bound| bound != visit.digest) {
        return Err(Owed::WrongRequest);
    }
    debug_assert!(token.granted.holder.methods.covers(MethodClass::Read));
    Ok(())
}

fn used(visit: &Visit, route: &Route, token: &Token, cookie: Cookie) -> UsedCookie {
    let terms = &token.granted.terms;
    let keep = match terms.kind {
        Kind::Single => None,
        Kind::Pass(span) => Some(span),
        Kind::Calls(_) | Kind::Balance => Some(terms.valid_for),
    };
    UsedCookie {
        cookie,
        keep: keep.map(|keep| keep.min(LONGEST)),
        path: cookie_path(route, terms.binding, visit.own_path()).to_owned(),
    }
}

/// Where a claim is sent back to: to this very address, or wherever the route sells.
pub(super) fn cookie_path<'a>(route: &'a Route, binding: Binding, own_path: &'a str) -> &'a str {
    match (binding, &route.root) {
        (Binding::Route, Some(root)) => root,
        (Binding::Route, None) | (Binding::Request(_), _) => own_path,
    }
}
