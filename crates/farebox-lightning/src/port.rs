//! The node port: what may be asked of a Lightning backend, split by ability.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Msat, PaymentHash, Preimage, UnixMillis};

use crate::{AmountLimits, CheckAccess, NodeError, WebhookError};

/// A Lightning backend as what it can do. Each ability is there or not, from the start and for as
/// long as the backend lives: one that cannot look an invoice up does not pretend to, and a wallet
/// that only pays fits as well as a node.
#[derive(Clone)]
pub struct Backend {
    /// The kind, as written in the configuration, for logs and health pages.
    pub kind: &'static str,
    /// Makes invoices.
    pub invoices: Option<Arc<dyn CreateInvoice>>,
    /// Tells what became of an invoice. Without it nothing is ever paid out.
    pub lookup: Option<Arc<dyn LookupInvoice>>,
    /// Pays invoices of others.
    pub pay: Option<Arc<dyn PayInvoice>>,
    /// Holds a payment until it is settled or canceled.
    pub hold: Option<Arc<dyn HoldInvoice>>,
    /// Tells of settlements by itself.
    pub watch: Option<Arc<dyn WatchSettlements>>,
    /// Calls us when a payment came in, and was given a secret to sign with.
    pub webhook: Option<Arc<dyn HearWebhook>>,
    /// Says what its credentials allow.
    pub check: Option<Arc<dyn CheckAccess>>,
}

impl Backend {
    /// A backend of this kind that can do nothing yet.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            invoices: None,
            lookup: None,
            pay: None,
            hold: None,
            watch: None,
            webhook: None,
            check: None,
        }
    }
}

/// A backend that makes BOLT 11 invoices.
#[async_trait]
pub trait CreateInvoice: Send + Sync {
    /// Makes one invoice, different from every other in its payment hash.
    ///
    /// Dropping the future is allowed at any point; an invoice made but not returned is never
    /// paid, since nobody sees it.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::is_temporary`] tells whether asking again later may help.
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError>;

    /// The amounts this backend takes, as far as it knows at this moment.
    fn limits(&self) -> AmountLimits;

    /// Whether a payment hash may come back in a later invoice. A node of the seller's own draws
    /// each preimage anew; a provider somewhere else can do as it likes, and its hashes are
    /// compared with those of earlier sales.
    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Foreign
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
#[async_trait]
pub trait LookupInvoice: Send + Sync {
    /// The state of the invoice with this payment hash.
    ///
    /// # Errors
    /// [`NodeError`] when the backend did not answer or its answer proves nothing.
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError>;
}

/// In millisatoshis.
const SATOSHI: u64 = 1000;

/// The longest description that fits an invoice, in bytes (BOLT 11: 1023 groups of five bits).
pub(crate) const MAX_DESCRIPTION: usize = 639;

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

impl InvoiceRequest {
    /// The memo, as far as it fits so many bytes.
    pub(crate) fn description(&self, most: usize) -> &str {
        &self.memo[..self.memo.floor_char_boundary(most)]
    }

    /// How long the invoice may be paid, in seconds, at least one.
    pub(crate) fn seconds(&self) -> u64 {
        self.expiry.as_secs().max(1)
    }
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

/// What became of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// Not paid, as far as the backend knows.
    Open,
    /// Paid, and held until we settle or cancel it: not ours yet.
    Held,
    /// Given back, or expired unpaid: it will never be settled.
    Canceled,
    /// Paid and final.
    Settled {
        /// What was received, where the backend says so; BOLT 4 lets a payer send up to twice the
        /// amount.
        received: Option<Msat>,
    },
    /// The backend does not know this invoice, or no longer.
    Unknown,
}

/// What was received for an invoice over `asked`, by a backend that may count in whole satoshis and cut
/// off the rest: no node settles for less than was asked, so less than a satoshi is never missing.
#[must_use]
pub fn received_for(asked: Msat, told: Msat) -> Msat {
    let missing = asked.saturating_sub(told).get();
    if missing < SATOSHI && !told.is_zero() {
        asked.max(told)
    } else {
        told
    }
}

/// A backend that can pay invoices of others.
///
/// Whoever calls it has written the intention down before, and keeps asking
/// [`payment_state`](Self::payment_state) until the outcome is known: a payment that may be under
/// way is never replaced by another one.
#[async_trait]
pub trait PayInvoice: Send + Sync {
    /// Pays an invoice, and returns when the outcome is known or `request.patience` has passed.
    ///
    /// Asking for the same invoice again is safe: it is the payment hash that is paid, and no node
    /// pays one twice. Dropping the future does not stop the payment.
    ///
    /// # Errors
    /// [`NodeError`]: nothing is known about the outcome, except where
    /// [`NodeError::is_certain_refusal`] says that the payment was never begun.
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError>;

    /// What became of the payment of the invoice with this hash.
    ///
    /// # Errors
    /// [`NodeError`]: nothing is known.
    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError>;
}

/// One payment to make. Amount and hash are what the invoice itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRequest {
    /// The invoice in its bech32 form.
    pub bolt11: String,
    /// Its payment hash.
    pub payment_hash: PaymentHash,
    /// Its amount.
    pub amount: Msat,
    /// The most that routing may cost on top.
    pub max_fee: Msat,
    /// How long to wait for the outcome.
    pub patience: Duration,
}

/// What became of an outgoing payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The backend has never heard of it. Whether that proves anything is for the backend's
    /// adapter to judge: where its memory is not to be trusted it says [`Self::Pending`].
    Unheard,
    /// Under way, or not known.
    Pending,
    /// Arrived.
    Succeeded {
        /// What routing cost on top of the amount.
        fee: Msat,
        /// The proof, where the backend gives it.
        preimage: Option<Preimage>,
    },
    /// Final: it did not arrive and never will.
    Failed(PaymentFailure),
}

/// Why an outgoing payment failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentFailure {
    /// No way to the payee within the fee limit.
    NoRoute,
    /// We have not enough on our side.
    InsufficientBalance,
    /// The invoice has expired, or the payee does not know it or has canceled it.
    RefusedByPayee,
    /// The backend gave another reason or none.
    Other,
}

/// A backend that can hold a payment: its preimage is ours to give or not.
#[async_trait]
pub trait HoldInvoice: Send + Sync {
    /// Makes an invoice for a hash of our own choice.
    ///
    /// # Errors
    /// [`NodeError`].
    async fn create_hold_invoice(
        &self,
        hash: PaymentHash,
        request: InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError>;

    /// Where the payment stands at this moment.
    ///
    /// # Errors
    /// [`NodeError`].
    async fn hold_state(&self, hash: PaymentHash) -> Result<HoldState, NodeError>;

    /// Returns when the payment is not [`HoldState::Open`] any more.
    ///
    /// # Errors
    /// [`NodeError`]; ask again later.
    async fn wait_while_open(&self, hash: PaymentHash) -> Result<HoldState, NodeError>;

    /// Takes the money by giving the preimage. Settling again what is settled succeeds.
    ///
    /// # Errors
    /// [`NodeError`]; ask [`hold_state`](Self::hold_state) what it is now.
    async fn settle_invoice(&self, preimage: Preimage) -> Result<(), NodeError>;

    /// Gives the money back, or refuses it in advance. Canceling again succeeds.
    ///
    /// # Errors
    /// [`NodeError`]; ask [`hold_state`](Self::hold_state) what it is now.
    async fn cancel_invoice(&self, hash: PaymentHash) -> Result<(), NodeError>;
}

/// Where a held payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// Not paid yet.
    Open,
    /// The money is here, and ours as soon as we give the preimage.
    Accepted {
        /// How much.
        received: Msat,
        /// Blocks until the payment falls back to the payer by itself.
        blocks_left: u32,
    },
    /// Taken.
    Settled {
        /// How much, where the backend says so.
        received: Option<Msat>,
    },
    /// Given back.
    Canceled,
    /// The backend does not know it.
    Unknown,
}

impl From<HoldState> for InvoiceState {
    fn from(state: HoldState) -> Self {
        match state {
            HoldState::Open => Self::Open,
            HoldState::Accepted { .. } => Self::Held,
            HoldState::Settled { received } => Self::Settled { received },
            HoldState::Canceled => Self::Canceled,
            HoldState::Unknown => Self::Unknown,
        }
    }
}

/// A backend that tells of settlements by itself.
#[async_trait]
pub trait WatchSettlements: Send + Sync {
    /// Hands every settlement after `after` to `sink`, or from now on where there is none, and
    /// returns when the connection ends. Whoever calls it calls it again, with the last cursor.
    /// [`WatchEvent::Listening`] comes once the backend listens.
    ///
    /// # Errors
    /// [`NodeError`]: why it ended.
    async fn watch(
        &self,
        after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError>;
}

/// A backend that calls us when a payment came in. What it says there only makes
/// [`WatchSettlements`] look at once.
pub trait HearWebhook: Send + Sync {
    /// Hears one call, which may be one that was heard before. Gives the hash of the payment it
    /// speaks of.
    ///
    /// # Errors
    /// [`WebhookError`]: it is not believed, or tells of something else.
    fn hear(&self, signature: &str, body: &[u8]) -> Result<PaymentHash, WebhookError>;

    /// The longest body it ever sends, in bytes.
    fn max_body(&self) -> usize;
}

/// What a watcher hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The backend listens from here on.
    Listening,
    /// An invoice was settled.
    Settled(Settlement),
}

/// One invoice that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which.
    pub payment_hash: PaymentHash,
    /// What it asked for, where the backend says so.
    pub asked: Option<Msat>,
    /// What was received, where the backend says so.
    pub received: Option<Msat>,
    /// Where to go on after it, where the backend counts.
    pub cursor: Option<SettlementCursor>,
}

/// A place in a backend's sequence of settlements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettlementCursor(pub u64);
