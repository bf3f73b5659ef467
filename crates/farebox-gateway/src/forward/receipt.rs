//! What a paying client is told in headers: the charge, what is left, until when.

use std::time::Duration;

use farebox_core::{HoldId, Msat, UnixMillis};
use farebox_ledger::Remaining;
use farebox_paywall::settle::Settlement;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::access_log::Exchange;

const CHARGE: HeaderName = HeaderName::from_static("farebox-charge-msat");
const HELD: HeaderName = HeaderName::from_static("farebox-held-msat");
const BALANCE: HeaderName = HeaderName::from_static("farebox-balance-msat");
const CALLS_LEFT: HeaderName = HeaderName::from_static("farebox-calls-left");
const RECEIPT: HeaderName = HeaderName::from_static("farebox-receipt");
const EXPIRES: HeaderName = HeaderName::from_static("farebox-expires");

/// What a paying client is told in headers.
pub(super) enum ReceiptHeaders {
    Nothing,
    /// Under a pass that runs until then.
    Pass(UnixMillis),
    /// Under one that runs for so long from this answer on, if that is charged.
    FirstOfPass {
        hold: HoldId,
        span: Duration,
        until: Option<UnixMillis>,
    },
    Held {
        hold: HoldId,
        charge: Msat,
        left: Remaining,
        /// The charge is known only when the answer has ended; this is the most it can be.
        is_most: bool,
    },
}

/// Tells a payer what was charged for an answer that it comes back for, or does not get.
pub(crate) fn write_charge(headers: &mut HeaderMap, charged: Msat, hold: HoldId) {
    write_sale(headers, CHARGE, charged, hold);
}

fn write_sale(headers: &mut HeaderMap, name: HeaderName, amount: Msat, hold: HoldId) {
    headers.insert(name, HeaderValue::from(amount.get()));
    if let Ok(hold) = HeaderValue::from_str(&hold.to_string()) {
        headers.insert(RECEIPT, hold);
    }
}

impl ReceiptHeaders {
    pub(super) const fn hold(&self) -> Option<HoldId> {
        match self {
            Self::Held { hold, .. } | Self::FirstOfPass { hold, .. } => Some(*hold),
            Self::Nothing | Self::Pass(_) => None,
        }
    }

    /// A pass that begins with this answer runs from now on, if it is charged.
    pub(super) fn answered(&mut self, exchange: &Exchange, settlement: &mut Settlement) {
        if let Self::FirstOfPass { span, until, .. } = self {
            let now = exchange.now();
            settlement.begin_pass(now);
            *until = Some(now.plus(*span));
        }
    }

    /// Nothing is charged: what was held is back, the call with it, and a pass has not begun.
    pub(super) fn release(&mut self) {
        self.settle(Msat::ZERO);
        match self {
            Self::Held { left, .. } => left.calls = left.calls.map(|calls| calls.saturating_add(1)),
            Self::FirstOfPass { .. } => *self = Self::Nothing,
            Self::Nothing | Self::Pass(_) => {}
        }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing | Self::FirstOfPass { until: None, .. } => {}
            Self::Pass(expires)
            | Self::FirstOfPass {
                until: Some(expires),
                ..
            } => {
                headers.insert(EXPIRES, HeaderValue::from(expires.as_secs()));
            }
            Self::Held {
                hold,
                charge,
                left,
                is_most,
            } => {
                let name = if *is_most { HELD } else { CHARGE };
                write_sale(headers, name, *charge, *hold);
                if let Some(calls) = left.calls {
                    headers.insert(CALLS_LEFT, HeaderValue::from(calls));
                } else if let Some(msat) = left.msat {
                    headers.insert(BALANCE, HeaderValue::from(msat.get()));
                }
            }
        }
    }
}
