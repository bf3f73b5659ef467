//! Whether an invoice that a node made is the one it was asked for. Pure; nothing that a node says
//! about its invoice is believed beyond this.

use std::time::Duration;

use farebox_core::{PaymentHash, UnixMillis};

use crate::{CreatedInvoice, InvoiceFault, InvoiceRequest, Network, parse_invoice};

/// How long an invoice must still be payable, or half of what was asked for where that is less:
/// otherwise a buyer pays into the void.
const MIN_LIFE: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a InvoiceRequest,
    pub(crate) network: Network,
    pub(crate) now: UnixMillis,
}

impl Asked<'_> {
    /// Reads the invoice and compares it.
    pub(crate) fn check(&self, bolt11: &str) -> Result<CreatedInvoice, InvoiceFault> {
        let invoice = parse_invoice(bolt11)?;
        if invoice.amount != self.request.amount {
            return Err(InvoiceFault::Amount {
                asked: self.request.amount,
                found: invoice.amount,
            });
        }
        if invoice.network != self.network {
            return Err(InvoiceFault::Network {
                asked: self.network,
                found: invoice.network,
            });
        }
        let life = MIN_LIFE.min(self.request.expiry / 2);
        if invoice.expires_at < self.now.plus(life) {
            return Err(InvoiceFault::Expired);
        }
        Ok(CreatedInvoice {
            bolt11: bolt11.to_owned(),
            payment_hash: invoice.payment_hash,
            amount: invoice.amount,
            expires_at: invoice.expires_at,
        })
    }
}

/// The hash that an answer names beside its invoice, if any, must be the invoice's own.
pub(crate) fn same_hash(created: &CreatedInvoice, named: Option<PaymentHash>) -> bool {
    named.is_none_or(|hash| hash == created.payment_hash)
}
