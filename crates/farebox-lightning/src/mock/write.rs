//! Writing and signing one invoice.

use std::time::Duration;

use farebox_core::{PaymentHash, UnixMillis};
use lightning_invoice::{InvoiceBuilder, PaymentSecret};

use super::MockNode;
use super::keys::{Index, bolt11_hash};
use crate::port::MAX_DESCRIPTION;
use crate::{CreatedInvoice, InvoiceFault, InvoiceRequest};

/// The blocks a payer must leave for the last hop; what LND asks for by default.
const FINAL_CLTV_DELTA: u64 = 80;

impl MockNode {
    /// Writes the invoice with this index for `hash`, which is that of the index's own preimage except
    /// where the payment is held.
    pub(super) fn write(
        &self,
        (index, hash): (Index, PaymentHash),
        request: &InvoiceRequest,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        let created_at = UnixMillis::from_secs(self.clock.now().as_secs());
        let expiry = Duration::from_secs(request.seconds());
        let invoice = InvoiceBuilder::new(self.network.currency())
            .description(request.description(MAX_DESCRIPTION).to_owned())
            .payment_hash(bolt11_hash(&hash))
            .payment_secret(PaymentSecret(self.keys.payment_secret(index)))
            .duration_since_epoch(Duration::from_secs(created_at.as_secs()))
            .min_final_cltv_expiry_delta(FINAL_CLTV_DELTA)
            .expiry_time(expiry)
            .amount_milli_satoshis(request.amount.get())
            .build_signed(|hash| self.keys.sign(hash))
            .map_err(InvoiceFault::Unwritable)?;
        Ok(CreatedInvoice {
            bolt11: invoice.to_string(),
            payment_hash: hash,
            amount: request.amount,
            expires_at: created_at.plus(expiry),
        })
    }
}
