//! The rules for money that goes back to the holders of tokens.

use farebox_core::Msat;
use farebox_paywall::payout::{MaxFee, RefundRules};

use super::at::At;
use super::lightning::allowed_hosts;
use crate::file::{ConfigFile, RefundsSection};

/// Builds the rules. Whether holders may ask is settled when the backends are known.
pub(super) fn rules(file: &ConfigFile, at: &At<'_>) -> Option<RefundRules> {
    let section = &file.refunds;
    check_counts(section, at);
    check_amounts(section, at);
    let base = at
        .key("max_fee")
        .key("msat")
        .take(Msat::new(section.max_fee.msat));
    let lightning = file.lightning.as_ref();
    let written = lightning.map(|lightning| lightning.network);
    Some(RefundRules {
        enabled: section.enabled.unwrap_or(true),
        least: section.least.0,
        daily_total: section.daily_total.0,
        per_token_per_day: section.per_token_per_day,
        max_open: section.max_open,
        max_fee: MaxFee {
            percent: section.max_fee.percent,
            base: base?,
        },
        allow_hosts: allowed_hosts(&section.allow_hosts, at),
        network: written.unwrap_or_default().into(),
    })
}

fn check_counts(section: &RefundsSection, at: &At<'_>) {
    let counts = [
        ("per_token_per_day", section.per_token_per_day == 0),
        ("max_open", section.max_open == 0),
    ];
    at.note_each(
        counts,
        "nobody could ask; to allow no refunds write enabled = false",
    );
    if section.max_fee.percent > 100 {
        at.key("max_fee").key("percent").note("at most 100");
    }
}

fn check_amounts(section: &RefundsSection, at: &At<'_>) {
    if section.least.0.is_zero() {
        at.key("least").note("nothing cannot be paid out");
    }
    if section.daily_total.0 < section.least.0 {
        at.key("daily_total")
            .note(format!("less than refunds.least ({})", section.least.0));
    }
}
