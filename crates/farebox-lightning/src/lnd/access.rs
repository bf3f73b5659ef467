//! What `farebox doctor` says about an LND: who it is, whether it is ready, and whether its macaroon
//! allows what is needed and nothing more.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Lnd;
use super::answer::{self, Denial};
use super::macaroon::{Access, Need, Permission};
use crate::rest::printable;
use crate::{AccessReport, BoxFuture, CheckAccess, NodeError};

/// What LND's own `invoice.macaroon` allows on top of invoices: nothing worth a warning.
const HARMLESS: [(&str, &str); 3] = [
    ("address", "read"),
    ("address", "write"),
    ("onchain", "read"),
];

#[derive(Deserialize)]
struct InfoJson {
    #[serde(default)]
    alias: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    synced_to_chain: bool,
    #[serde(default)]
    num_active_channels: u32,
    #[serde(default)]
    chains: Vec<ChainJson>,
}

#[derive(Deserialize)]
struct ChainJson {
    #[serde(default)]
    network: String,
}

#[derive(Deserialize)]
struct StateJson {
    state: String,
}

impl CheckAccess for Lnd {
    fn check_access(&self) -> BoxFuture<'_, Result<AccessReport, NodeError>> {
        Box::pin(async move {
            let mut report = AccessReport::default();
            self.compare(&mut report);
            let is_ready = self.introduce(&mut report).await?;
            // A refusal of what is known to be missing says nothing about the rest.
            if is_ready && self.access.allows(&Need::RECEIVING) {
                self.try_reading().await?;
            }
            Ok(report)
        })
    }
}

impl Lnd {
    fn needed(&self) -> Vec<Need> {
        let mut needs = Need::RECEIVING.to_vec();
        if self.needs.pay {
            needs.extend(Need::PAYING);
        }
        if self.needs.hold {
            needs.extend(Need::HOLDING);
        }
        needs
    }

    fn compare(&self, report: &mut AccessReport) {
        let needs = self.needed();
        let names: BTreeSet<_> = self.access.missing(&needs).iter().map(Need::name).collect();
        report.missing.extend(names);
        match &self.access {
            Access::Listed {
                permissions,
                conditions,
            } => {
                report.needless.extend(needless(permissions, &needs));
                report.remarks.extend(restricted(conditions));
            }
            Access::Unknown => report
                .remarks
                .push("the macaroon is of a format that does not show what it allows".to_owned()),
        }
    }

    /// Asks for as much as the macaroon lets us see; whether the node is ready anyone may ask.
    async fn introduce(&self, report: &mut AccessReport) -> Result<bool, NodeError> {
        let answer = self.client.get("/v1/getinfo").await?;
        match answer::read::<InfoJson>(&answer) {
            Ok(info) => self.describe_node(&info, report),
            Err(Denial::Failed(NodeError::Forbidden { .. })) => {
                "LND".clone_into(&mut report.identity);
            }
            Err(Denial::Failed(NodeError::Unavailable { .. })) => {
                "LND".clone_into(&mut report.identity);
                report.remarks.push(self.why_not_ready().await?);
                return Ok(false);
            }
            Err(denial) => return Err(denial.into()),
        }
        Ok(true)
    }

    fn describe_node(&self, info: &InfoJson, report: &mut AccessReport) {
        let version = info.version.split(' ').next().unwrap_or_default();
        let network = info.chains.first().map_or("", |chain| &chain.network);
        report.identity = printable(&format!("LND {version} {} ({network})", info.alias));
        if network != self.network.to_string() {
            report.remarks.push(format!(
                "it is on {}, and {} is configured",
                printable(network),
                self.network
            ));
        }
        if !info.synced_to_chain {
            report
                .remarks
                .push("it has not caught up with the chain".to_owned());
        }
        if info.num_active_channels == 0 {
            report
                .remarks
                .push("it has no active channel, so nobody can pay it".to_owned());
        }
    }

    async fn why_not_ready(&self) -> Result<String, NodeError> {
        let answer = self.client.get("/v1/state").await?;
        let state: StateJson = answer::read(&answer)?;
        Ok(match state.state.as_str() {
            "LOCKED" => "its wallet is locked".to_owned(),
            "NON_EXISTING" => "it has no wallet yet".to_owned(),
            _ => "it is starting".to_owned(),
        })
    }

    /// The node itself says whether it accepts the macaroon.
    async fn try_reading(&self) -> Result<(), NodeError> {
        let answer = self.client.get("/v1/invoices?num_max_invoices=1").await?;
        Ok(answer::check(&answer)?)
    }
}

fn needless(permissions: &[Permission], needs: &[Need]) -> BTreeSet<String> {
    let is_needed = |own: &Permission| needs.iter().any(|need| need.uses(own));
    // To say who the node is.
    let is_info = |own: &Permission| own.entity == "info" && own.action == "read";
    let is_harmless =
        |own: &Permission| HARMLESS.contains(&(own.entity.as_str(), own.action.as_str()));
    permissions
        .iter()
        .filter(|own| !is_needed(own) && !is_info(own) && !is_harmless(own))
        .map(Permission::name)
        .collect()
}

fn restricted(conditions: &[String]) -> Option<String> {
    (!conditions.is_empty()).then(|| {
        let names = conditions.join(", ");
        format!("the macaroon has conditions of its own: {names}")
    })
}
