//! A node that exists only in this process: it signs real BOLT 11 invoices and pays them to itself.
//!
//! For the demo and for tests; whoever can reach [`MockNode::pay`] pays nothing. It remembers
//! nothing about an invoice it made: the preimage is derived from the node's secret and an index
//! that travels in the invoice's payment secret, so memory stays flat however many stay unpaid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use farebox_core::{Clock, Msat, PaymentHash, Preimage, Secret};

use crate::remembered::Remembered;
use crate::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceRequest,
    InvoiceState, LookupInvoice, Network, NodeError, PayInvoice, PaymentFailure, PaymentHashes,
    PaymentRequest, PaymentState, invoice,
};
use held::Held;
use keys::{Index, NodeKeys};

mod held;
mod keys;
mod write;

/// How many payments, in and out, it remembers.
const PAYMENTS_REMEMBERED: usize = 65_536;

/// How a [`MockNode`] is set up.
pub struct MockOptions {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The network in the invoices' prefix. Mainnet by default, because many clients read amounts
    /// in no other; the invoices cannot be paid there, since no node has this key.
    pub network: Network,
    /// The amounts it takes.
    pub limits: AmountLimits,
    /// The secret behind key and preimages; a new node with the same one pays the invoices of the
    /// old one. Random when absent.
    pub secret: Option<Secret<[u8; 32]>>,
}

/// Why the mock node did not pay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// The text is no invoice.
    #[error("the invoice cannot be paid")]
    Invoice(#[from] InvoiceFault),
    /// Another node's invoice.
    #[error("the mock node pays only invoices that it made itself")]
    Foreign,
    /// Too late.
    #[error("the invoice has expired")]
    Expired,
    /// The payment was held, and then given back.
    #[error("the payment was given back")]
    Canceled,
}

impl From<PayError> for PaymentFailure {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Foreign => Self::NoRoute,
            PayError::Expired => Self::RefusedByPayee,
            PayError::Invoice(_) | PayError::Canceled => Self::Other,
        }
    }
}

/// A Lightning node for the demo and for tests.
pub struct MockNode {
    keys: NodeKeys,
    clock: Arc<dyn Clock>,
    network: Network,
    limits: AmountLimits,
    made: AtomicU64,
    paid: Mutex<Remembered<Msat>>,
    payments: Mutex<Remembered<PaymentState>>,
    held: Held,
}

impl MockOptions {
    /// Mainnet prefix, every amount, a random secret.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            network: Network::Mainnet,
            limits: AmountLimits::ANY,
            secret: None,
        }
    }
}

impl MockNode {
    /// A node with the default options.
    ///
    /// # Errors
    /// The operating system's, when it has no random bytes.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, getrandom::Error> {
        Self::with_options(MockOptions::new(clock))
    }

    /// A node as `options` say.
    ///
    /// # Errors
    /// The operating system's, when it has no random bytes.
    pub fn with_options(options: MockOptions) -> Result<Self, getrandom::Error> {
        Ok(Self {
            keys: NodeKeys::new(options.secret)?,
            clock: options.clock,
            network: options.network,
            limits: options.limits,
            made: AtomicU64::new(0),
            paid: Mutex::new(Remembered::new(PAYMENTS_REMEMBERED)),
            payments: Mutex::new(Remembered::new(PAYMENTS_REMEMBERED)),
            held: Held::default(),
        })
    }

    /// Pays an invoice that this node signed. Paying it again gives the same preimage.
    ///
    /// # Errors
    /// [`PayError`]: not an invoice, another node's, expired.
    pub fn pay(&self, bolt11: &str) -> Result<Preimage, PayError> {
        let signed = invoice::decode(bolt11)?;
        let invoice = invoice::read(&signed)?;
        let preimage = self
            .keys
            .preimage(Index::of_payment_secret(&signed.payment_secret().0));
        if !preimage.opens(&invoice.payment_hash) || !self.keys.signed(&signed) {
            return Err(PayError::Foreign);
        }
        if self.clock.now() >= invoice.expires_at {
            return Err(PayError::Expired);
        }
        lock(&self.paid).put(invoice.payment_hash, invoice.amount);
        Ok(preimage)
    }

    fn next_index(&self) -> Index {
        self.keys.index(self.made.fetch_add(1, Ordering::Relaxed))
    }
}

impl From<Arc<MockNode>> for Backend {
    fn from(node: Arc<MockNode>) -> Self {
        Self {
            invoices: Some(node.clone()),
            lookup: Some(node.clone()),
            pay: Some(node.clone()),
            hold: Some(node),
            ..Self::new("mock")
        }
    }
}

#[async_trait]
impl CreateInvoice for MockNode {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let index = self.next_index();
        let hash = self.keys.preimage(index).payment_hash();
        Ok(self.write((index, hash), &request)?)
    }

    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Own
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }
}

#[async_trait]
impl LookupInvoice for MockNode {
    /// Remembers payments, not invoices: what was not paid here is [`InvoiceState::Open`].
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        if let Some(state) = self.held.find(&hash) {
            return Ok(state.into());
        }
        let received = lock(&self.paid).find(&hash).copied();
        Ok(
            received.map_or(InvoiceState::Open, |received| InvoiceState::Settled {
                received: Some(received),
            }),
        )
    }
}

/// It has no channels: what it pays are its own invoices.
#[async_trait]
impl PayInvoice for MockNode {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        let mut payments = lock(&self.payments);
        let known = payments.find(&request.payment_hash);
        if let Some(paid @ PaymentState::Succeeded { .. }) = known {
            return Ok(paid.clone());
        }
        let state = match self.pay(&request.bolt11) {
            Ok(preimage) => PaymentState::Succeeded {
                fee: Msat::ZERO,
                preimage: Some(preimage),
            },
            Err(error) => PaymentState::Failed(error.into()),
        };
        payments.put(request.payment_hash, state.clone());
        Ok(state)
    }

    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        let known = lock(&self.payments).find(&hash).cloned();
        Ok(known.unwrap_or(PaymentState::Unheard))
    }
}

/// A panic elsewhere leaves these values whole: each is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
