//! What somebody who has to pay is asked for, and how much of the request is read for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{Kind, RequestDigest};
use farebox_http::body_budget::{Keep, Patience, read_body};
use farebox_http::limits::NoPlace;
use farebox_paywall::admit::{Admission, Debt};
use farebox_paywall::ask::is_probe;
use farebox_paywall::challenge::{Challenge, ToHold};
use farebox_paywall::payer::Payer;
use farebox_paywall::price::Quote;
use farebox_paywall::sale::Sale;
use http::Response;
use http::header::EXPECT;
use http_body::Body as _;

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::{Arrival, ArrivedBody};
use crate::challenge::{Demand, show_again, show_challenge};
use crate::claim::visit::Visit;
use crate::held::{KeptRequest, Offered};
use crate::plan::{Route, Sold};
use crate::refusal::{PaywallError, Refusal, RequestError};
use crate::worker::Worker;

/// How much of an unwanted body is read away before a refusal, so that the connection can be used
/// again. After a longer one it is closed, in stages (`http/linger.rs`).
const READ_AWAY_BYTES: usize = 1024 * 1024;
/// How long reading away may take.
const READ_AWAY_PATIENCE: Patience = Patience {
    grace: Duration::from_secs(5),
    min_bytes_per_second: 64 * 1024,
    total: Duration::from_secs(15),
};

impl Worker {
    /// Asks for what is owed, unless it turns out to be nothing.
    pub(super) async fn demand(
        &self,
        sold: Sold<'_>,
        exchange: &mut Exchange,
        mut arrival: Box<Arrival>,
        visit: Option<&Visit>,
        debt: Debt,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let due = match debt.due {
            Some(due) => due,
            // What was sold before is used up, and has a price for whoever buys again.
            None => {
                let nobody = Payer::nobody(debt.owed);
                let quote = self.price(sold, exchange, &nobody, &mut arrival).await?;
                let Quote::Due(due) = quote else {
                    let (plan, free) = (sold.plan, Admission::free());
                    return self
                        .forwarder
                        .forward(plan, exchange, sold.route, free, arrival)
                        .await;
                };
                due
            }
        };
        let digest = self.digest_of_unpaid(sold, exchange, &mut arrival).await?;
        let is_held = sold.sale.offer.holds_payment() && !is_probe(&arrival.parts.method);
        let to_hold = match digest {
            Some(_) if is_held => Some(ToHold {
                request: KeptRequest::of(exchange, &arrival)?.to_bytes(),
                limits: self.shared.held.room.limits,
            }),
            _ => None,
        };
        let claims = &self.shared.claims;
        let demand = Demand {
            sold,
            price: due.at_most,
            owed: debt.owed,
            method: &arrival.parts.method,
            visit,
        };
        // No new invoice is made for those who have one, nor for a browser that came by somebody's
        // link and has to come by itself first.
        if let Some(claim) = debt.claim {
            return Ok(show_again(claims, exchange, &demand, *claim));
        }
        if let Some(visit) = visit.filter(|visit| visit.should_return()) {
            return Ok(visit.come_again(exchange));
        }
        let (held, holder) = (&self.shared.held, exchange.holder);
        let place = to_hold.as_ref();
        let place = place.map(|call| held.room.take(holder, &call.request));
        let place = place
            .transpose()
            .map_err(|NoPlace| PaywallError::HeldCalls)?;
        let ask = self.ask(sold, exchange, &arrival);
        let paywall = &self.shared.paywall;
        let challenge = paywall
            .challenge(due.at_most, digest, to_hold, &ask)
            .await?;
        if let Challenge::Invoice(offered) = &challenge
            && let (Some((hash, node)), Some(place)) = (&offered.held, place)
        {
            let (hash, node) = (*hash, Arc::clone(node));
            held.tell(Offered { hash, node, place });
        }
        Ok(show_challenge(claims, exchange, &demand, &challenge))
    }

    /// What an unpaid request's macaroon is bound to. The body is hashed or read away, never kept.
    async fn digest_of_unpaid(
        &self,
        sold: Sold<'_>,
        exchange: &Exchange,
        arrival: &mut Arrival,
    ) -> Result<Option<RequestDigest>, Refusal> {
        let Sold { route, sale, .. } = sold;
        // Past the limit there is no invoice, and so nothing to hash a body for.
        let refused = arrival.has_unread_body()
            && self
                .shared
                .paywall
                .challenges
                .check(exchange.holder, Instant::now())
                .is_err();
        let unkept = self.shared.bodies.whole();
        if must_be_read(route, sale, arrival)? && !refused {
            let limit = route.max_read_bytes;
            let digest = if sale.offer.holds_payment() {
                let share = self.share(exchange.holder, arrival);
                arrival.digest(limit, &share, Keep::Bytes).await
            } else {
                arrival.digest(limit, unkept, Keep::HashOnly).await
            };
            return digest.map(Some);
        }
        if arrival.parts.headers.contains_key(EXPECT) {
            return Ok(None);
        }
        if let ArrivedBody::Unread(body) = std::mem::replace(&mut arrival.body, ArrivedBody::Taken)
            && !body.is_end_stream()
        {
            let patience = READ_AWAY_PATIENCE;
            let _ = read_body(body, READ_AWAY_BYTES, patience, unkept, Keep::HashOnly).await;
        }
        Ok(None)
    }
}

/// Whether an unpaid body has to be read to its end: to bind a token to it, or because it does not
/// say its length and the paid request will have to fit into memory. Nobody should pay for what is
/// then too long.
fn must_be_read(route: &Route, sale: &Sale, arrival: &Arrival) -> Result<bool, Refusal> {
    if is_probe(&arrival.parts.method) {
        return Ok(false);
    }
    let (declared, exact) = arrival.body_length();
    let once = sale.offer.kind() == Kind::Single;
    if sale.offer.binds_request() && declared > route.max_read_bytes as u64 {
        let limit = route.max_read_bytes as u64;
        return Err(RequestError::BodyTooLarge { limit }.into());
    }
    Ok(sale.offer.binds_request() || (once && !exact))
}
