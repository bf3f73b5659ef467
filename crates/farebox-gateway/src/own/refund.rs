//! `/.farebox/refund`: the holder of a token gets back what is left on it. The holder of a prepaid key
//! asks in the same words beside the key.
//!
//! Only the token as it was sold may ask: who was given a part of it has no say over the rest. It
//! is asked for by the token alone, so it works when the route that sold it is long gone. Nothing
//! of the destination is logged but the host of an address.

mod told;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{AccountId, Msat};
use farebox_http::body_budget::{ByteBudget, Holder};
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{
    ChallengeLimits, ChallengeRates, Rate, RetryAfter, TokenLimit, TokenLimits, TokenPermit,
    TokenRefusal,
};
use farebox_ledger::{AskedBy, ClaimPolicy, Funding, Ledger, Rail, Refundable};
use farebox_paywall::payout::{Destination, Payouts, RefundError, RefundRequest, Repeat, Source};
use farebox_wire::credential::{PaymentHeaders, read_credentials};
use http::header::HeaderMap;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::Value;

use super::Own;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::refusal::{HolderError, HolderOf, PresentedError, Refusal, RequestError};
use farebox_paywall::ask::idempotency_key;
use farebox_paywall::credential::{self, Token};

/// The longest request, in bytes: an invoice has up to 4,096.
const MAX_BODY: usize = 8 * 1024;
/// The latest refunds of one account that are shown.
const SHOWN: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// What the data threads need for refunds.
pub(crate) struct RefundDesk {
    payouts: Option<Arc<Payouts>>,
    /// Looking a token up costs the ledger a read, and an address a call to a stranger.
    clients: ChallengeLimits,
    tokens: Arc<TokenLimits>,
}

/// What a holder asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    invoice: Option<String>,
    address: Option<String>,
    amount_msat: Option<u64>,
}

/// A wish for a refund as it was read, with what it is known by when it is repeated.
pub(super) struct Wish {
    asked: Result<(Destination, Option<Msat>), Refusal>,
    repeat: Option<Repeat>,
}

/// Where the refunds of one account stand.
pub(super) struct Standing {
    /// What could be paid back, where the account is known.
    left: Option<Refundable>,
    /// What its holder is told.
    pub(super) told: Value,
}

impl RefundDesk {
    pub(crate) fn new(payouts: Option<Arc<Payouts>>, now: Instant) -> Self {
        let rates = ChallengeRates {
            per_prefix: Rate::of(60, MINUTE, 20),
            global: Rate::of(60_000, MINUTE, 2_000),
        };
        Self {
            payouts,
            clients: ChallengeLimits::new(rates, now),
            tokens: TokenLimits::new(now),
        }
    }

    fn payouts(&self) -> Result<&Arc<Payouts>, RefundError> {
        self.payouts.as_ref().ok_or(RefundError::NoPayer)
    }

    /// Takes one question to the ledger from a client's share.
    pub(super) fn may_ask(&self, exchange: &Exchange) -> Result<(), RetryAfter> {
        self.clients.try_take(exchange.holder, Instant::now())
    }

    pub(super) fn start(&self, account: AccountId) -> Result<TokenPermit, RetryAfter> {
        let limit = TokenLimit {
            max_concurrent: NonZeroU32::new(4),
            rate: Some(Rate::of(30, MINUTE, 10)),
        };
        let started = self.tokens.try_start(&account, limit, Instant::now());
        started.map_err(TokenRefusal::retry_after)
    }

    /// Begins what is wished of somebody's money. `place` tells where it stands later.
    pub(super) async fn begin(
        &self,
        wish: Wish,
        source: Source,
        client: IpAddr,
        place: &'static str,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let payouts = self.payouts()?;
        let (destination, amount) = wish.asked?;
        let request = RefundRequest {
            source,
            destination,
            asked_by: AskedBy::Holder,
            client: Some(AddressPrefix::of(client)),
            amount,
            repeat: wish.repeat,
        };
        told::begun(&payouts.refund(request).await?, place)
    }

    /// What could be paid back of an account, and what was. `unused` is what a token has that was
    /// never used.
    pub(super) async fn standing(
        &self,
        ledger: &Ledger,
        account: AccountId,
        unused: Option<Msat>,
    ) -> Result<Standing, RefundError> {
        let rules = self.payouts()?.rules();
        ledger.flush().await?;
        let left = ledger.refundable(account).await?;
        let refunds = ledger.payouts_of(account, SHOWN).await?;
        let told = told::standing(&rules, left.as_ref(), unused, &refunds);
        Ok(Standing { left, told })
    }
}

impl Own {
    pub(super) async fn refund(
        &self,
        exchange: &mut Exchange,
        arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let method = arrival.parts.method.clone();
        if !matches!(method, Method::GET | Method::POST) {
            return Err(RequestError::only(&[Method::GET, Method::POST]).into());
        }
        let token = self.holder(&arrival.parts.headers)?;
        exchange.holder = Holder::Payer(token.account());
        self.refunds.may_ask(exchange)?;
        let _permit = self.refunds.start(token.payment_hash.account())?;
        exchange.outcome = Outcome::Free;
        if method == Method::GET {
            return self.show_refunds(&token).await;
        }
        let wish = Wish::take(arrival, &self.bodies.of(exchange.holder)).await?;
        let source = Source::Token {
            payment_hash: token.payment_hash,
            claim: Some(self.claim(token)),
        };
        let client = exchange.client;
        self.refunds
            .begin(wish, source, client, super::REFUND)
            .await
    }

    /// The token as it was sold.
    fn holder(&self, headers: &HeaderMap) -> Result<Token, HolderError> {
        let unproven = |error: PresentedError| HolderError::Unproven(HolderOf::Refund, error);
        let read = read_credentials(headers).map_err(|error| unproven(error.into()))?;
        let PaymentHeaders::L402(credential) = read else {
            return Err(HolderError::Missing(HolderOf::Refund));
        };
        let token = credential::verify(&credential, &self.paywall.keyring).map_err(unproven)?;
        if credential.is_as_issued(&token.granted.terms) {
            Ok(token)
        } else {
            Err(HolderError::Attenuated)
        }
    }

    fn claim(&self, token: Token) -> Funding {
        Funding {
            rail: Rail::Lightning,
            amount: token.granted.terms.amount,
            key_epoch: token.key_epoch,
            claims: self.paywall.keyring.claim_policy(token.key_epoch),
            terms: token.granted.terms,
        }
    }

    async fn show_refunds(&self, token: &Token) -> Result<Response<AnswerBody>, Refusal> {
        let account = token.payment_hash.account();
        let claims = self.paywall.keyring.claim_policy(token.key_epoch);
        let unused = (claims == ClaimPolicy::Open).then_some(token.granted.terms.amount);
        let ledger = &self.paywall.ledger;
        let Standing { left, mut told } = self.refunds.standing(ledger, account, unused).await?;
        told["payment_hash"] = token.payment_hash.to_string().into();
        told["used"] = left.is_some().into();
        Ok(super::json(told.to_string()))
    }
}

impl Wish {
    /// Reads it off a request.
    pub(super) async fn take(
        mut arrival: Arrival,
        share: &Arc<ByteBudget>,
    ) -> Result<Self, Refusal> {
        let key = idempotency_key(&arrival.parts.headers);
        let body = arrival.take_bytes(MAX_BODY, share).await?;
        Ok(Self {
            asked: read(&body),
            repeat: key.map(|key| Repeat::new(key, &body)),
        })
    }
}

fn read(body: &[u8]) -> Result<(Destination, Option<Msat>), Refusal> {
    let wish: Body = serde_json::from_slice(body).map_err(|_| RequestError::RefundBody)?;
    let destination: Destination = match (wish.invoice, wish.address) {
        (Some(text), None) | (None, Some(text)) => text.parse()?,
        _ => return Err(RequestError::RefundBody.into()),
    };
    let amount = wish.amount_msat.map(Msat::new).transpose();
    let amount = amount.map_err(|_| RequestError::RefundBody)?;
    if amount.is_some_and(Msat::is_zero) {
        return Err(RequestError::RefundBody.into());
    }
    Ok((destination, amount))
}
