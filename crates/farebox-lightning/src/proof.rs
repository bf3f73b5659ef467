//! What an answer proves about an invoice or a payment, whichever backend gave it. Pure.

use farebox_core::{PaymentHash, Preimage};

use crate::{AnswerFault, CreatedInvoice, NodeError, PaymentFailure, PaymentState};

/// The payment hash in the field of this name.
pub(crate) fn hash_in(field: &'static str, hex: &str) -> Result<PaymentHash, AnswerFault> {
    PaymentHash::from_hex(hex).map_err(|_| AnswerFault::Missing(field))
}

/// An answer that names another payment hash than the one asked about says nothing.
pub(crate) fn same_hash(named: &str, asked: &PaymentHash) -> Result<(), AnswerFault> {
    if PaymentHash::from_hex(named).is_ok_and(|named| named == *asked) {
        Ok(())
    } else {
        Err(AnswerFault::OtherInvoice)
    }
}

/// The invoice, unless a hash that stands beside it is another one than its own. One that cannot be
/// read, or is not there, is no contradiction.
pub(crate) fn uncontradicted(
    created: CreatedInvoice,
    named: Option<&str>,
) -> Result<CreatedInvoice, AnswerFault> {
    let named = named.and_then(|hex| PaymentHash::from_hex(hex).ok());
    if named.is_none_or(|hash| hash == created.payment_hash) {
        Ok(created)
    } else {
        Err(AnswerFault::OtherInvoice)
    }
}

/// The preimage, where nothing else says which payment was made; it must open the hash.
pub(crate) fn preimage(hex: &str, hash: &PaymentHash) -> Result<Preimage, AnswerFault> {
    Preimage::from_hex(hex.as_bytes())
        .ok()
        .filter(|preimage| preimage.opens(hash))
        .ok_or(AnswerFault::Preimage)
}

/// The preimage, where one is shown that opens the hash. Any other text proves no less than none: whose
/// payment was settled says the node.
pub(crate) fn shown(hex: Option<&str>, hash: &PaymentHash) -> Option<Preimage> {
    hex.and_then(|hex| preimage(hex, hash).ok())
}

/// What became of a payment that was sent and answered, by the backend's own record of it.
/// `failure` is why it failed, where the answer says so: that counts unless the record knows better.
/// As it was sent, not being able to ask is no refusal.
pub(crate) fn after_sending(
    recorded: Result<PaymentState, NodeError>,
    failure: Option<PaymentFailure>,
) -> PaymentState {
    match (recorded.unwrap_or(PaymentState::Pending), failure) {
        (PaymentState::Failed(_) | PaymentState::Unheard, Some(failure)) => {
            PaymentState::Failed(failure)
        }
        (PaymentState::Unheard, None) => PaymentState::Pending,
        (state, _) => state,
    }
}
