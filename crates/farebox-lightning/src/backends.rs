//! Several backends as one: an invoice comes from the first that is able to make it.
//!
//! Only invoices fail over, since one that nobody has seen costs nothing. A payment is never tried
//! on a second backend: the first may have made it. Whoever pays asks for [`Backends::payer`],
//! writes its name down, and asks [`Backends::named`] for that very backend ever after.

use std::sync::{Arc, Mutex, PoisonError};

use farebox_core::{Msat, PaymentHash};
use farebox_http::client::CallError;
use tokio::time::Instant;

use crate::remembered::Remembered;
use crate::{
    AmountLimits, Backend, CreateInvoice, HearWebhook, HoldInvoice, LookupInvoice, NodeError,
    PayInvoice, PaymentHashes,
};
use circuit::Circuit;

mod circuit;
mod finding;
mod making;

/// How many invoices it is remembered of who made them. All backends are asked about older ones.
const MADE_REMEMBERED: usize = 32_768;

/// A backend and what the operator calls it.
#[derive(Clone)]
pub struct NamedBackend {
    /// Unique among the backends; payouts are recorded with it.
    pub name: String,
    /// The backend.
    pub node: Arc<Backend>,
}

/// Why backends cannot stand together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendsError {
    /// Nobody could be paid.
    #[error("there is no Lightning backend that makes invoices")]
    NoInvoices,
    /// Payouts could not be told apart.
    #[error("two Lightning backends are called {0:?}")]
    SameName(String),
}

/// Backends in the order in which they are asked, at least one of which makes invoices.
///
/// Each may take other amounts. [`Backends::limits`] speaks of the one that would be asked next,
/// but that may change before it is asked: a backend that does not take an amount is then passed
/// over, and if none is left the error is the temporary one of the backend that failed, so that the
/// caller who asks again learns the limits of the one that took over.
pub struct Backends {
    all: Vec<NamedBackend>,
    makers: Vec<Maker>,
    /// Beyond the lock's few steps nothing happens while it is held.
    made_by: Mutex<Remembered<usize>>,
    started_at: Instant,
}

/// A backend that makes invoices.
struct Maker {
    name: String,
    invoices: Arc<dyn CreateInvoice>,
    lookup: Option<Arc<dyn LookupInvoice>>,
    circuit: Circuit,
}

impl Backends {
    /// The backends in the order in which they are asked for invoices.
    ///
    /// # Errors
    /// [`BackendsError`]: none that makes invoices, or two of the same name.
    pub fn new(backends: Vec<NamedBackend>) -> Result<Self, BackendsError> {
        for (index, backend) in backends.iter().enumerate() {
            if backends[..index].iter().any(|it| it.name == backend.name) {
                return Err(BackendsError::SameName(backend.name.clone()));
            }
        }
        let makers: Vec<_> = backends.iter().filter_map(Maker::of).collect();
        if makers.is_empty() {
            return Err(BackendsError::NoInvoices);
        }
        Ok(Self {
            all: backends,
            makers,
            made_by: Mutex::new(Remembered::new(MADE_REMEMBERED)),
            started_at: Instant::now(),
        })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &NamedBackend> {
        self.all.iter()
    }

    /// The backend of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Backend>> {
        self.iter()
            .find(|backend| backend.name == name)
            .map(|backend| &backend.node)
    }

    /// The first that can pay, whether it is well or not: payments never fail over.
    #[must_use]
    pub fn payer(&self) -> Option<(&str, &dyn PayInvoice)> {
        self.iter()
            .find_map(|backend| Some((backend.name.as_str(), backend.node.pay.as_deref()?)))
    }

    /// The first that can hold a payment, whether it is well or not.
    #[must_use]
    pub fn holder(&self) -> Option<(&str, &dyn HoldInvoice)> {
        self.iter()
            .find_map(|backend| Some((backend.name.as_str(), backend.node.hold.as_deref()?)))
    }

    /// All of them as one that tells what became of an invoice, where all that make invoices can:
    /// it may come from any of them.
    #[must_use]
    pub fn lookup(&self) -> Option<&dyn LookupInvoice> {
        let can = |maker: &Maker| maker.lookup.is_some();
        self.makers.iter().all(can).then_some(self)
    }

    /// Whether all tell of settlements by themselves. Each is followed for itself.
    #[must_use]
    pub fn all_watch(&self) -> bool {
        self.iter().all(|backend| backend.node.watch.is_some())
    }

    /// The backends that call us, in order. A call is of the one whose signature it bears.
    pub fn webhooks(&self) -> impl Iterator<Item = &dyn HearWebhook> {
        self.iter()
            .filter_map(|backend| backend.node.webhook.as_deref())
    }

    /// The kind of the only one, or `fail-over`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.all.as_slice() {
            [only] => only.node.kind,
            _ => "fail-over",
        }
    }

    /// Least amount and step of the backend that would be asked next for an invoice; the largest
    /// amount that any of them takes, since larger ones go to the one that takes them.
    #[must_use]
    pub fn limits(&self) -> AmountLimits {
        let next = self.next().invoices.limits();
        let most = self.makers.iter().map(|maker| maker.invoices.limits().max);
        AmountLimits {
            max: most.fold(next.max, Msat::max),
            ..next
        }
    }

    /// Foreign as soon as one is.
    #[must_use]
    pub fn payment_hashes(&self) -> PaymentHashes {
        let is_own = |maker: &Maker| maker.invoices.payment_hashes() == PaymentHashes::Own;
        if self.makers.iter().all(is_own) {
            PaymentHashes::Own
        } else {
            PaymentHashes::Foreign
        }
    }

    /// Those that failed when they were last asked for an invoice, and how.
    #[must_use]
    pub fn troubles(&self) -> Vec<(&str, NodeError)> {
        let trouble = |maker: &Maker| maker.circuit.trouble();
        self.makers
            .iter()
            .filter_map(|maker| Some((maker.name.as_str(), trouble(maker)?)))
            .collect()
    }

    /// Milliseconds since the start, on the clock that never goes back.
    fn now(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Leaving a backend alone helps only where there is another one.
    fn admits(&self, maker: &Maker) -> bool {
        self.makers.len() == 1 || maker.circuit.admit(self.now())
    }

    fn next(&self) -> &Maker {
        let now = self.now();
        let next = self
            .makers
            .iter()
            .find(|maker| maker.circuit.is_open_to_requests(now));
        next.unwrap_or(&self.makers[0])
    }

    fn remember(&self, hash: PaymentHash, index: usize) {
        if self.makers.len() == 1 {
            return;
        }
        let mut made_by = self.made_by.lock().unwrap_or_else(PoisonError::into_inner);
        made_by.put(hash, index);
    }

    fn find_maker(&self, hash: &PaymentHash) -> Option<&Maker> {
        if let [only] = self.makers.as_slice() {
            return Some(only);
        }
        let made_by = self.made_by.lock().unwrap_or_else(PoisonError::into_inner);
        self.makers.get(*made_by.find(hash)?)
    }
}

impl Maker {
    fn of(backend: &NamedBackend) -> Option<Self> {
        Some(Self {
            name: backend.name.clone(),
            invoices: backend.node.invoices.clone()?,
            lookup: backend.node.lookup.clone(),
            circuit: Circuit::default(),
        })
    }

    fn timed_out(&self, limit: std::time::Duration) -> NodeError {
        NodeError::Call(CallError::TimedOut {
            host: self.name.clone(),
            limit,
        })
    }
}
