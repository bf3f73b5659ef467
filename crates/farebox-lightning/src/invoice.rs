//! Reading BOLT 11 invoices made by others: every field that a payment depends on is there and
//! sensible, or parsing fails. Never panics, whatever the text.

use std::fmt;

use bitcoin::hashes::Hash;
use farebox_core::{Msat, PaymentHash, UnixMillis};
use lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency, ParseOrSemanticError,
    SignedRawBolt11Invoice,
};

use crate::InvoiceFault;

/// The longest invoice that is looked at, in bytes; real ones have 250 to 1,000.
const MAX_INVOICE_LENGTH: usize = 4096;

/// What a BOLT 11 invoice with a valid signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The hash whose preimage the payer learns.
    pub payment_hash: PaymentHash,
    /// What is to be paid; never zero.
    pub amount: Msat,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it can no longer be paid.
    pub expires_at: UnixMillis,
    /// For which network.
    pub network: Network,
    /// What it is for.
    pub description: Description,
}

/// The description of an invoice, or its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Description {
    /// The `d` field. Written by a stranger.
    Text(String),
    /// The `h` field: the SHA-256 of a description given elsewhere.
    Hash([u8; 32]),
}

/// A network that invoices are for, by the prefix that they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// `lnbc`: real bitcoin.
    #[default]
    Mainnet,
    /// `lntb`
    Testnet,
    /// `lntbs`
    Signet,
    /// `lnbcrt`
    Regtest,
    /// `lnsb`
    Simnet,
}

/// Parses an invoice and checks its signature and the consistency of its fields. Whether it has
/// expired, and is for the right network and amount, is the caller's to ask.
///
/// # Errors
/// [`InvoiceFault`]: too long, malformed, without an amount or with an impossible one.
pub fn parse_invoice(bolt11: &str) -> Result<Invoice, InvoiceFault> {
    decode(bolt11).and_then(|invoice| read(&invoice))
}

pub(crate) fn check_length(bolt11: &str) -> Result<(), InvoiceFault> {
    if bolt11.len() > MAX_INVOICE_LENGTH {
        let limit = MAX_INVOICE_LENGTH;
        return Err(InvoiceFault::TooLong { limit });
    }
    Ok(())
}

pub(crate) fn decode(bolt11: &str) -> Result<Bolt11Invoice, InvoiceFault> {
    check_length(bolt11)?;
    bolt11
        .parse()
        .map_err(|error: ParseOrSemanticError| InvoiceFault::Malformed(error))
}

/// Reads the text alone: its signature is not checked, and no field has to be there.
pub(crate) fn decode_unsigned(bolt11: &str) -> Result<SignedRawBolt11Invoice, InvoiceFault> {
    check_length(bolt11)?;
    bolt11
        .parse()
        .map_err(|error| InvoiceFault::Malformed(ParseOrSemanticError::ParseError(error)))
}

pub(crate) fn read(invoice: &Bolt11Invoice) -> Result<Invoice, InvoiceFault> {
    let created_at = UnixMillis::from_secs(invoice.duration_since_epoch().as_secs());
    Ok(Invoice {
        payment_hash: PaymentHash::from_bytes(invoice.payment_hash().to_byte_array()),
        amount: amount(invoice)?,
        created_at,
        expires_at: created_at.plus(invoice.expiry_time()),
        network: Network::of(&invoice.currency()),
        description: description(invoice),
    })
}

fn amount(invoice: &Bolt11Invoice) -> Result<Msat, InvoiceFault> {
    let msat = invoice
        .amount_milli_satoshis()
        .ok_or(InvoiceFault::Amountless)?;
    let amount = Msat::new(msat).map_err(|_| InvoiceFault::ImpossibleAmount)?;
    if amount.is_zero() {
        Err(InvoiceFault::ImpossibleAmount)
    } else {
        Ok(amount)
    }
}

fn description(invoice: &Bolt11Invoice) -> Description {
    match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(text) => Description::Text(text.as_inner().0.clone()),
        Bolt11InvoiceDescriptionRef::Hash(hash) => Description::Hash(hash.0.to_byte_array()),
    }
}

impl Network {
    pub(crate) fn of(currency: &Currency) -> Self {
        match currency {
            Currency::Bitcoin => Self::Mainnet,
            Currency::BitcoinTestnet => Self::Testnet,
            Currency::Signet => Self::Signet,
            Currency::Regtest => Self::Regtest,
            Currency::Simnet => Self::Simnet,
        }
    }

    pub(crate) fn currency(self) -> Currency {
        match self {
            Self::Mainnet => Currency::Bitcoin,
            Self::Testnet => Currency::BitcoinTestnet,
            Self::Signet => Currency::Signet,
            Self::Regtest => Currency::Regtest,
            Self::Simnet => Currency::Simnet,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
            Self::Simnet => "simnet",
        })
    }
}

#[cfg(test)]
mod tests;
