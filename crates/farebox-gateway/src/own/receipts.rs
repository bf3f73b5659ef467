//! `/.farebox/receipts/{id}`: what a request was charged, for whoever paid for it.
//!
//! The id is in `farebox-receipt` of the answer. It opens nothing by itself: the credential that paid
//! is asked for too, or the key whose child did. Of somebody else's charge, and of one that there
//! never was, the answer is the same.

use farebox_core::HoldId;
use farebox_ledger::{AccountName, ChargeView};
use farebox_paywall::receipt::receipt;
use http::{Method, Response};

use super::Own;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::refusal::{HolderError, HolderOf, Refusal, RequestError};
use farebox_paywall::credential::{Presented, Reader};

pub(super) const RECEIPTS: &str = "/.farebox/receipts";

impl Own {
    pub(super) async fn receipt(
        &self,
        reader: &Reader,
        exchange: &mut Exchange,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if !matches!(arrival.parts.method, Method::GET | Method::HEAD) {
            return Err(RequestError::only(&[Method::GET]).into());
        }
        let headers = &mut arrival.parts.headers;
        let presented = reader.take(headers, &self.paywall.keyring);
        exchange.holder = self.paywall.holder_of(&presented, exchange.client).await;
        let payer = match presented {
            Ok(Presented::L402(token)) => AccountName::Payer(token.account()),
            Ok(Presented::Key(key)) => AccountName::Key(key),
            Ok(Presented::BadKey(fault)) => return Err(fault.into()),
            Ok(Presented::Nothing | Presented::Ecash(_) | Presented::AmbiguousEcash) => {
                return Err(HolderError::Missing(HolderOf::Receipt).into());
            }
            Err(error) => return Err(HolderError::Unproven(HolderOf::Receipt, error).into()),
        };
        self.refunds.may_ask(exchange)?;
        let id = arrival.path.strip_prefix(RECEIPTS).unwrap_or_default();
        let id = HoldId::parse(id.trim_start_matches('/')).map_err(|_| RequestError::NoRoute)?;
        let charge = self
            .charge_of(id, &payer)
            .await?
            .ok_or(RequestError::NoRoute)?;
        exchange.outcome = Outcome::Free;
        let told = serde_json::to_vec(&receipt(charge));
        Ok(super::json(
            told.expect("texts and numbers always serialize"),
        ))
    }

    /// A charge, if this payer made it. One that has just ended is written first.
    async fn charge_of(
        &self,
        id: HoldId,
        payer: &AccountName,
    ) -> Result<Option<ChargeView>, Refusal> {
        self.paywall.ledger.flush().await?;
        let charge = self.paywall.ledger.charge(id).await?;
        let is_theirs = |charge: &ChargeView| {
            let asker = charge.asker.map(AccountName::Key);
            charge.account == *payer || asker.as_ref() == Some(payer)
        };
        Ok(charge.filter(is_theirs))
    }
}
