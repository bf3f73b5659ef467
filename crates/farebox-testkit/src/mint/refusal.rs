//! What a mint refuses, by the codes of the specifications.

use serde_json::{Value, json};

/// Why the mint did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (code {code})")]
pub struct Refusal {
    /// The code (`error_codes.md` of the specifications).
    pub code: u32,
    /// For people.
    pub detail: &'static str,
}

impl Refusal {
    pub(super) const UNPROVEN: Self = Self::new(10_001, "a proof cannot be verified");
    pub(super) const CONDITIONS: Self = Self::new(10_001, "spending conditions are not met");
    pub(super) const SPENT: Self = Self::new(11_001, "a proof was spent already");
    pub(super) const PENDING: Self = Self::new(11_002, "a proof is being spent");
    pub(super) const OUTPUT_PENDING: Self = Self::new(11_004, "an output is being signed");
    pub(super) const UNBALANCED: Self = Self::new(11_005, "inputs less fee are not outputs");
    pub(super) const AMOUNT: Self = Self::new(11_006, "no coin of this amount");
    pub(super) const TWICE_IN: Self = Self::new(11_007, "an input stands there twice");
    pub(super) const TWICE_OUT: Self = Self::new(11_008, "an output stands there twice");
    pub(super) const UNITS: Self = Self::new(11_009, "proofs of several units");
    pub(super) const OTHER_UNIT: Self = Self::new(11_010, "outputs of another unit, or of several");
    pub(super) const NO_AMOUNT: Self = Self::new(11_011, "an invoice without an amount");
    pub(super) const NO_UNIT: Self = Self::new(11_013, "no keyset of this unit is active");
    pub(super) const MANY_IN: Self = Self::new(11_014, "too many inputs");
    pub(super) const MANY_OUT: Self = Self::new(11_015, "too many outputs");
    pub(super) const NO_KEYSET: Self = Self::new(12_001, "no such keyset");
    pub(super) const INACTIVE: Self = Self::new(12_002, "the keyset is inactive");
    pub(super) const KEYSET_EXPIRED: Self = Self::new(12_003, "the keyset has expired");
    pub(super) const UNPAID: Self = Self::new(20_001, "the quote is not paid");
    pub(super) const ISSUED: Self = Self::new(20_002, "the quote was issued already");
    pub(super) const QUOTE_PENDING: Self = Self::new(20_005, "the quote is being paid");
    pub(super) const PAID: Self = Self::new(20_006, "the quote was paid already");
    pub(super) const QUOTE_EXPIRED: Self = Self::new(20_007, "the quote has expired");
    pub(super) const NOT_SIGNED: Self = Self::new(20_008, "the request is not signed by its key");
    // The specifications have no code for these two.
    pub(super) const NO_QUOTE: Self = Self::new(11_000, "no such quote");
    pub(super) const UNREADABLE: Self = Self::new(11_000, "this cannot be read");

    pub(super) const fn new(code: u32, detail: &'static str) -> Self {
        Self { code, detail }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "detail": self.detail, "code": self.code })
    }
}
