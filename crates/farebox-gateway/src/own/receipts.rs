//! `/.farebox/receipts/{id}`: what a request was charged, for whoever paid for it.
//!
//! The id is in `farebox-receipt` of the answer. It opens nothing by itself: the credential that paid
//! is asked for too, or the key whose child did. Of somebody else's charge, and of one that there
//! never was, the answer is the same.

use farebox_core::HoldId;
use farebox_http::limits::RetryAfter;
use farebox_ledger::{AccountName, ChargeView};
use farebox_wire::credential::CredentialError;
use farebox_wire::problem::{Problem, ProblemKind};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::presented::{Presented, PresentedError};
use crate::receipt::ReceiptJson;
use crate::refusal::{Refusal, document, seconds};
use crate::worker::Worker;

pub(super) const RECEIPTS: &str = "/.farebox/receipts";
/// What a client without a credential is told to bring.
const AUTHENTICATE: [HeaderValue; 2] = [
    HeaderValue::from_static("L402 realm=\"receipts\""),
    HeaderValue::from_static("Bearer realm=\"farebox\""),
];

impl Worker {
    pub(super) async fn receipt(
        &self,
        exchange: &mut Exchange,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if !matches!(arrival.parts.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method {
                allowed: vec![Method::GET],
            });
        }
        let headers = &mut arrival.parts.headers;
        let presented = self.reader.take(headers, &self.shared.keyring);
        let payer = match presented {
            Ok(Presented::L402(token)) => AccountName::Payer(token.payment_hash.account()),
            Ok(Presented::Key(key)) => AccountName::Key(key),
            Ok(Presented::BadKey(fault)) => return Err(fault.into()),
            Ok(Presented::Nothing) => {
                return Ok(unheard(exchange, ProblemKind::CREDENTIAL_REQUIRED));
            }
            Err(error) => return Ok(unheard(exchange, kind_of(error))),
        };
        if let Err(RetryAfter(wait)) = self.shared.refunds.may_ask(exchange) {
            let mut response = unheard(exchange, ProblemKind::RATE_LIMITED);
            response.headers_mut().insert(RETRY_AFTER, seconds(wait));
            return Ok(response);
        }
        let id = arrival.path.strip_prefix(RECEIPTS).unwrap_or_default();
        let id = HoldId::parse(id.trim_start_matches('/')).map_err(|_| Refusal::NoRoute)?;
        let charge = self.charge_of(id, &payer).await?.ok_or(Refusal::NoRoute)?;
        exchange.outcome = Outcome::Free;
        let told = serde_json::to_vec(&ReceiptJson::new(charge));
        Ok(super::json(told.unwrap_or_default()))
    }

    /// A charge, if this payer made it. One that has just ended is written first.
    async fn charge_of(
        &self,
        id: HoldId,
        payer: &AccountName,
    ) -> Result<Option<ChargeView>, Refusal> {
        self.shared.ledger.flush().await?;
        let charge = self.shared.ledger.charge(id).await?;
        let is_theirs = |charge: &ChargeView| {
            let asker = charge.asker.map(AccountName::Key);
            charge.account == *payer || asker.as_ref() == Some(payer)
        };
        Ok(charge.filter(is_theirs))
    }
}

const fn kind_of(error: PresentedError) -> ProblemKind {
    match error {
        PresentedError::Unreadable(CredentialError::Ambiguous) => ProblemKind::CREDENTIAL_AMBIGUOUS,
        PresentedError::Unreadable(_) => ProblemKind::CREDENTIAL_MALFORMED,
        PresentedError::Unproven(_) | PresentedError::UnknownKey => ProblemKind::CREDENTIAL_INVALID,
    }
}

fn unheard(exchange: &mut Exchange, kind: ProblemKind) -> Response<AnswerBody> {
    (exchange.outcome, exchange.reason) = (Outcome::Refused, kind.code);
    let problem = Problem::new(kind).with_request_id(exchange.request_id);
    let mut response = document(&problem);
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        for scheme in AUTHENTICATE {
            headers.append(WWW_AUTHENTICATE, scheme);
        }
    }
    response
}
