//! Several backends as one: an invoice comes from the first that is able to make it.
//!
//! Only invoices fail over, since one that nobody has seen costs nothing. A payment is never tried
//! on a second backend: the first may have made it. Whoever pays asks for [`Backends::payer`],
//! writes its name down, and asks [`Backends::named`] for that very backend ever after.

use std::sync::{Arc, Mutex, PoisonError};

use farebox_core::{Msat, PaymentHash};
use lru::LruCache;
use tokio::time::Instant;

use crate::{
    Abilities, AmountLimits, BoxFuture, CreateInvoice, CreatedInvoice, HearWebhook, HoldInvoice,
    InvoiceRequest, InvoiceState, LookupInvoice, NodeError, PayInvoice, PaymentHashes,
};
use circuit::Circuit;

mod circuit;
mod finding;
mod making;

/// How many invoices it is remembered of who made them. All backends are asked about older ones.
const MAKERS_REMEMBERED: usize = 32_768;

/// A backend and what the operator calls it.
#[derive(Clone)]
pub struct NamedBackend {
    /// Unique among the backends; payouts are recorded with it.
    pub name: String,
    /// The backend.
    pub node: Arc<dyn CreateInvoice>,
}

/// Why backends cannot stand together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendsError {
    /// There is none.
    #[error("there is no Lightning backend")]
    None,
    /// Payouts could not be told apart.
    #[error("two Lightning backends are called {0:?}")]
    SameName(String),
}

/// Backends in the order in which they are asked.
///
/// Each may take other amounts. [`CreateInvoice::limits`] speaks of the one that would be asked
/// next, but that may change before it is asked: a backend that does not take an amount is then
/// passed over, and if none is left the error is the temporary one of the backend that failed, so
/// that the caller who asks again learns the limits of the one that took over.
pub struct Backends {
    members: Vec<Member>,
    /// Beyond the lock's few steps nothing happens while it is held.
    makers: Mutex<LruCache<PaymentHash, usize>>,
    started_at: Instant,
}

struct Member {
    backend: NamedBackend,
    circuit: Circuit,
}

impl Backends {
    /// The backends in the order in which they are asked for invoices.
    ///
    /// # Errors
    /// [`BackendsError`]: none, or two of the same name.
    pub fn new(backends: Vec<NamedBackend>) -> Result<Self, BackendsError> {
        if backends.is_empty() {
            return Err(BackendsError::None);
        }
        for (index, backend) in backends.iter().enumerate() {
            if backends[..index].iter().any(|it| it.name == backend.name) {
                return Err(BackendsError::SameName(backend.name.clone()));
            }
        }
        let member = |backend| Member {
            backend,
            circuit: Circuit::default(),
        };
        Ok(Self {
            members: backends.into_iter().map(member).collect(),
            makers: Mutex::new(LruCache::unbounded()),
            started_at: Instant::now(),
        })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &NamedBackend> {
        self.members.iter().map(|member| &member.backend)
    }

    /// The backend of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<dyn CreateInvoice>> {
        self.iter()
            .find(|backend| backend.name == name)
            .map(|backend| &backend.node)
    }

    /// The first that can pay, whether it is well or not: payments never fail over.
    #[must_use]
    pub fn payer(&self) -> Option<(&str, &dyn PayInvoice)> {
        self.iter()
            .find_map(|backend| Some((backend.name.as_str(), backend.node.pay()?)))
    }

    /// The first that can hold a payment, whether it is well or not.
    #[must_use]
    pub fn holder(&self) -> Option<(&str, &dyn HoldInvoice)> {
        self.iter()
            .find_map(|backend| Some((backend.name.as_str(), backend.node.hold()?)))
    }

    /// The backends that call us, in order. A call is of the one whose signature it bears.
    pub fn webhooks(&self) -> impl Iterator<Item = &dyn HearWebhook> {
        self.iter().filter_map(|backend| backend.node.webhook())
    }

    /// Those that failed when they were last asked for an invoice, and how.
    #[must_use]
    pub fn troubles(&self) -> Vec<(&str, NodeError)> {
        let trouble = |member: &Member| member.circuit.trouble();
        self.members
            .iter()
            .filter_map(|member| Some((member.backend.name.as_str(), trouble(member)?)))
            .collect()
    }

    /// Milliseconds since the start, on the clock that never goes back.
    fn now(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Leaving a backend alone helps only where there is another one.
    fn admits(&self, member: &Member) -> bool {
        self.members.len() == 1 || member.circuit.admit(self.now())
    }

    fn next(&self) -> &Member {
        let now = self.now();
        let next = self
            .members
            .iter()
            .find(|member| member.circuit.is_open_to_requests(now));
        next.unwrap_or(&self.members[0])
    }

    fn remember(&self, hash: PaymentHash, index: usize) {
        if self.members.len() == 1 {
            return;
        }
        let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        makers.put(hash, index);
        if makers.len() > MAKERS_REMEMBERED {
            makers.pop_lru();
        }
    }

    fn find_maker(&self, hash: &PaymentHash) -> Option<&Member> {
        if let [only] = self.members.as_slice() {
            return Some(only);
        }
        let makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        self.members.get(*makers.peek(hash)?)
    }
}

fn timed_out(member: &Member, limit: std::time::Duration) -> NodeError {
    NodeError::TimedOut {
        host: member.backend.name.clone(),
        limit,
    }
}

impl CreateInvoice for Backends {
    fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> BoxFuture<'_, Result<CreatedInvoice, NodeError>> {
        Box::pin(making::create(self, request))
    }

    /// Least amount and step of the backend that would be asked next; the largest amount that any
    /// of them takes, since larger ones go to the one that takes them.
    fn limits(&self) -> AmountLimits {
        let next = self.next().backend.node.limits();
        let most = self.iter().map(|backend| backend.node.limits().max);
        AmountLimits {
            max: most.fold(next.max, Msat::max),
            ..next
        }
    }

    /// The kind of the only one, or `fail-over`.
    fn describe(&self) -> &'static str {
        match self.members.as_slice() {
            [only] => only.backend.node.describe(),
            _ => "fail-over",
        }
    }

    /// Foreign as soon as one is.
    fn payment_hashes(&self) -> PaymentHashes {
        let is_own = |backend: &NamedBackend| backend.node.payment_hashes() == PaymentHashes::Own;
        if self.iter().all(is_own) {
            PaymentHashes::Own
        } else {
            PaymentHashes::Foreign
        }
    }

    /// Only where all can: an invoice may come from any of them.
    fn lookup(&self) -> Option<&dyn LookupInvoice> {
        let can = |backend: &NamedBackend| backend.node.lookup().is_some();
        self.iter().all(can).then_some(self)
    }

    /// That of [`Backends::payer`].
    fn pay(&self) -> Option<&dyn PayInvoice> {
        self.payer().map(|(_, payer)| payer)
    }

    /// That of [`Backends::holder`].
    fn hold(&self) -> Option<&dyn HoldInvoice> {
        self.holder().map(|(_, holder)| holder)
    }

    /// `watch` where all can. [`CreateInvoice::settlements`] and [`CreateInvoice::access`] of the
    /// whole are none all the same: each backend counts for itself, and is followed and asked by
    /// its name.
    fn abilities(&self) -> Abilities {
        Abilities {
            look_up: self.lookup().is_some(),
            pay: self.payer().is_some(),
            hold: self.holder().is_some(),
            watch: self.iter().all(|backend| backend.node.abilities().watch),
        }
    }
}

impl LookupInvoice for Backends {
    /// Asks the backend that made the invoice; where that is not remembered, all of them in order.
    /// Whoever has the money is believed; [`InvoiceState::Unknown`] is said only if all say so.
    ///
    /// # Errors
    /// [`NodeError`]: no backend has the money, and one that could have it did not answer.
    fn lookup_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>> {
        Box::pin(finding::find(self, hash))
    }
}
