//! The node port: what the gateway may ask of a Lightning backend, split by ability.

use std::pin::Pin;
use std::time::Duration;

use farebox_core::{Msat, PaymentHash, UnixMillis};

use crate::NodeError;

/// A boxed future, so that the port works behind `Arc<dyn …>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A backend that makes BOLT 11 invoices.
pub trait CreateInvoice: Send + Sync {
    /// Makes one invoice, different from every other in its payment hash.
    ///
    /// Dropping the future is allowed at any point; an invoice made but not returned is never
    /// paid, since nobody sees it.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::is_temporary`] tells whether asking again later may help.
    fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> BoxFuture<'_, Result<CreatedInvoice, NodeError>>;

    /// The amounts this backend takes, as far as it knows at this moment.
    fn limits(&self) -> AmountLimits;

    /// The kind of backend, as written in the configuration, for logs and health pages.
    fn describe(&self) -> &'static str;

    /// Whether a payment hash may come back in a later invoice. A node of the seller's own draws
    /// each preimage anew; a provider somewhere else can do as it likes, and its hashes are
    /// compared with those of earlier sales.
    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Foreign
    }

    /// The same backend as one that can look invoices up, where it can.
    fn lookup(&self) -> Option<&dyn LookupInvoice> {
        None
    }
}

/// Who draws the preimages of a backend's invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentHashes {
    /// The seller's own node: no hash comes twice.
    Own,
    /// Somebody else: a hash may be repeated.
    Foreign,
}

/// A backend that can tell what became of an invoice it made.
pub trait LookupInvoice: Send + Sync {
    /// The state of the invoice with this payment hash.
    ///
    /// # Errors
    /// [`NodeError`] when the backend did not answer or its answer proves nothing.
    fn lookup_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>>;
}

/// What an invoice is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceRequest {
    /// Exactly this much.
    pub amount: Msat,
    /// What the payer's wallet shows, where the backend lets us say it. Cut to the backend's limit.
    pub memo: String,
    /// How long the invoice may be paid, in whole seconds. A wish: [`CreatedInvoice::expires_at`]
    /// says what it became.
    pub expiry: Duration,
}

/// An invoice made and checked: amount, payment hash and expiry are what the text itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedInvoice {
    /// The invoice in its bech32 form.
    pub bolt11: String,
    /// The hash that the payer's preimage will open.
    pub payment_hash: PaymentHash,
    /// What the invoice asks for; equal to what was requested.
    pub amount: Msat,
    /// When it can no longer be paid.
    pub expires_at: UnixMillis,
}

/// The least and the most a backend takes in one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountLimits {
    /// The smallest amount.
    pub min: Msat,
    /// The largest amount.
    pub max: Msat,
}

impl AmountLimits {
    /// Whatever an invoice can ask for. BOLT 11 counts in tenths of a millisatoshi, so this ends a
    /// little below all bitcoin.
    pub const ANY: Self = Self {
        min: msat(1),
        max: msat(u64::MAX / 10),
    };

    /// Whether `amount` lies within, both ends included.
    #[must_use]
    pub fn allow(&self, amount: Msat) -> bool {
        (self.min..=self.max).contains(&amount)
    }
}

const fn msat(msat: u64) -> Msat {
    match Msat::new(msat) {
        Ok(amount) => amount,
        Err(_) => Msat::MAX,
    }
}

/// What became of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// Not paid, as far as the backend knows.
    Open,
    /// Paid and final.
    Settled {
        /// What was received, where the backend says so; BOLT 4 lets a payer send up to twice the
        /// amount.
        received: Option<Msat>,
    },
    /// The backend does not know this invoice, or no longer.
    Unknown,
}
