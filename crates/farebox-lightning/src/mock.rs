//! A node that exists only in this process: it signs real BOLT 11 invoices and pays them to itself.
//!
//! For the demo and for tests; whoever can reach [`MockNode::pay`] pays nothing. It remembers
//! nothing about an invoice it made: the preimage is derived from the node's secret and an index
//! that travels in the invoice's payment secret, so memory stays flat however many stay unpaid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Clock, Msat, PaymentHash, Preimage, Secret};
use lru::LruCache;

use crate::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceRequest,
    InvoiceState, LookupInvoice, Network, NodeError, PaymentHashes, invoice,
};
use held::Held;
use keys::{Index, NodeKeys};
use outgoing::Outgoing;
pub use outgoing::PayFault;

mod held;
mod keys;
mod outgoing;
mod write;

/// How many settled payments [`LookupInvoice`] remembers.
const PAID_REMEMBERED: usize = 65_536;

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

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every call fails with [`NodeError::Down`].
    Down,
    /// Every invoice takes so long.
    Slow(Duration),
    /// Every invoice has the payment hash of the node's first one, as a dishonest provider's would.
    RepeatHash,
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
    /// Switched off.
    #[error("the mock node is switched off")]
    Down,
    /// The payment was held, and then given back.
    #[error("the payment was given back")]
    Canceled,
}

/// A Lightning node for the demo and for tests.
pub struct MockNode {
    keys: NodeKeys,
    clock: Arc<dyn Clock>,
    network: Network,
    limits: AmountLimits,
    made: AtomicU64,
    fault: Mutex<Fault>,
    paid: Mutex<LruCache<PaymentHash, Msat>>,
    outgoing: Outgoing,
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
            fault: Mutex::new(Fault::None),
            paid: Mutex::new(LruCache::unbounded()),
            outgoing: Outgoing::default(),
            held: Held::default(),
        })
    }

    /// Makes it fail in this way from now on, until set otherwise.
    pub fn set_fault(&self, fault: Fault) {
        *lock(&self.fault) = fault;
    }

    /// How many invoices it has made.
    #[must_use]
    pub fn invoices_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Pays an invoice that this node signed. Paying it again gives the same preimage.
    ///
    /// # Errors
    /// [`PayError`]: switched off, not an invoice, another node's, expired.
    pub fn pay(&self, bolt11: &str) -> Result<Preimage, PayError> {
        if self.fault() == Fault::Down {
            return Err(PayError::Down);
        }
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
        self.remember_paid(invoice.payment_hash, invoice.amount);
        Ok(preimage)
    }

    fn remember_paid(&self, hash: PaymentHash, amount: Msat) {
        let mut paid = lock(&self.paid);
        paid.put(hash, amount);
        if paid.len() > PAID_REMEMBERED {
            paid.pop_lru();
        }
    }

    fn fault(&self) -> Fault {
        *lock(&self.fault)
    }

    fn next_index(&self, fault: Fault) -> Index {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        self.keys
            .index(if fault == Fault::RepeatHash { 0 } else { made })
    }

    fn make(&self, request: &InvoiceRequest, fault: Fault) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let index = self.next_index(fault);
        let hash = self.keys.preimage(index).payment_hash();
        self.write((index, hash), request)
    }

    fn write(
        &self,
        named: (Index, PaymentHash),
        request: &InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError> {
        let now = self.clock.now();
        write::write(&self.keys, self.network, named, request, now)
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
        let fault = self.fault();
        match fault {
            Fault::Down => return Err(NodeError::Down),
            Fault::Slow(delay) => tokio::time::sleep(delay).await,
            Fault::None | Fault::RepeatHash => {}
        }
        self.make(&request, fault)
    }

    fn payment_hashes(&self) -> PaymentHashes {
        match self.fault() {
            Fault::RepeatHash => PaymentHashes::Foreign,
            Fault::None | Fault::Down | Fault::Slow(_) => PaymentHashes::Own,
        }
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }
}

#[async_trait]
impl LookupInvoice for MockNode {
    /// Remembers payments, not invoices: what was not paid here is [`InvoiceState::Open`].
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        if self.fault() == Fault::Down {
            return Err(NodeError::Down);
        }
        if let Some(state) = self.held.find(&hash) {
            return Ok(state.into());
        }
        let received = lock(&self.paid).peek(&hash).copied();
        Ok(
            received.map_or(InvoiceState::Open, |received| InvoiceState::Settled {
                received: Some(received),
            }),
        )
    }
}

/// A panic elsewhere leaves these values whole: each is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
