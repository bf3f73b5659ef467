//! `/.farebox/refund`: the holder of a token gets back what is left on it. The holder of a prepaid key
//! asks in the same words beside the key.
//!
//! Only the token as it was sold may ask: who was given a part of it has no say over the rest. It
//! is asked for by the token alone, so it works when the route that sold it is long gone. Nothing
//! of the destination is logged but the host of an address.

pub(super) mod told;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{AccountId, Msat};
use farebox_http::body_budget::{Keep, Patience, read_body};
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{
    ChallengeLimits, ChallengeRates, Rate, RetryAfter, TokenLimit, TokenLimits, TokenPermit,
};
use farebox_ledger::{AskedBy, ClaimPolicy, Funding, Rail};
use farebox_wire::credential::{CredentialError, Presented, read_credentials};
use farebox_wire::problem::{Problem, ProblemKind};
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::access_log::Exchange;
use crate::admit;
use crate::answer::AnswerBody;
use crate::arrival::{Arrival, ArrivedBody};
use crate::outcome::Outcome;
use crate::payout::{Destination, Payer, Payouts, RefundError, RefundRequest, Repeat};
use crate::presented::{self, PresentedError, Token};
use crate::refusal::{Refusal, document, seconds};
use crate::worker::Worker;

/// The longest request, in bytes: an invoice has up to 4,096.
const MAX_BODY: usize = 8 * 1024;
/// The latest refunds of one account that are shown.
pub(super) const SHOWN: u32 = 20;
/// What a client without a token is told to bring.
const AUTHENTICATE: HeaderValue = HeaderValue::from_static("L402 realm=\"refund\"");
const MINUTE: Duration = Duration::from_secs(60);

/// What the data threads need for refunds.
pub(crate) struct RefundDesk {
    payouts: Option<Arc<Payouts>>,
    /// Looking a token up costs the ledger a read, and an address a call to a stranger.
    prefixes: ChallengeLimits,
    tokens: Arc<TokenLimits>,
}

/// What a holder asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    invoice: Option<String>,
    address: Option<String>,
    amount_msat: Option<u64>,
}

/// The same, read, with what it is known by when it is repeated.
pub(super) struct ReadWish {
    wish: Result<(Destination, Option<Msat>), Unheard>,
    repeat: Option<Repeat>,
}

/// Why a request for a refund is not even looked into.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error("present the paid token: Authorization: L402 <macaroon>:<preimage>")]
    NoToken,
    #[error(transparent)]
    Token(#[from] PresentedError),
    #[error("a holder narrowed this token; the token as it was sold is needed")]
    Attenuated,
    #[error("too many requests")]
    TooOften(Duration),
    #[error("the body is not JSON with \"invoice\" or \"address\", and perhaps \"amount_msat\"")]
    Body,
    #[error(transparent)]
    Refund(#[from] RefundError),
}

impl RefundDesk {
    pub(crate) fn new(payouts: Option<Arc<Payouts>>, now: Instant) -> Self {
        let rates = ChallengeRates {
            per_prefix: Rate::new(many(60), MINUTE, many(20)),
            global: Rate::new(many(3000), MINUTE, many(100)),
        };
        Self {
            payouts,
            prefixes: ChallengeLimits::new(rates, now),
            tokens: TokenLimits::new(now),
        }
    }

    pub(super) fn payouts(&self) -> Result<&Arc<Payouts>, RefundError> {
        self.payouts.as_ref().ok_or(RefundError::NoPayer)
    }

    /// Takes one question to the ledger from a client's share.
    pub(super) fn may_ask(&self, exchange: &Exchange) -> Result<(), RetryAfter> {
        let prefix = AddressPrefix::of(exchange.client);
        self.prefixes.try_take(prefix, Instant::now())
    }

    fn let_in(&self, exchange: &Exchange) -> Result<(), Unheard> {
        self.may_ask(exchange)
            .map_err(|RetryAfter(wait)| Unheard::TooOften(wait))
    }

    pub(super) fn start(&self, account: AccountId) -> Result<TokenPermit, Unheard> {
        let limit = TokenLimit {
            max_concurrent: Some(many(4)),
            rate: Some(Rate::new(many(30), MINUTE, many(10))),
        };
        let started = self.tokens.try_start(&account, limit, Instant::now());
        started.map_err(|refusal| Unheard::TooOften(refusal.retry_after().0))
    }
}

const fn many(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

impl Worker {
    pub(super) async fn refund(
        &self,
        exchange: &mut Exchange,
        arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let method = arrival.parts.method.clone();
        if !matches!(method, Method::GET | Method::POST) {
            return Err(Refusal::Method {
                allowed: vec![Method::GET, Method::POST],
            });
        }
        let token = match self.holder(exchange, &arrival.parts.headers) {
            Ok(token) => token,
            Err(unheard) => return Ok(unheard.answer(exchange)),
        };
        let _permit = match self.shared.refunds.start(token.payment_hash.account()) {
            Ok(permit) => permit,
            Err(unheard) => return Ok(unheard.answer(exchange)),
        };
        let answer = if method == Method::GET {
            self.show_refunds(&token).await
        } else {
            let wish = self.read_wish(arrival).await?;
            self.begin_refund(exchange, token, wish).await
        };
        Ok(told(exchange, answer))
    }

    /// The token as it was sold, or nothing.
    fn holder(&self, exchange: &Exchange, headers: &HeaderMap) -> Result<Token, Unheard> {
        self.shared.refunds.let_in(exchange)?;
        let read = read_credentials(headers).map_err(PresentedError::from)?;
        let Presented::L402(credential) = read else {
            return Err(Unheard::NoToken);
        };
        let token = presented::verify(&credential, &self.shared.keyring)?;
        if credential.is_as_issued(&token.granted.terms) {
            Ok(token)
        } else {
            Err(Unheard::Attenuated)
        }
    }

    pub(super) async fn read_wish(&self, mut arrival: Arrival) -> Result<ReadWish, Refusal> {
        let key = admit::idempotency_key(&arrival.parts.headers);
        let ArrivedBody::Unread(body) = std::mem::replace(&mut arrival.body, ArrivedBody::Taken)
        else {
            return Ok(ReadWish::new(&[], key));
        };
        let (patience, budget) = (Patience::default(), &self.shared.bodies);
        let read = read_body(body, MAX_BODY, patience, budget, Keep::Bytes).await?;
        Ok(ReadWish::new(&read.bytes.unwrap_or_default(), key))
    }

    async fn begin_refund(
        &self,
        exchange: &Exchange,
        token: Token,
        wish: ReadWish,
    ) -> Result<Response<AnswerBody>, Unheard> {
        let payouts = self.shared.refunds.payouts()?;
        let payer = Payer::Token {
            payment_hash: token.payment_hash,
            claim: Some(self.claim(token)),
        };
        let view = payouts.refund(wish.of(payer)?).await?;
        Ok(told::begun(exchange, &view, super::REFUND))
    }

    fn claim(&self, token: Token) -> Funding {
        Funding {
            rail: Rail::Lightning,
            id: token.payment_hash,
            amount: token.granted.terms.amount,
            key_epoch: token.key_epoch,
            claims: self.shared.keyring.claim_policy(token.key_epoch),
            terms: token.granted.terms,
        }
    }

    async fn show_refunds(&self, token: &Token) -> Result<Response<AnswerBody>, Unheard> {
        let rules = self.shared.refunds.payouts()?.rules();
        let ledger = &self.shared.ledger;
        ledger.flush().await.map_err(RefundError::from)?;
        let left = ledger.refundable(token.payment_hash.account()).await;
        let left = left.map_err(RefundError::from)?;
        let refunds = ledger.payouts_of(token.payment_hash.account(), SHOWN).await;
        let refunds = refunds.map_err(RefundError::from)?;
        let claims = self.shared.keyring.claim_policy(token.key_epoch);
        let unused = (claims == ClaimPolicy::Open).then_some(token.granted.terms.amount);
        let mut standing = told::standing(&rules, left.as_ref(), unused, &refunds);
        standing["payment_hash"] = token.payment_hash.to_string().into();
        standing["used"] = left.is_some().into();
        Ok(super::json(standing.to_string()))
    }
}

/// What came of a question, and what the log is told of it.
pub(super) fn told(
    exchange: &mut Exchange,
    answer: Result<Response<AnswerBody>, Unheard>,
) -> Response<AnswerBody> {
    match answer {
        Ok(response) => {
            if response.status().is_success() {
                exchange.outcome = Outcome::Free;
            } else {
                exchange.outcome = Outcome::Refused;
                exchange.reason = ProblemKind::REFUND_FAILED.code;
            }
            response
        }
        Err(unheard) => unheard.answer(exchange),
    }
}

impl ReadWish {
    fn new(body: &[u8], key: Option<[u8; 32]>) -> Self {
        Self {
            wish: wish(body),
            repeat: key.map(|key| Repeat::new(key, body)),
        }
    }

    /// What is asked for, of somebody's money.
    pub(super) fn of(self, payer: Payer) -> Result<RefundRequest, Unheard> {
        let (destination, amount) = self.wish?;
        Ok(RefundRequest {
            payer,
            destination,
            asked_by: AskedBy::Holder,
            amount,
            repeat: self.repeat,
        })
    }
}

fn wish(body: &[u8]) -> Result<(Destination, Option<Msat>), Unheard> {
    let wish: Wish = serde_json::from_slice(body).map_err(|_| Unheard::Body)?;
    let destination: Destination = match (wish.invoice, wish.address) {
        (Some(text), None) | (None, Some(text)) => text.parse()?,
        _ => return Err(Unheard::Body),
    };
    let amount = wish.amount_msat.map(Msat::new).transpose();
    let amount = amount.map_err(|_| Unheard::Body)?;
    if amount.is_some_and(Msat::is_zero) {
        return Err(Unheard::Body);
    }
    Ok((destination, amount))
}

impl Unheard {
    fn answer(&self, exchange: &mut Exchange) -> Response<AnswerBody> {
        let kind = self.kind();
        exchange.outcome = match kind.status {
            500.. => Outcome::Fault,
            _ => Outcome::Refused,
        };
        exchange.reason = kind.code;
        let mut problem = Problem::new(kind)
            .with_detail(self.to_string())
            .with_request_id(exchange.request_id);
        let wait = self.retry_after();
        if let Some(wait) = wait {
            problem = problem.with_retry_after(wait);
        }
        let mut response = document(&problem);
        if let Some(wait) = wait {
            let headers = response.headers_mut();
            headers.insert(http::header::RETRY_AFTER, seconds(wait));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, AUTHENTICATE);
        }
        response
    }

    const fn kind(&self) -> ProblemKind {
        match self {
            Self::NoToken => ProblemKind::CREDENTIAL_REQUIRED,
            Self::Token(PresentedError::Unreadable(CredentialError::Ambiguous)) => {
                ProblemKind::CREDENTIAL_AMBIGUOUS
            }
            Self::Token(PresentedError::Unreadable(_)) => ProblemKind::CREDENTIAL_MALFORMED,
            Self::Token(_) => ProblemKind::CREDENTIAL_INVALID,
            Self::Attenuated => ProblemKind::CREDENTIAL_ATTENUATED,
            Self::TooOften(_) => ProblemKind::RATE_LIMITED,
            Self::Body => ProblemKind::BAD_REQUEST,
            Self::Refund(error) => error.problem(),
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooOften(wait) => Some(*wait),
            Self::Refund(error) => error.retry_after(),
            _ => None,
        }
    }
}
