//! What a 402 gives its client besides the challenge: the way back to it.
//!
//! A browser gets a page and a cookie that its scripts cannot read; a program gets the claim in a
//! header, where our node can tell that an invoice was paid.

use std::time::Duration;

use farebox_paywall::challenge::Offered;
use farebox_paywall::claim::{self, CLAIM_GRACE, Claim, MAX_LENGTH, Note};
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use http::{Method, Response};

use super::cookies::{Cookie, MAX_CLAIMS, PREFIX, RETURNING, SameSite, Setting, name_for};
use super::redeem::cookie_path;
use super::visit::Visit;
use super::{CLAIM, Claims};
use crate::access_log::{Audience, Exchange};
use crate::answer::AnswerBody;
use crate::challenge::Demand;
use crate::page::{self, Each, Goods, Proof};

impl Claims {
    /// Adds the way back to the answer of a challenge.
    pub(crate) fn add_way_back(
        &self,
        exchange: &Exchange,
        demand: &Demand<'_>,
        offered: &Offered,
        response: &mut Response<AnswerBody>,
    ) {
        if *demand.method != Method::GET || matches!(exchange.audience, Audience::Grpc(_)) {
            return;
        }
        let tells = demand
            .sold
            .plan
            .payments
            .node
            .as_ref()
            .is_some_and(|node| node.lookup().is_some());
        match demand.visit.filter(|visit| visit.html) {
            Some(visit) => {
                self.set_cookies(demand, visit, offered, response.headers_mut());
                let page = page::payment(&self.goods(demand, visit, offered, tells));
                response.body_mut().become_own(page);
                page::headers(response.headers_mut());
            }
            None if tells => {
                let text = claim::write(&self.paywall.keyring, &offered.macaroon, &Note::Bare);
                if let Some(header) = text.and_then(|text| secret_header(&text)) {
                    response.headers_mut().insert(CLAIM, header);
                }
            }
            None => {}
        }
    }

    fn goods<'a>(
        &self,
        demand: &'a Demand<'_>,
        visit: &Visit,
        offered: &'a Offered,
        tells: bool,
    ) -> Goods<'a> {
        let now = self.paywall.clock.now();
        let address = &visit.address;
        Goods {
            description: &demand.sold.sale.description,
            address: format!("{}{}", address.host, address.link()),
            terms: &offered.terms,
            price: demand.price,
            each: Each::of(&demand.sold.sale.offer),
            invoice: offered.invoice.as_str(),
            expires_in: offered.expires_at.since(now).as_secs(),
            proof: if tells && offered.told {
                Proof::Node
            } else {
                Proof::Preimage
            },
            macaroon: offered.macaroon.to_base64(),
            back: address.link(),
        }
    }

    /// The cookie of this challenge; and where the browser has too many for this path already, the
    /// oldest are taken back.
    fn set_cookies(
        &self,
        demand: &Demand<'_>,
        visit: &Visit,
        offered: &Offered,
        headers: &mut HeaderMap,
    ) {
        let Some(value) = self.cookie_value(offered) else {
            return;
        };
        let address = &visit.address;
        let query = address.query.as_deref();
        let name = name_for(&offered.terms, &address.canonical_path, query);
        let path = cookie_path(demand.sold.route, offered.terms.binding, visit.own_path());
        let age = offered.expires_at.plus(CLAIM_GRACE);
        let set = |name: &str, value: &str, max_age: Duration| {
            Setting {
                name,
                value,
                path,
                max_age,
                secure: visit.secure,
                same_site: SameSite::Strict,
            }
            .to_header()
        };
        let mut lines = vec![set(&name, &value, age.since(self.paywall.clock.now()))];
        let excess = self.excess(visit, &name);
        lines.extend(excess.map(|old| set(&old, "", Duration::ZERO)));
        for line in lines.into_iter().flatten() {
            headers.append(SET_COOKIE, line);
        }
    }

    /// The claim with its invoice, so that it can be shown again; without, where a browser would
    /// not keep it.
    fn cookie_value(&self, offered: &Offered) -> Option<String> {
        let keyring = &self.paywall.keyring;
        let whole = Note::Invoice(offered.invoice.clone());
        claim::write(keyring, &offered.macaroon, &whole)
            .filter(|text| text.len() <= MAX_LENGTH)
            .or_else(|| claim::write(keyring, &offered.macaroon, &Note::Bare))
            .filter(|text| text.len() <= MAX_LENGTH)
    }

    /// The names of the claims beside `new` that are too many: those that say nothing to us first,
    /// then the oldest.
    fn excess(&self, visit: &Visit, new: &str) -> impl Iterator<Item = String> + use<> {
        let age = |cookie: &Cookie| {
            let claim = Claim::read(&cookie.value, &self.paywall.keyring).ok();
            claim.map(|claim| claim.token.granted.terms.claim_by)
        };
        let others = visit.cookies.iter().filter(|cookie| {
            cookie.name != new && cookie.name != RETURNING && is_name(&cookie.name)
        });
        let mut others: Vec<_> = others
            .map(|cookie| (age(cookie), cookie.name.clone()))
            .collect();
        // Browsers send the older ones first, which decides among those of one second.
        others.sort_by_key(|(age, _)| *age);
        let excess = (others.len() + 1).saturating_sub(MAX_CLAIMS);
        others.truncate(excess);
        others.into_iter().map(|(_, name)| name)
    }
}

/// Whether a name may stand in a header: a browser sent it, but who knows who told it to.
fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
