//! The rules for money that goes back to the holders of tokens.

use farebox_core::Msat;
use farebox_paywall::payout::{MaxFee, RefundRules};

use super::lightning::{allowed_hosts, network};
use crate::file::{ConfigFile, RefundsSection};
use crate::mistake::{KeyPath, Mistakes};

fn at(key: &str) -> KeyPath {
    KeyPath::of("refunds").key(key)
}

/// Builds the rules. Whether holders may ask is settled when the backends are known.
pub(super) fn rules(file: &ConfigFile, mistakes: &mut Mistakes) -> Option<RefundRules> {
    let section = &file.refunds;
    check_counts(section, mistakes);
    check_amounts(section, mistakes);
    let base = mistakes.take(at("max_fee").key("msat"), Msat::new(section.max_fee.msat));
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
        allow_hosts: allowed_hosts(&section.allow_hosts, &KeyPath::of("refunds"), mistakes),
        network: network(written.unwrap_or_default()),
    })
}

fn check_counts(section: &RefundsSection, mistakes: &mut Mistakes) {
    let counts = [
        ("per_token_per_day", section.per_token_per_day),
        ("max_open", section.max_open),
    ];
    for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
        let reason = "nobody could ask; to allow no refunds write enabled = false";
        mistakes.note(at(key), reason);
    }
    if section.max_fee.percent > 100 {
        mistakes.note(at("max_fee").key("percent"), "at most 100");
    }
}

fn check_amounts(section: &RefundsSection, mistakes: &mut Mistakes) {
    if section.least.0.is_zero() {
        mistakes.note(at("least"), "nothing cannot be paid out");
    }
    if section.daily_total.0 < section.least.0 {
        let reason = format!("less than refunds.least ({})", section.least.0);
        mistakes.note(at("daily_total"), reason);
    }
}
