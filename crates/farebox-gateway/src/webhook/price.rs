//! Who may make a webhook be asked, and when.
//!
//! A credential that pays comes first: a call that was bought needs no price, and who has nothing
//! is asked for within the limits on challenges alone. So a stranger cannot make the seller's program
//! work more often than the node.

use std::sync::Arc;
use std::time::Instant;

use farebox_core::{KeyHash, Kind};
use farebox_http::body_budget::Keep;
use farebox_http::client_addr::AddressPrefix;
use http::Method;

use super::Webhook;
use crate::access_log::Exchange;
use crate::admit;
use crate::arrival::Arrival;
use crate::plan::Route;
use crate::price::Quote;
use crate::refusal::{KeyFault, PriceError, Refusal};
use crate::sale::Sale;
use crate::worker::Worker;
use farebox_paywall::credential::Token;

impl Worker {
    /// The price of a request that a key pays for. A key that nobody has heard of is
    /// refused here: what it costs is nobody's business.
    pub(crate) async fn ask_for_key(
        &self,
        exchange: &Exchange,
        (route, sale): (&Route, &Sale),
        key: KeyHash,
        arrival: &mut Arrival,
        quote: Quote,
    ) -> Result<Quote, Refusal> {
        let Some(webhook) = unasked(sale, &quote) else {
            return Ok(quote);
        };
        if self.shared.ledger.key(key).await?.is_none() {
            return Err(Refusal::Key(KeyFault::Unknown));
        }
        let sold = (route, sale, webhook);
        self.read_and_ask(exchange, sold, arrival, Keep::Bytes)
            .await
    }

    /// The price of a request that a balance pays for. What was sold by the call is paid already.
    pub(crate) async fn ask_for_token(
        &self,
        exchange: &Exchange,
        (route, sale): (&Route, &Sale),
        token: &Token,
        arrival: &mut Arrival,
        quote: &mut Quote,
    ) -> Result<(), Refusal> {
        let Some(webhook) = unasked(sale, quote) else {
            return Ok(());
        };
        let method = &arrival.parts.method;
        let fits = admit::check_scope(token, route, method, exchange.received_at).is_ok();
        if !fits || !matches!(token.granted.terms.kind, Kind::Balance) {
            return Ok(());
        }
        let sold = (route, sale, webhook);
        *quote = self
            .read_and_ask(exchange, sold, arrival, Keep::Bytes)
            .await?;
        Ok(())
    }

    /// The price of a request that nobody pays for yet.
    pub(crate) async fn ask_for_nobody(
        &self,
        exchange: &Exchange,
        (route, sale): (&Route, &Sale),
        arrival: &mut Arrival,
        quote: &mut Quote,
    ) -> Result<(), Refusal> {
        let Some(webhook) = unasked(sale, quote) else {
            return Ok(());
        };
        let (prefix, now) = (AddressPrefix::of(exchange.client), Instant::now());
        // These get no invoice, and so would take nothing of the limit later on.
        let is_probe = matches!(arrival.parts.method, Method::HEAD | Method::OPTIONS);
        let refused = if is_probe {
            self.shared.challenges.try_take(prefix, now).is_err()
        } else {
            self.shared.challenges.would_refuse(prefix, now)
        };
        if refused {
            self.shared.metrics.challenge_refused();
            return Err(PriceError::TooOften.into());
        }
        let sold = (route, sale, webhook);
        let asked = self
            .read_and_ask(exchange, sold, arrival, Keep::HashOnly)
            .await;
        if !is_probe && !matches!(&asked, Ok(quote) if !matches!(quote, Quote::Free)) {
            // What leads to no invoice takes nothing of the limit later on either.
            let _ = self.shared.challenges.try_take(prefix, now);
        }
        *quote = asked?;
        Ok(())
    }

    async fn read_and_ask(
        &self,
        exchange: &Exchange,
        (route, sale, webhook): (&Route, &Sale, &Arc<Webhook>),
        arrival: &mut Arrival,
        keep: Keep,
    ) -> Result<Quote, Refusal> {
        let budget = &self.shared.bodies;
        arrival.digest(route.max_read_bytes, budget, keep).await?;
        self.ask_price(exchange, (route, sale), webhook, arrival)
            .await
    }
}

fn unasked<'a>(sale: &'a Sale, quote: &Quote) -> Option<&'a Arc<Webhook>> {
    let webhook = sale.offer.webhook();
    webhook.filter(|_| matches!(quote, Quote::Unasked))
}
