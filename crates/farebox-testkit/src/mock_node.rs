//! A mock node that fails as a test says, pays the invoices of others that it is connected to, and
//! asks a fee for it.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use farebox_core::{Clock, Msat, PaymentHash, Preimage};
use farebox_lightning::mock::{MockNode, MockOptions, PayError};
use farebox_lightning::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, HoldInvoice, InvoiceFault,
    InvoiceRequest, InvoiceState, LookupInvoice, NodeError, PayInvoice, PaymentFailure,
    PaymentHashes, PaymentRequest, PaymentState, async_trait, parse_invoice,
};
use tokio::time::Instant;

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

/// What goes wrong with payments on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayFault {
    /// Nothing.
    #[default]
    None,
    /// Each payment takes so long.
    Slow(Duration),
    /// Each payment is made, and its answer is lost.
    LoseAnswer,
    /// The request is lost on its way, and nobody can tell.
    LoseRequest,
    /// It is certain that no payment is begun.
    Refuse,
    /// Each payment fails for good.
    Fail(PaymentFailure),
}

/// A [`MockNode`] that does as it is told.
pub struct TestNode {
    node: Arc<MockNode>,
    fault: Mutex<Fault>,
    /// The hash of the first invoice.
    first: OnceLock<PaymentHash>,
    invoices: AtomicU64,
    script: Mutex<Script>,
    peers: Mutex<Vec<Weak<Self>>>,
    made: Mutex<HashMap<PaymentHash, Made>>,
}

#[derive(Clone, Copy, Default)]
struct Script {
    fault: PayFault,
    fee: Msat,
}

/// A payment whose outcome shows at an instant.
#[derive(Clone)]
struct Made {
    amount: Msat,
    outcome: PaymentState,
    known_at: Instant,
}

impl Made {
    fn state(&self, now: Instant) -> PaymentState {
        if now < self.known_at {
            PaymentState::Pending
        } else {
            self.outcome.clone()
        }
    }
}

impl Deref for TestNode {
    type Target = MockNode;

    fn deref(&self) -> &MockNode {
        &self.node
    }
}

impl TestNode {
    /// A node with the mock node's default options.
    ///
    /// # Panics
    /// Where the operating system has no random bytes.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_options(MockOptions::new(clock))
    }

    /// A node as `options` say.
    ///
    /// # Panics
    /// Where the operating system has no random bytes.
    #[must_use]
    pub fn with_options(options: MockOptions) -> Self {
        Self {
            node: Arc::new(MockNode::with_options(options).expect("random bytes")),
            fault: Mutex::default(),
            first: OnceLock::new(),
            invoices: AtomicU64::new(0),
            script: Mutex::default(),
            peers: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// It as a backend. What holds payments does so without any fault.
    #[must_use]
    pub fn backend(self: &Arc<Self>) -> Backend {
        Backend {
            invoices: Some(self.clone()),
            lookup: Some(self.clone()),
            pay: Some(self.clone()),
            hold: Some(self.node.clone()),
            ..Backend::new("mock")
        }
    }

    /// Makes it fail in this way from now on, until set otherwise.
    pub fn set_fault(&self, fault: Fault) {
        *lock(&self.fault) = fault;
    }

    /// Makes payments fail in this way from now on, until set otherwise.
    pub fn set_pay_fault(&self, fault: PayFault) {
        lock(&self.script).fault = fault;
    }

    /// What each payment costs on top of its amount from now on.
    pub fn set_fee(&self, fee: Msat) {
        lock(&self.script).fee = fee;
    }

    /// Opens a way to another node, whose invoices this one pays from now on as long as it lives.
    pub fn connect(&self, peer: &Arc<Self>) {
        lock(&self.peers).push(Arc::downgrade(peer));
    }

    /// How many invoices it has made.
    #[must_use]
    pub fn invoices_made(&self) -> u64 {
        self.invoices.load(Ordering::Relaxed)
    }

    /// How many payments have arrived, and what left with them, fees included.
    #[must_use]
    pub fn paid_out(&self) -> (usize, Msat) {
        let made = lock(&self.made);
        let arrived = made.values().filter_map(|made| match made.outcome {
            PaymentState::Succeeded { fee, .. } => Some(made.amount.get() + fee.get()),
            _ => None,
        });
        let (count, total) = arrived.fold((0, 0), |(count, total), left| (count + 1, total + left));
        (count, Msat::new(total).unwrap_or(Msat::MAX))
    }

    fn check_up(&self) -> Result<(), NodeError> {
        if *lock(&self.fault) == Fault::Down {
            return Err(NodeError::Down);
        }
        Ok(())
    }

    fn begin_payment(&self, request: &PaymentRequest) -> Result<Made, NodeError> {
        self.check_up()?;
        let script = *lock(&self.script);
        match script.fault {
            PayFault::Refuse => return Err(NodeError::Down),
            PayFault::LoseRequest => return Err(lost()),
            _ => {}
        }
        let made = self.pay_once(request, script)?;
        if script.fault == PayFault::LoseAnswer {
            return Err(lost());
        }
        Ok(made)
    }

    /// A payment hash is paid once; only what failed may be tried again.
    fn pay_once(&self, request: &PaymentRequest, script: Script) -> Result<Made, NodeError> {
        check(request)?;
        let mut made = lock(&self.made);
        let known = made.get(&request.payment_hash).cloned();
        if let Some(known) = known.filter(|it| !matches!(it.outcome, PaymentState::Failed(_))) {
            return Ok(known);
        }
        let delay = match script.fault {
            PayFault::Slow(delay) => delay,
            _ => Duration::ZERO,
        };
        let payment = Made {
            amount: request.amount,
            outcome: self.outcome(request, script),
            known_at: Instant::now() + delay,
        };
        made.insert(request.payment_hash, payment.clone());
        Ok(payment)
    }

    fn outcome(&self, request: &PaymentRequest, script: Script) -> PaymentState {
        if let PayFault::Fail(reason) = script.fault {
            return PaymentState::Failed(reason);
        }
        if script.fee > request.max_fee {
            return PaymentState::Failed(PaymentFailure::NoRoute);
        }
        match self.deliver(&request.bolt11) {
            Ok(preimage) => PaymentState::Succeeded {
                fee: script.fee,
                preimage: Some(preimage),
            },
            Err(error) => PaymentState::Failed(error.into()),
        }
    }

    fn deliver(&self, bolt11: &str) -> Result<Preimage, PayError> {
        let peers = lock(&self.peers);
        let peers = peers.iter().filter_map(Weak::upgrade);
        peers.fold(self.node.pay(bolt11), |delivered, peer| match delivered {
            Err(PayError::Foreign) => peer.node.pay(bolt11),
            known => known,
        })
    }
}

fn check(request: &PaymentRequest) -> Result<(), NodeError> {
    let invoice = parse_invoice(&request.bolt11)?;
    if invoice.amount != request.amount || invoice.payment_hash != request.payment_hash {
        return Err(NodeError::BadInvoice(InvoiceFault::Amount {
            asked: request.amount,
            found: invoice.amount,
        }));
    }
    Ok(())
}

fn lost() -> NodeError {
    NodeError::Unavailable {
        host: "mock".to_owned(),
        status: 504,
    }
}

#[async_trait]
impl CreateInvoice for TestNode {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.check_up()?;
        let fault = *lock(&self.fault);
        if let Fault::Slow(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        let made = match self.first.get() {
            Some(first) if fault == Fault::RepeatHash => {
                self.node.create_hold_invoice(*first, request).await?
            }
            _ => self.node.create_invoice(request).await?,
        };
        self.first.get_or_init(|| made.payment_hash);
        self.invoices.fetch_add(1, Ordering::Relaxed);
        Ok(made)
    }

    fn payment_hashes(&self) -> PaymentHashes {
        match *lock(&self.fault) {
            Fault::RepeatHash => PaymentHashes::Foreign,
            Fault::None | Fault::Down | Fault::Slow(_) => self.node.payment_hashes(),
        }
    }

    fn limits(&self) -> AmountLimits {
        self.node.limits()
    }
}

#[async_trait]
impl LookupInvoice for TestNode {
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        self.check_up()?;
        self.node.lookup_invoice(hash).await
    }
}

#[async_trait]
impl PayInvoice for TestNode {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        let made = self.begin_payment(&request)?;
        let patience_ends = Instant::now() + request.patience;
        tokio::time::sleep_until(made.known_at.min(patience_ends)).await;
        Ok(made.state(Instant::now()))
    }

    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        self.check_up()?;
        let made = lock(&self.made);
        let known = made.get(&hash).map(|made| made.state(Instant::now()));
        Ok(known.unwrap_or(PaymentState::Unheard))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
