//! What the wallet does for its requests, and remembers: its invoices and its payments.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farebox_core::{Msat, PaymentHash};
use farebox_lightning::{
    Backend, InvoiceRequest, InvoiceState, PaymentRequest, PaymentState, parse_invoice,
};
use nostr::nips::nip47::{LookupInvoiceRequest, MakeInvoiceRequest, RequestParams};
use serde_json::{Value, json};

use super::WalletOptions;

/// NIP-47's default is the wallet's to choose.
const EXPIRY: u64 = 3600;

/// What this wallet lets routing cost at most: NIP-47 lets nobody say.
const MAX_FEE: Msat = match Msat::new(100_000) {
    Ok(fee) => fee,
    Err(_) => Msat::MAX,
};

/// How long the wallet waits for a payment.
const PATIENCE: Duration = Duration::from_secs(60);

/// An error code of NIP-47, and words.
type Refusal = (&'static str, &'static str);

pub(super) struct Book {
    node: Backend,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    invoices: HashMap<PaymentHash, Invoice>,
    payments: HashMap<PaymentHash, (Msat, PaymentState)>,
}

#[derive(Clone)]
struct Invoice {
    bolt11: String,
    amount: Msat,
    told: bool,
}

impl Book {
    pub(super) fn new(node: Backend) -> Self {
        Self {
            node,
            pages: Mutex::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn answer(
        &self,
        asked: RequestParams,
        options: &WalletOptions,
    ) -> Result<Value, Refusal> {
        match asked {
            RequestParams::MakeInvoice(asked) => self.make(asked).await,
            RequestParams::LookupInvoice(asked) => self.look_up(asked).await,
            RequestParams::PayInvoice(asked) => self.pay(asked.invoice).await,
            RequestParams::GetBalance => Ok(json!({ "balance": 0 })),
            RequestParams::GetInfo => Ok(json!({
                "alias": "wallet of a test",
                "network": "regtest",
                "methods": options.methods.split(' ').collect::<Vec<_>>(),
                "notifications": options.notifications.split(' ').collect::<Vec<_>>(),
            })),
            _ => Err(("NOT_IMPLEMENTED", "this wallet does not know it")),
        }
    }

    async fn make(&self, asked: MakeInvoiceRequest) -> Result<Value, Refusal> {
        let amount = Msat::new(asked.amount).map_err(|_| ("OTHER", "no such amount"))?;
        let request = InvoiceRequest {
            amount,
            memo: asked.description.unwrap_or_default(),
            expiry: Duration::from_secs(asked.expiry.unwrap_or(EXPIRY)),
        };
        let maker = self.node.invoices.as_ref();
        let maker = maker.ok_or(("RESTRICTED", "it makes no invoices"))?;
        let made = maker.create_invoice(request).await;
        let made = made.map_err(|_| ("INTERNAL", "the node made no invoice"))?;
        let invoice = Invoice {
            bolt11: made.bolt11,
            amount,
            told: false,
        };
        let shown = incoming(&made.payment_hash, &invoice, "pending");
        self.pages().invoices.insert(made.payment_hash, invoice);
        Ok(shown)
    }

    async fn look_up(&self, asked: LookupInvoiceRequest) -> Result<Value, Refusal> {
        let hash = asked.payment_hash.unwrap_or_default();
        let hash = PaymentHash::from_hex(&hash).map_err(|_| ("OTHER", "no payment hash"))?;
        let payment = self.pages().payments.get(&hash).cloned();
        if let Some((amount, known)) = payment {
            let state = self.ask_again(hash, known).await;
            return Ok(outgoing(&hash, amount, &state));
        }
        let invoice = self.pages().invoices.get(&hash).cloned();
        let invoice = invoice.ok_or(("NOT_FOUND", "no such invoice"))?;
        Ok(incoming(&hash, &invoice, self.state(hash).await?))
    }

    async fn state(&self, hash: PaymentHash) -> Result<&'static str, Refusal> {
        let lookup = self
            .node
            .lookup
            .as_ref()
            .ok_or(("INTERNAL", "no look-up"))?;
        match lookup.lookup_invoice(hash).await {
            Ok(InvoiceState::Settled { .. }) => Ok("settled"),
            Ok(InvoiceState::Held) => Ok("accepted"),
            Ok(InvoiceState::Canceled) => Ok("expired"),
            Ok(InvoiceState::Open | InvoiceState::Unknown) => Ok("pending"),
            Err(_) => Err(("INTERNAL", "the node does not say")),
        }
    }

    async fn pay(&self, bolt11: String) -> Result<Value, Refusal> {
        let invoice = parse_invoice(&bolt11).map_err(|_| ("OTHER", "no invoice"))?;
        let (hash, amount) = (invoice.payment_hash, invoice.amount);
        let payer = self.node.pay.as_ref();
        let payer = payer.ok_or(("RESTRICTED", "it cannot pay"))?;
        let pending = (amount, PaymentState::Pending);
        if self.pages().payments.insert(hash, pending).is_some() {
            return Err(("OTHER", "this payment was asked for before"));
        }
        let request = PaymentRequest {
            bolt11,
            payment_hash: hash,
            amount,
            max_fee: MAX_FEE,
            patience: PATIENCE,
        };
        let state = payer.pay_invoice(request).await;
        let state = state.unwrap_or(PaymentState::Pending);
        self.pages().payments.insert(hash, (amount, state.clone()));
        match state {
            PaymentState::Succeeded { fee, preimage } => Ok(json!({
                "preimage": preimage.map(|preimage| hex::encode(preimage.reveal())),
                "fees_paid": fee.get(),
            })),
            PaymentState::Failed(_) => Err(("PAYMENT_FAILED", "no way to the payee")),
            PaymentState::Pending | PaymentState::Unheard => {
                Err(("PAYMENT_FAILED", "it took too long"))
            }
        }
    }

    /// What a payment has become that was under way.
    async fn ask_again(&self, hash: PaymentHash, known: PaymentState) -> PaymentState {
        match &self.node.pay {
            Some(payer) if known == PaymentState::Pending => {
                payer.payment_state(hash).await.unwrap_or(known)
            }
            _ => known,
        }
    }

    /// The invoices paid since it was last asked.
    pub(super) async fn newly_paid(&self) -> Vec<Value> {
        let open: Vec<_> = self
            .pages()
            .invoices
            .iter()
            .filter(|(_, invoice)| !invoice.told)
            .map(|(hash, invoice)| (*hash, invoice.clone()))
            .collect();
        let mut paid = Vec::new();
        for (hash, invoice) in open {
            if self.state(hash).await == Ok("settled") {
                paid.push(incoming(&hash, &invoice, "settled"));
                if let Some(invoice) = self.pages().invoices.get_mut(&hash) {
                    invoice.told = true;
                }
            }
        }
        paid
    }
}

fn incoming(hash: &PaymentHash, invoice: &Invoice, state: &str) -> Value {
    json!({
        "type": "incoming",
        "state": state,
        "invoice": invoice.bolt11,
        "payment_hash": hash.to_string(),
        "amount": invoice.amount.get(),
        "fees_paid": 0,
    })
}

fn outgoing(hash: &PaymentHash, amount: Msat, state: &PaymentState) -> Value {
    let (word, fee) = match state {
        PaymentState::Succeeded { fee, .. } => ("settled", fee.get()),
        PaymentState::Failed(_) => ("failed", 0),
        PaymentState::Pending | PaymentState::Unheard => ("pending", 0),
    };
    let preimage = match state {
        PaymentState::Succeeded { preimage, .. } => preimage.as_ref(),
        _ => None,
    };
    json!({
        "type": "outgoing",
        "state": word,
        "payment_hash": hash.to_string(),
        "amount": amount.get(),
        "fees_paid": fee,
        "preimage": preimage.map(|preimage| hex::encode(preimage.reveal())),
    })
}
