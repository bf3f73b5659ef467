//! The challenge for a call whose payment will be held: an invoice for a preimage of our own, and
//! the request kept until it is paid.

use std::sync::Arc;

use farebox_core::{Binding, KeyEpoch, PaymentHash, Preimage, Terms};
use farebox_http::body_budget::ReadBody;
use farebox_ledger::{HeldCall, HeldState};
use farebox_lightning::{CreatedInvoice, InvoiceRequest};
use farebox_paywall::keyring::{Keyring, Purpose};
use farebox_wire::identifier::TokenIdentifier;

use super::KeptRequest;
use crate::access_log::Exchange;
use crate::arrival::{Arrival, ArrivedBody};
use crate::challenge::{Debt, INVOICE_TIMEOUT, late};
use crate::plan::Plan;
use crate::refusal::{Overload, PaymentError, Refusal, RequestError};
use crate::tender::Tender;
use crate::worker::{Shared, Worker};

/// What a token's identifier is made of besides its payment hash. The preimage of a held payment
/// follows from it and the server's secret, so that none has to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Seed {
    pub(crate) epoch: KeyEpoch,
    pub(crate) random: [u8; 28],
}

impl Seed {
    pub(crate) fn draw(keyring: &Keyring) -> Result<Self, PaymentError> {
        Ok(Self {
            epoch: keyring.signing_epoch(),
            random: Shared::random_token_id()?,
        })
    }

    pub(crate) fn identifier(self, hash: PaymentHash) -> TokenIdentifier {
        TokenIdentifier::new(hash, self.epoch, self.random)
    }

    fn preimage(self, keyring: &Keyring) -> Option<Preimage> {
        // The name of the token does not depend on the hash that follows from it.
        let named = self.identifier(PaymentHash::from_bytes([0; 32]));
        preimage(keyring, self.epoch, &named.token_id)
    }
}

/// The preimage that takes the payment of a token; none for an epoch whose secret is gone.
pub(super) fn preimage(
    keyring: &Keyring,
    epoch: KeyEpoch,
    token_id: &[u8; 32],
) -> Option<Preimage> {
    let secret = keyring.derive(epoch, Purpose::HeldPreimage, token_id)?;
    Some(Preimage::from_bytes(*secret.reveal()))
}

impl KeptRequest {
    /// The request as it has to be sent again, its body included. Payment headers are off already.
    pub(crate) fn of(exchange: &Exchange, arrival: &Arrival) -> Result<Self, Refusal> {
        let upgrades = farebox_http::headers::is_websocket_upgrade(&arrival.parts.headers);
        let ArrivedBody::Read(ReadBody { bytes, .. }) = &arrival.body else {
            return Err(RequestError::CannotHold.into());
        };
        if upgrades || arrival.grpc {
            return Err(RequestError::CannotHold.into());
        }
        Ok(Self {
            method: arrival.parts.method.clone(),
            host: arrival.host.to_string(),
            path: arrival.path.to_string(),
            query: arrival.parts.uri.query().map(str::to_owned),
            headers: arrival.parts.headers.clone(),
            body: bytes.clone().ok_or(RequestError::BodyNotKept)?,
            peer: exchange.peer,
            client: exchange.client,
        })
    }
}

impl Worker {
    /// Makes the invoice whose payment will be held.
    pub(crate) async fn create_held_invoice(
        &self,
        plan: &Plan,
        debt: &Debt<'_>,
        seed: Seed,
    ) -> Result<(Tender, CreatedInvoice), Refusal> {
        let node = plan.node.as_deref().ok_or(PaymentError::NoNode)?;
        let tender = Tender::of(&debt.sale.offer, debt.price, node.limits())?;
        if !tender.is_exact() {
            return Err(PaymentError::AmountNotTaken.into());
        }
        let (_, holder) = node.holder().ok_or(PaymentError::NoHolder)?;
        let preimage = seed.preimage(&self.shared.keyring);
        let hash = preimage.ok_or(PaymentError::SigningKeyGone)?.payment_hash();
        let request = InvoiceRequest {
            amount: tender.amount,
            memo: debt.sale.description.clone(),
            expiry: plan.server.invoice_expiry,
        };
        let made = holder.create_hold_invoice(hash, request);
        match tokio::time::timeout(INVOICE_TIMEOUT, made).await {
            Ok(Ok(invoice)) if invoice.payment_hash == hash => Ok((tender, invoice)),
            Ok(Ok(_)) => Err(PaymentError::OtherInvoice.into()),
            Ok(Err(error)) => Err(self.node_failed(error)),
            Err(_) => Err(self.node_failed(late(node))),
        }
    }

    /// Keeps the request before its invoice leaves, and has somebody wait for the payment. Where
    /// there is no room the invoice, which nobody has seen, is left to expire.
    pub(crate) async fn keep_for_payment(
        &self,
        plan: &Plan,
        kept: &KeptRequest,
        terms: Terms,
        seed: Seed,
        invoice: &CreatedInvoice,
    ) -> Result<(), Refusal> {
        let Binding::Request(digest) = terms.binding else {
            return Err(RequestError::CannotHold.into());
        };
        let (backend, node) = plan.holder().ok_or(PaymentError::NoHolder)?;
        let call = HeldCall {
            payment_hash: invoice.payment_hash,
            token_id: seed.identifier(invoice.payment_hash).token_id,
            key_epoch: seed.epoch,
            terms,
            digest,
            request: kept.to_bytes(),
            backend: backend.to_owned(),
            state: HeldState::Offered,
            created_at: self.shared.clock.now(),
            expires_at: invoice.expires_at,
            answer: None,
        };
        let door = &self.shared.held;
        if !self.shared.ledger.open_held_call(call, door.room()).await? {
            return Err(Overload::HeldCalls.into());
        }
        door.tell(invoice.payment_hash, Arc::clone(node));
        Ok(())
    }
}
