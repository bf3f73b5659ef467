//! What a 402 answer says: the L402 challenge in the one form that every known client reads.
//!
//! Header values are built from two types that hold nothing but letters, digits and base64 signs,
//! so no quote, comma or line end can reach them.

#[cfg(test)]
mod tests;

use std::fmt;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use crate::macaroon::Macaroon;

/// The longest invoice that is printed, in characters: with a macaroon of usual size the header
/// stays below the 8 KiB that common clients read.
pub const MAX_INVOICE_LENGTH: usize = 4096;

/// A BOLT 11 invoice as text that is safe between quotes: `ln`, then letters and digits. That it
/// is a *valid* invoice is the node adapter's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceText(String);

/// Text that cannot be a BOLT 11 invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an invoice is ln and then letters and digits, at most {MAX_INVOICE_LENGTH} characters")]
pub struct InvoiceTextError;

/// Whether to send the challenge a second time under the scheme's old name, for clients that know
/// no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyLsat {
    /// Only the L402 line.
    #[default]
    Omit,
    /// A line `LSAT macaroon=…, invoice=…` before it, as Aperture sends.
    Lead,
}

/// One challenge: a macaroon and the invoice whose preimage opens it.
#[derive(Clone)]
pub struct L402Challenge {
    macaroon: String,
    invoice: InvoiceText,
}

impl InvoiceText {
    /// Checks the characters and the length of `bolt11`.
    ///
    /// # Errors
    /// [`InvoiceTextError`] when it could not stand between quotes, or is no invoice at all.
    pub fn parse(bolt11: impl Into<String>) -> Result<Self, InvoiceTextError> {
        let text = bolt11.into();
        let is_invoice = text
            .get(..2)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case("ln"));
        if !is_invoice || text.len() > MAX_INVOICE_LENGTH {
            return Err(InvoiceTextError);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvoiceTextError);
        }
        Ok(Self(text))
    }

    /// The invoice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl L402Challenge {
    /// The challenge that offers `macaroon` for paying `invoice`.
    #[must_use]
    pub fn new(macaroon: &Macaroon, invoice: InvoiceText) -> Self {
        Self {
            macaroon: macaroon.to_base64(),
            invoice,
        }
    }

    /// The macaroon in base64, as it stands in the header.
    #[must_use]
    pub fn macaroon(&self) -> &str {
        &self.macaroon
    }

    /// `L402 macaroon="M", invoice="I", version="0", token="M"`: macaroon and invoice first and in
    /// this order for the clients in use, then the names of the 2026 draft.
    #[must_use]
    pub fn l402(&self) -> HeaderValue {
        let (macaroon, invoice) = (&self.macaroon, self.invoice.as_str());
        header_value(format!(
            r#"L402 macaroon="{macaroon}", invoice="{invoice}", version="0", token="{macaroon}""#
        ))
    }

    /// `LSAT macaroon="M", invoice="I"`.
    #[must_use]
    pub fn lsat(&self) -> HeaderValue {
        let (macaroon, invoice) = (&self.macaroon, self.invoice.as_str());
        header_value(format!(
            r#"LSAT macaroon="{macaroon}", invoice="{invoice}""#
        ))
    }

    /// Appends the `WWW-Authenticate` lines, each of its own, in the order clients need.
    pub fn append_to(&self, headers: &mut HeaderMap, legacy: LegacyLsat) {
        if legacy == LegacyLsat::Lead {
            headers.append(WWW_AUTHENTICATE, self.lsat());
        }
        headers.append(WWW_AUTHENTICATE, self.l402());
    }
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("base64, letters, digits and quotes are header characters")
}

impl fmt::Debug for L402Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L402Challenge")
            .field("invoice", &self.invoice)
            .finish_non_exhaustive()
    }
}
