//! Invoices, made by the node within limits.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Msat, PaymentHash};
use farebox_http::body_budget::Holder;
use farebox_http::client::CallError;
use farebox_http::limits::{NoPlace, Place, Places};
use farebox_ledger::{KeyView, Ledger, Noted, PendingDeposit, TopUpBy};
use farebox_lightning::{AmountLimits, CreatedInvoice, InvoiceRequest, NodeError, PaymentHashes};

use super::Amount;
use crate::ask::{Ask, PaymentRules};
use crate::error::{Error, PaymentError};
use crate::keys::Pending;
use crate::metrics::PaymentCounters;

/// How long the node may take to make an invoice.
const INVOICE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many requests may wait for an invoice at the same time: what strangers may have of them leaves
/// the node room for other questions.
const MAX_WAITING: u64 = 128;

/// Has the node make invoices.
pub struct Invoices {
    ledger: Ledger,
    counters: PaymentCounters,
    /// The requests that wait for one.
    waiting: Arc<Places>,
    /// Whose invoices for keys wait to be paid.
    pending: Arc<Pending>,
}

impl Invoices {
    pub(crate) fn new(ledger: Ledger, counters: PaymentCounters, pending: Arc<Pending>) -> Self {
        Self {
            ledger,
            counters,
            waiting: Arc::default(),
            pending,
        }
    }

    /// How many the node is asked for at the moment.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.waiting.in_use()
    }

    fn wait(&self, holder: Holder) -> Result<Place, PaymentError> {
        let place = self.waiting.take(MAX_WAITING, holder, 1);
        place.map_err(|NoPlace| PaymentError::QueueFull)
    }

    /// An invoice for what the offer asks, or for a bundle where the node cannot take that.
    pub(super) async fn invoice_for(
        &self,
        price: Msat,
        ask: &Ask<'_>,
    ) -> Result<(Amount, CreatedInvoice), Error> {
        let amount = |limits| Amount::of(&ask.sale.offer, price, limits);
        let _waiting = self.wait(ask.holder)?;
        self.create_invoice(ask.rules, &ask.sale.description, amount)
            .await
    }

    /// An invoice that belongs to no challenge, for an amount that the node can take and that is
    /// not below `amount`.
    async fn plain_invoice(
        &self,
        rules: &PaymentRules,
        amount: Msat,
        memo: &str,
    ) -> Result<CreatedInvoice, Error> {
        let amount = |limits| Amount::covering(amount, limits);
        let (_, invoice) = self.create_invoice(rules, memo, amount).await?;
        Ok(invoice)
    }

    /// Makes an invoice for a key, of the share of whoever asks, and writes down for which key it is.
    /// Only with [`Noted::Noted`] may anybody see it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn for_key(
        &self,
        rules: &PaymentRules,
        key: &KeyView,
        by: TopUpBy,
        holder: Holder,
        amount: Msat,
    ) -> Result<(CreatedInvoice, Noted), Error> {
        let memo = format!("prepaid key {}", key.public_id);
        let _waiting = self.wait(holder)?;
        let place = self.pending.take(holder);
        let place = place.map_err(|NoPlace| PaymentError::QueueFull)?;
        let invoice = self.plain_invoice(rules, amount, &memo).await?;
        let pending = PendingDeposit {
            payment_hash: invoice.payment_hash,
            key: key.key,
            amount: invoice.amount,
            expires_at: invoice.expires_at,
        };
        match self.ledger.pending_deposit(pending, by).await? {
            Noted::Taken => Err(self.hash_was_used(invoice.payment_hash)),
            Noted::Noted => {
                self.pending.keep(invoice.payment_hash, place);
                Ok((invoice, Noted::Noted))
            }
            noted => Ok((invoice, noted)),
        }
    }

    /// A node that learned what it takes only when it was asked is asked once more.
    async fn create_invoice(
        &self,
        rules: &PaymentRules,
        memo: &str,
        amount: impl Fn(AmountLimits) -> Result<Amount, PaymentError>,
    ) -> Result<(Amount, CreatedInvoice), Error> {
        let node = rules.node.as_deref().ok_or(PaymentError::NoNode)?;
        let request = |amount: Amount| InvoiceRequest {
            amount: amount.msat,
            memo: memo.to_owned(),
            expiry: rules.invoice_expiry,
        };
        let known = node.limits();
        let mut asked = amount(known)?;
        let mut made = in_time(node.create_invoice(request(asked)), node.kind()).await;
        let has_refused = made.as_ref().is_err_and(|error| !error.is_temporary());
        if has_refused && node.limits() != known {
            asked = amount(node.limits())?;
            made = in_time(node.create_invoice(request(asked)), node.kind()).await;
        }
        let invoice = made.map_err(|error| self.node_failed(error))?;
        if node.payment_hashes() == PaymentHashes::Foreign {
            self.refuse_used_hash(&invoice).await?;
        }
        Ok((asked, invoice))
    }

    /// Makes the invoice whose payment will be held.
    pub(super) async fn held_for(
        &self,
        price: Msat,
        hash: PaymentHash,
        ask: &Ask<'_>,
    ) -> Result<(Amount, CreatedInvoice), Error> {
        let node = ask.rules.node.as_deref().ok_or(PaymentError::NoNode)?;
        let amount = Amount::of(&ask.sale.offer, price, node.limits())?;
        let (kind, holder) = node
            .holder()
            .filter(|_| amount.is_exact())
            .ok_or(PaymentError::AmountNotTaken)?;
        let request = InvoiceRequest {
            amount: amount.msat,
            memo: ask.sale.description.clone(),
            expiry: ask.rules.invoice_expiry,
        };
        let _waiting = self.wait(ask.holder)?;
        let made = in_time(holder.create_hold_invoice(hash, request), kind).await;
        let invoice = made.map_err(|error| self.node_failed(error))?;
        if invoice.payment_hash != hash {
            return Err(PaymentError::OtherInvoice.into());
        }
        Ok((amount, invoice))
    }

    fn node_failed(&self, error: NodeError) -> Error {
        self.counters.node_failed();
        if matches!(error, NodeError::RepeatedPaymentHash { .. }) {
            self.counters.payment_hash_repeated();
        }
        PaymentError::from(error).into()
    }

    /// An invoice with a payment hash that somebody has paid before, or may pay.
    fn hash_was_used(&self, payment_hash: PaymentHash) -> Error {
        self.node_failed(NodeError::RepeatedPaymentHash { payment_hash })
    }

    /// An invoice whose payment hash was claimed before would sell its payer nothing.
    async fn refuse_used_hash(&self, invoice: &CreatedInvoice) -> Result<(), Error> {
        let account = invoice.payment_hash.account();
        match self.ledger.account(account).await? {
            Some(_) => Err(self.hash_was_used(invoice.payment_hash)),
            None => Ok(()),
        }
    }
}

async fn in_time(
    made: impl Future<Output = Result<CreatedInvoice, NodeError>>,
    node: &str,
) -> Result<CreatedInvoice, NodeError> {
    let made = tokio::time::timeout(INVOICE_TIMEOUT, made).await;
    made.unwrap_or_else(|_| {
        Err(NodeError::Call(CallError::TimedOut {
            host: node.to_owned(),
            limit: INVOICE_TIMEOUT,
        }))
    })
}
