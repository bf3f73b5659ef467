//! Whether an invoice that a node made is the one it was asked for. Pure; nothing that a node says
//! about its invoice is believed beyond this.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use farebox_core::{Clock, Msat, PaymentHash, UnixMillis};
use lightning_invoice::{Bolt11SemanticError, DEFAULT_EXPIRY_TIME, ExpiryTime, RawBolt11Invoice};

use crate::invoice::decode_unsigned;
use crate::{CreatedInvoice, Invoice, InvoiceFault, InvoiceRequest, Network, parse_invoice};

/// How long an invoice must still be payable, or half of what was asked for where that is less:
/// otherwise a buyer pays into the void.
const MIN_LIFE: Duration = Duration::from_secs(30);

/// What an invoice that names no expiry means (BOLT 11).
const DEFAULT_EXPIRY: &Duration = &Duration::from_secs(DEFAULT_EXPIRY_TIME);

/// What every invoice of a backend has to be, besides what was asked for.
pub(crate) struct InvoiceRules {
    /// What time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// The network that it must be for.
    pub(crate) network: Network,
}

/// What an invoice says about itself, as far as it was asked for.
struct Said {
    payment_hash: PaymentHash,
    amount: Msat,
    network: Network,
    expires_at: UnixMillis,
}

impl InvoiceRules {
    /// Reads the invoice, signature included, and compares it.
    pub(crate) fn check(
        &self,
        request: &InvoiceRequest,
        bolt11: &str,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        self.check_read(request, &parse_invoice(bolt11)?, bolt11)
    }

    /// The same where it was read already.
    pub(crate) fn check_read(
        &self,
        request: &InvoiceRequest,
        invoice: &Invoice,
        bolt11: &str,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        let said = Said {
            payment_hash: invoice.payment_hash,
            amount: invoice.amount,
            network: invoice.network,
            expires_at: invoice.expires_at,
        };
        self.compare(request, &said, bolt11)
    }

    /// The same but for the signature, for what the seller's own node answers over a connection
    /// that proves who it is. To recover the key from the signature would cost more than the rest
    /// of a challenge, and every payer's wallet does it before it pays.
    pub(crate) fn check_own(
        &self,
        request: &InvoiceRequest,
        bolt11: &str,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        self.compare(request, &Said::read_unsigned(bolt11)?, bolt11)
    }

    fn compare(
        &self,
        request: &InvoiceRequest,
        said: &Said,
        bolt11: &str,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        if said.amount != request.amount {
            return Err(InvoiceFault::Amount {
                asked: request.amount,
                found: said.amount,
            });
        }
        if said.network != self.network {
            return Err(InvoiceFault::Network {
                asked: self.network,
                found: said.network,
            });
        }
        let life = MIN_LIFE.min(request.expiry / 2);
        if said.expires_at < self.clock.now().plus(life) {
            return Err(InvoiceFault::Expired);
        }
        Ok(CreatedInvoice {
            bolt11: bolt11.to_owned(),
            payment_hash: said.payment_hash,
            amount: said.amount,
            expires_at: said.expires_at,
        })
    }
}

impl Said {
    fn read_unsigned(bolt11: &str) -> Result<Self, InvoiceFault> {
        let signed = decode_unsigned(bolt11)?;
        let raw = signed.raw_invoice();
        let hash = raw.payment_hash().ok_or(InvoiceFault::Malformed(
            Bolt11SemanticError::NoPaymentHash.into(),
        ))?;
        let made = UnixMillis::from_secs(raw.data.timestamp.as_unix_timestamp());
        let lasts = raw
            .expiry_time()
            .map_or(DEFAULT_EXPIRY, ExpiryTime::as_duration);
        Ok(Self {
            payment_hash: PaymentHash::from_bytes(hash.0.to_byte_array()),
            amount: amount(raw)?,
            network: Network::of(&raw.currency()),
            expires_at: made.plus(*lasts),
        })
    }
}

fn amount(raw: &RawBolt11Invoice) -> Result<Msat, InvoiceFault> {
    let pico = raw.amount_pico_btc().ok_or(InvoiceFault::Amountless)?;
    let whole = (pico != 0 && pico.is_multiple_of(10)).then_some(pico / 10);
    whole
        .and_then(|msat| Msat::new(msat).ok())
        .ok_or(InvoiceFault::ImpossibleAmount)
}

#[cfg(test)]
mod tests;
