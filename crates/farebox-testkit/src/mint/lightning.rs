//! Quotes to mint and to melt, and what becomes of payments (NUT-04, NUT-05, NUT-08, NUT-20).

use std::collections::HashMap;
use std::time::Duration;

use cashu::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use cashu::nuts::{
    BlindSignature, BlindedMessage, CurrencyUnit, MeltQuoteBolt11Request, MeltQuoteState,
    MeltRequest, MintQuoteBolt11Request, MintQuoteState, MintRequest, PublicKey, SecretKey,
};
use cashu::{Amount, SECP256K1};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Refusal;
use super::books::{Entry, Inputs};
use super::desk::Desk;

/// The blocks a payer must leave for the last hop.
const FINAL_CLTV_DELTA: u64 = 80;

/// What becomes of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// It arrives.
    Paid {
        /// What the route costs, in the unit of the quote; at most its reserve.
        fee: u64,
        /// What the payee reveals. Where there is none: that of an invoice of the mint itself, whose
        /// quote is paid by this, else random bytes.
        preimage: Option<[u8; 32]>,
    },
    /// It fails: UNPAID, and the coins may be spent again.
    Fails,
    /// It is under way until [`TestMint::finish_payments`](super::TestMint::finish_payments).
    Pending,
    /// The mint says UNPAID and lets the coins go. It arrives all the same at
    /// [`TestMint::finish_payments`](super::TestMint::finish_payments), if they are still there.
    FailsAndArrives,
}

impl Payment {
    /// It arrives, free of charge.
    pub const PAID: Self = Self::Paid {
        fee: 0,
        preimage: None,
    };
}

#[derive(Debug, Default)]
pub(super) struct Quotes {
    mint: HashMap<String, MintQuote>,
    melt: HashMap<String, MeltQuote>,
}

#[derive(Debug)]
struct MintQuote {
    unit: CurrencyUnit,
    amount: u64,
    request: String,
    expiry: u64,
    state: MintQuoteState,
    pubkey: Option<PublicKey>,
    preimage: [u8; 32],
}

#[derive(Debug)]
struct MeltQuote {
    unit: CurrencyUnit,
    amount: u64,
    reserve: u64,
    request: String,
    expiry: u64,
    state: MeltQuoteState,
    preimage: Option<[u8; 32]>,
    change: Vec<BlindSignature>,
    /// What pays for it, from the first attempt on.
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    inputs: Inputs,
    blanks: Vec<BlindedMessage>,
}

/// What a quote is made with.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: u64,
    /// How long it lasts, in seconds.
    pub(super) ttl: u64,
    /// What a payment may cost, in the unit of the quote.
    pub(super) reserve: u64,
    /// Whether invoices are paid as soon as they are made.
    pub(super) are_paid: bool,
}

impl Desk {
    pub(super) fn mint_quote(
        &mut self,
        request: &MintQuoteBolt11Request,
        terms: Terms,
    ) -> Result<Value, Refusal> {
        self.books.active(&request.unit)?;
        let amount = request.amount.to_u64();
        let msat = amount.checked_mul(msat_in(&request.unit)?);
        let msat = msat.filter(|msat| *msat > 0).ok_or(Refusal::AMOUNT)?;
        let (id, preimage) = (random_id(), random());
        let quote = MintQuote {
            unit: request.unit.clone(),
            amount,
            request: invoice(msat, &preimage, terms)?,
            expiry: terms.now + terms.ttl,
            state: if terms.are_paid {
                MintQuoteState::Paid
            } else {
                MintQuoteState::Unpaid
            },
            pubkey: request.pubkey,
            preimage,
        };
        let told = quote.told(&id);
        self.quotes.mint.insert(id, quote);
        Ok(told)
    }

    pub(super) fn mint_quote_state(&self, id: &str) -> Result<Value, Refusal> {
        let quote = self.quotes.mint.get(id).ok_or(Refusal::NO_QUOTE)?;
        Ok(quote.told(id))
    }

    /// Somebody pays the invoice of a quote, be it late.
    pub(super) fn pay_quote(&mut self, id: &str) -> Result<(), Refusal> {
        let quote = self.quotes.mint.get_mut(id).ok_or(Refusal::NO_QUOTE)?;
        if quote.state != MintQuoteState::Unpaid {
            return Err(Refusal::PAID);
        }
        quote.state = MintQuoteState::Paid;
        Ok(())
    }

    pub(super) fn mint(
        &mut self,
        request: &MintRequest<String>,
        now: u64,
    ) -> Result<Value, Refusal> {
        let quotes = &mut self.quotes.mint;
        let quote = quotes.get_mut(&request.quote).ok_or(Refusal::NO_QUOTE)?;
        match quote.state {
            MintQuoteState::Unpaid => return Err(Refusal::UNPAID),
            MintQuoteState::Issued => return Err(Refusal::ISSUED),
            MintQuoteState::Paid => {}
        }
        if let Some(key) = quote.pubkey {
            let signed = request.verify_signature(key);
            signed.map_err(|_| Refusal::NOT_SIGNED)?;
        }
        let asked = self
            .books
            .check_outputs(&request.outputs, &quote.unit, now)?;
        if asked != quote.amount {
            return Err(Refusal::UNBALANCED);
        }
        let signatures = self.books.sign(&request.outputs)?;
        quote.state = MintQuoteState::Issued;
        let entry = Entry {
            received: quote.amount,
            ..Entry::new(quote.unit.clone())
        };
        self.books.enter(entry, &request.outputs, &signatures);
        Ok(json!({ "signatures": signatures }))
    }

    pub(super) fn melt_quote(
        &mut self,
        request: &MeltQuoteBolt11Request,
        terms: Terms,
    ) -> Result<Value, Refusal> {
        self.books.active(&request.unit)?;
        let msat = request.amount_msat().map_err(|_| Refusal::NO_AMOUNT)?;
        let id = random_id();
        let quote = MeltQuote {
            unit: request.unit.clone(),
            amount: msat.to_u64().div_ceil(msat_in(&request.unit)?),
            reserve: terms.reserve,
            request: request.request.to_string(),
            expiry: terms.now + terms.ttl,
            state: MeltQuoteState::Unpaid,
            preimage: None,
            change: Vec::new(),
            attempt: None,
        };
        let told = quote.told(&id);
        self.quotes.melt.insert(id, quote);
        Ok(told)
    }

    pub(super) fn melt_quote_state(&self, id: &str) -> Result<Value, Refusal> {
        let quote = self.quotes.melt.get(id).ok_or(Refusal::NO_QUOTE)?;
        Ok(quote.told(id))
    }

    /// Sets the coins of a melt aside, and returns the invoice to pay.
    pub(super) fn begin_melt(
        &mut self,
        request: &MeltRequest<String>,
        now: u64,
    ) -> Result<String, Refusal> {
        let quotes = &mut self.quotes.melt;
        let quote = quotes.get_mut(request.quote()).ok_or(Refusal::NO_QUOTE)?;
        match quote.state {
            MeltQuoteState::Paid => return Err(Refusal::PAID),
            MeltQuoteState::Pending => return Err(Refusal::QUOTE_PENDING),
            _ if quote.expiry <= now => return Err(Refusal::QUOTE_EXPIRED),
            _ => {}
        }
        let inputs = self.books.check_inputs(request, now)?;
        if inputs.unit != quote.unit {
            return Err(Refusal::OTHER_UNIT);
        }
        let blanks = request.outputs().clone().unwrap_or_default();
        self.books.check_outputs(&blanks, &quote.unit, now)?;
        let needed = u128::from(quote.amount) + u128::from(quote.reserve) + u128::from(inputs.fee);
        if u128::from(inputs.sum) < needed {
            return Err(Refusal::UNBALANCED);
        }
        self.books.set_aside(&inputs.coins, &blanks);
        quote.state = MeltQuoteState::Pending;
        quote.attempt = Some(Attempt { inputs, blanks });
        Ok(quote.request.clone())
    }

    /// What becomes of a melt, once it is known.
    pub(super) fn end_melt(&mut self, id: &str, payment: Payment) -> Result<Value, Refusal> {
        let Quotes { melt, mint: own } = &mut self.quotes;
        let quote = melt.get_mut(id).ok_or(Refusal::NO_QUOTE)?;
        let Some(attempt) = quote.attempt.as_ref() else {
            return Ok(quote.told(id));
        };
        if payment != Payment::Pending {
            self.books.let_go(&attempt.inputs.coins, &attempt.blanks);
        }
        match payment {
            Payment::Pending => {}
            Payment::Fails => {
                quote.state = MeltQuoteState::Unpaid;
                quote.attempt = None;
            }
            Payment::FailsAndArrives => quote.state = MeltQuoteState::Unpaid,
            Payment::Paid { fee, preimage } => {
                let fee = fee.min(quote.reserve);
                let left = attempt.inputs.sum - attempt.inputs.fee - quote.amount - fee;
                let blanks = fill(&attempt.blanks, left);
                let change = self.books.sign(&blanks)?;
                let given: u64 = change.iter().map(|it| it.amount.to_u64()).sum();
                let entry = Entry {
                    spent: attempt.inputs.coins.clone(),
                    paid_out: quote.amount + fee,
                    fee: attempt.inputs.fee,
                    kept: left - given,
                    ..Entry::new(quote.unit.clone())
                };
                self.books.enter(entry, &blanks, &change);
                quote.change = change;
                quote.state = MeltQuoteState::Paid;
                let revealed = preimage.or_else(|| settle(own, &quote.request));
                quote.preimage = Some(revealed.unwrap_or_else(random));
                quote.attempt = None;
            }
        }
        Ok(quote.told(id))
    }

    /// Decides about all melts that are under way, and those that were only said to have failed.
    /// Returns how many arrived.
    pub(super) fn finish(&mut self, payment: Payment) -> usize {
        let open = self.quotes.melt.iter();
        let open = open.filter(|(_, quote)| quote.attempt.is_some());
        let open: Vec<_> = open.map(|(id, _)| id.clone()).collect();
        let finished = open.iter().filter(|id| self.finish_one(id, payment));
        finished.count()
    }

    fn finish_one(&mut self, id: &str, payment: Payment) -> bool {
        let Some(quote) = self.quotes.melt.get_mut(id) else {
            return false;
        };
        let was_let_go = quote.state == MeltQuoteState::Unpaid;
        let coins = quote.attempt.iter().flat_map(|it| &it.inputs.coins);
        let mut states = coins.map(|(y, _)| self.books.state(y));
        if was_let_go && states.any(|state| state != cashu::nuts::State::Unspent) {
            // They went elsewhere, and so it does not arrive.
            quote.attempt = None;
            return false;
        }
        self.end_melt(id, payment).is_ok() && matches!(payment, Payment::Paid { .. })
    }
}

/// Gives as many blanks as it takes an amount each, smallest first; what does not fit stays.
fn fill(blanks: &[BlindedMessage], left: u64) -> Vec<BlindedMessage> {
    let bits = (0..64).filter(|bit| left >> bit & 1 == 1);
    let mut powers: Vec<u64> = bits.map(|bit| 1 << bit).collect();
    // Where there are too few, the largest are given.
    let spare = powers.len().saturating_sub(blanks.len());
    powers.drain(..spare);
    let filled = blanks.iter().zip(powers).map(|(blank, power)| {
        let mut blank = blank.clone();
        blank.amount = Amount::from(power);
        blank
    });
    filled.collect()
}

/// Pays an invoice of the mint itself.
fn settle(own: &mut HashMap<String, MintQuote>, invoice: &str) -> Option<[u8; 32]> {
    let quote = own.values_mut().find(|quote| quote.request == invoice)?;
    if quote.state == MintQuoteState::Unpaid {
        quote.state = MintQuoteState::Paid;
    }
    Some(quote.preimage)
}

impl MintQuote {
    fn told(&self, id: &str) -> Value {
        let is = |state| if self.state == state { self.amount } else { 0 };
        let issued = is(MintQuoteState::Issued);
        let mut told = json!({
            "quote": id,
            "request": self.request,
            "amount": self.amount,
            "unit": self.unit,
            "method": "bolt11",
            "state": self.state,
            "expiry": self.expiry,
            "amount_paid": is(MintQuoteState::Paid) + issued,
            "amount_issued": issued,
        });
        if let Some(key) = self.pubkey {
            told["pubkey"] = json!(key);
        }
        told
    }
}

impl MeltQuote {
    fn told(&self, id: &str) -> Value {
        let mut told = json!({
            "quote": id,
            "amount": self.amount,
            "unit": self.unit,
            "method": "bolt11",
            "request": self.request,
            "fee_reserve": self.reserve,
            "state": self.state,
            "expiry": self.expiry,
            "payment_preimage": self.preimage.map(hex::encode),
        });
        if self.state == MeltQuoteState::Paid {
            told["change"] = json!(self.change);
        }
        told
    }
}

fn msat_in(unit: &CurrencyUnit) -> Result<u64, Refusal> {
    match unit {
        CurrencyUnit::Msat => Ok(1),
        CurrencyUnit::Sat => Ok(1000),
        _ => Err(Refusal::NO_UNIT),
    }
}

/// An invoice of a node that does not exist: tests say that it is paid.
fn invoice(msat: u64, preimage: &[u8; 32], terms: Terms) -> Result<String, Refusal> {
    let key = SecretKey::generate();
    let hash = hex::encode(Sha256::digest(preimage));
    let hash = hash.parse().map_err(|_| Refusal::UNREADABLE)?;
    let invoice = InvoiceBuilder::new(Currency::Bitcoin)
        .description("ecash of a test mint".to_owned())
        .payment_hash(hash)
        .payment_secret(PaymentSecret(random()))
        .duration_since_epoch(Duration::from_secs(terms.now))
        .min_final_cltv_expiry_delta(FINAL_CLTV_DELTA)
        .expiry_time(Duration::from_secs(terms.ttl))
        .amount_milli_satoshis(msat)
        .build_signed(|hash| SECP256K1.sign_ecdsa_recoverable(hash, &key))
        .map_err(|_| Refusal::AMOUNT)?;
    Ok(invoice.to_string())
}

fn random_id() -> String {
    hex::encode(&random()[..16])
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("random bytes");
    bytes
}
