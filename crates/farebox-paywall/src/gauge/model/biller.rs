//! How what an answer used becomes what it is charged.

use std::sync::Arc;

use farebox_core::Msat;
use farebox_meter::density::BYTES_PER_TOKEN;
use farebox_meter::{Exchange, ModelPrice, Priced, Unit, Unpriced, Usage};

use crate::gauge::bill::End;
use crate::gauge::{Billing, Unsaid};

/// The same usage with all that was read and written counted as text.
fn as_text(usage: &Usage) -> Usage {
    let pieces = [Unit::Image, Unit::Character, Unit::Second, Unit::Request];
    let text = Usage::NONE
        .with(Unit::Input, usage.all_input())
        .with(Unit::Output, usage.all_output());
    pieces
        .into_iter()
        .fold(text, |text, unit| text.with(unit, usage.get(unit)))
}

/// Makes the bill of one request.
#[derive(Clone)]
pub(super) struct Biller {
    pub(super) price: Arc<ModelPrice>,
    pub(super) exchange: Exchange,
    pub(super) billing: Billing,
    pub(super) at_most: Msat,
    pub(super) estimated_input: u64,
    pub(super) known: Usage,
}

/// What one answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) used: Msat,
    pub(super) usage: Usage,
    pub(super) end: End,
    /// The client left before it could have read anything.
    pub(super) is_excused: bool,
    /// Nobody told the tokens, or not all of them: those here are made of bytes.
    pub(super) is_estimate: bool,
}

/// What is known of an answer that has ended.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// What was reported, and what came after that as it was counted here.
    pub(super) usage: Option<Usage>,
    /// The same, even where it tells only one side.
    pub(super) told: Usage,
    /// Nothing came after the report.
    pub(super) is_exact: bool,
    /// The client can have read something, were it only that the model has begun.
    pub(super) has_passed: bool,
    /// What may have told the usage was too long to be looked into.
    pub(super) has_overlooked: bool,
    pub(super) output_bytes: u64,
    pub(super) output_tokens: u64,
    /// What the prompt comes to, where it was counted.
    pub(super) input_tokens: Option<u64>,
}

impl Seen {
    /// A whole answer of so many bytes, of which nobody has counted the tokens.
    pub(super) const fn by_bytes(usage: Option<Usage>, output_bytes: u64) -> Self {
        Self {
            usage,
            told: Usage::NONE,
            is_exact: true,
            has_passed: true,
            has_overlooked: false,
            output_bytes,
            output_tokens: by_bytes(output_bytes),
            input_tokens: None,
        }
    }
}

impl Biller {
    /// What `usage` costs. A class that the request gave no reason to price, such as the sound of a
    /// film that came as a document, costs as much as text: an answer is not free for it.
    pub(super) fn cost(&self, usage: &Usage) -> Priced {
        match self.price.cost(usage, &self.exchange) {
            Err(Unpriced::Unit(_)) => self.price.cost(&as_text(usage), &self.exchange),
            priced => priced,
        }
    }

    pub(super) fn tally(&self, end: End, seen: &Seen) -> Tally {
        let is_failure = matches!(end, End::CutByUpstream | End::ErrorAfterStart);
        // An upstream that fails before it says a word owes its prompt to the seller, not the buyer.
        if let Some(usage) = seen.usage.filter(|_| !is_failure || seen.output_bytes > 0)
            && let Ok(used) = self.cost(&usage)
        {
            return Tally {
                used,
                usage,
                end,
                is_excused: false,
                is_estimate: !seen.is_exact,
            };
        }
        self.tally_unsaid(end, seen)
    }

    fn tally_unsaid(&self, end: End, seen: &Seen) -> Tally {
        let usage = self.filled(seen.told, seen.input_tokens, seen.output_tokens);
        let unsaid = match end {
            End::Complete | End::UsageMissing | End::CutByClient if seen.has_overlooked => {
                Unsaid::Hold
            }
            End::Complete | End::UsageMissing | End::CostMissing => self.billing.usage_missing,
            End::CutByUpstream | End::ErrorAfterStart => self.billing.broken_off,
            End::CutByClient => Unsaid::Observed,
        };
        // An answer of which bytes went out is never cheaper than its prompt, unless its upstream
        // failed before it said a word.
        let has_failed = matches!(end, End::CutByUpstream | End::ErrorAfterStart);
        let nothing_came = has_failed && seen.output_bytes == 0;
        let is_excused = end == End::CutByClient && !seen.has_passed;
        let used = match unsaid {
            _ if nothing_came => Msat::ZERO,
            Unsaid::Nothing => Msat::ZERO,
            Unsaid::Hold => self.at_most,
            Unsaid::Observed => {
                let cost = self.cost(&usage).unwrap_or(self.at_most);
                cost.min(self.at_most)
            }
        };
        let end = match end {
            End::Complete => End::UsageMissing,
            other => other,
        };
        Tally {
            used,
            usage,
            end,
            is_excused,
            is_estimate: unsaid == Unsaid::Observed && !nothing_came && !is_excused,
        }
    }

    /// What was told, and of a side that was not what was counted here.
    pub(super) fn filled(
        &self,
        told: Usage,
        input_tokens: Option<u64>,
        output_tokens: u64,
    ) -> Usage {
        let input = input_tokens.unwrap_or(self.estimated_input);
        let counted = Usage::NONE.with(Unit::Input, input);
        let counted = counted.with(Unit::Output, output_tokens);
        self.known.or(&told).or(&counted)
    }
}

pub(super) const fn by_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}
