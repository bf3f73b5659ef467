//! Writing and signing one invoice.

use std::time::Duration;

use farebox_core::{Msat, PaymentHash, UnixMillis};
use lightning_invoice::{Bolt11Invoice, CreationError, InvoiceBuilder, PaymentSecret};

use super::keys::{Index, NodeKeys, bolt11_hash};
use crate::port::MAX_DESCRIPTION;
use crate::{CreatedInvoice, InvoiceFault, InvoiceRequest, Network, NodeError};

/// The blocks a payer must leave for the last hop; what LND asks for by default.
const FINAL_CLTV_DELTA: u64 = 80;

/// Writes the invoice with this index for `hash`, which is that of the index's own preimage except
/// where the payment is held.
pub(super) fn write(
    keys: &NodeKeys,
    network: Network,
    (index, hash): (Index, PaymentHash),
    request: &InvoiceRequest,
    now: UnixMillis,
) -> Result<CreatedInvoice, NodeError> {
    let created_at = UnixMillis::from_secs(now.as_secs());
    let expiry = Duration::from_secs(request.seconds());
    let builder = InvoiceBuilder::new(network.currency())
        .description(request.description(MAX_DESCRIPTION).to_owned())
        .payment_hash(bolt11_hash(&hash))
        .payment_secret(PaymentSecret(keys.payment_secret(index)))
        .duration_since_epoch(Duration::from_secs(created_at.as_secs()))
        .min_final_cltv_expiry_delta(FINAL_CLTV_DELTA)
        .expiry_time(expiry)
        .amount_milli_satoshis(request.amount.get());
    let invoice = builder
        .build_signed(|hash| keys.sign(hash))
        .map_err(unwritable)?;
    Ok(created(
        &invoice,
        hash,
        request.amount,
        created_at.plus(expiry),
    ))
}

fn created(
    invoice: &Bolt11Invoice,
    payment_hash: PaymentHash,
    amount: Msat,
    expires_at: UnixMillis,
) -> CreatedInvoice {
    CreatedInvoice {
        bolt11: invoice.to_string(),
        payment_hash,
        amount,
        expires_at,
    }
}

fn unwritable(error: CreationError) -> NodeError {
    NodeError::BadInvoice(InvoiceFault::Unwritable(error))
}
