//! What `farebox doctor` finds out about the mints: who they are, whether they can tell what became of a swap,
//! and whether they make coins of the units that are taken.

use std::time::Duration;

use farebox_config::build::Built;
use farebox_paywall::mints::TrustedMint;

use super::Finding;
use crate::output::chain;

/// How long one mint is examined at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a mint has to have, and what for.
const NEEDED: [(u16, &str); 3] = [
    (7, "to tell whether coins are spent"),
    (9, "to find coins whose answer was lost"),
    (12, "to prove its signatures"),
];

/// Examines every mint.
pub(super) async fn examine(built: &Built) -> Vec<Finding> {
    let mut findings = Vec::new();
    for trusted in built.plan.payments.mints.iter() {
        let what = format!("mint {}", trusted.mint.url());
        let found = tokio::time::timeout(PATIENCE, examine_one(&what, trusted)).await;
        findings.extend(found.unwrap_or_else(|_| {
            let detail = format!("no answer within {} seconds", PATIENCE.as_secs());
            vec![Finding::wrong(&what, detail)]
        }));
    }
    findings
}

async fn examine_one(what: &str, trusted: &TrustedMint) -> Vec<Finding> {
    let mint = &trusted.mint;
    let info = match mint.info().await {
        Ok(info) => info,
        Err(fault) => return vec![Finding::wrong(what, chain(&fault))],
    };
    let mut findings = vec![Finding::ok(what, info.name.unwrap_or_default())];
    let lacks = NEEDED.iter().filter(|(nut, _)| !info.nuts.contains(nut));
    findings.extend(lacks.map(|(nut, why)| {
        let detail = format!("lacks NUT-{nut:02}, which is needed {why}: take another mint");
        Finding::wrong(what, detail)
    }));
    let keysets = match mint.keysets().await {
        Ok(keysets) => keysets,
        Err(fault) => {
            findings.push(Finding::wrong(what, chain(&fault)));
            return findings;
        }
    };
    for unit in mint.units() {
        let what = format!("{what} {unit}");
        findings.push(Finding::of(&what, keysets.active(*unit), |keyset| {
            let fee = keyset.fee_ppk;
            format!(
                "keyset {}, {fee} {unit} for spending a thousand coins",
                keyset.id
            )
        }));
    }
    findings
}
