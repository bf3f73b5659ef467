//! What `farebox doctor` says about an LND: who it is, whether it is ready, and whether its macaroon
//! allows what is needed and nothing more.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::Deserialize;

use super::Lnd;
use super::answer::{self, Denial};
use super::macaroon::{Access, Need, Permission};
use crate::answer::printable;
use crate::{AccessReport, CheckAccess, Needs, NodeError};

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

#[async_trait]
impl CheckAccess for Lnd {
    async fn check_access(&self) -> Result<AccessReport, NodeError> {
        let mut inspection = Inspection {
            lnd: self,
            report: AccessReport::default(),
        };
        inspection.compare_permissions();
        let is_ready = inspection.introduce().await?;
        // A refusal of what is known to be missing says nothing about the rest.
        if is_ready && self.access.allows(&Need::RECEIVING) {
            // The node itself says whether it accepts the macaroon.
            let answer = self
                .node
                .client
                .get("/v1/invoices?num_max_invoices=1")
                .await?;
            answer::check(&answer)?;
        }
        Ok(inspection.report)
    }
}

/// A node that is asked, and what was found so far.
struct Inspection<'a> {
    lnd: &'a Lnd,
    report: AccessReport,
}

impl Inspection<'_> {
    fn compare_permissions(&mut self) {
        let (access, needs) = (&self.lnd.access, needed(self.lnd.node.needs));
        let names: BTreeSet<_> = access.missing(&needs).iter().map(Need::name).collect();
        self.report.missing.extend(names);
        match access {
            Access::Listed {
                permissions,
                conditions,
            } => {
                self.report.needless.extend(needless(permissions, &needs));
                self.report.remarks.extend(restricted(conditions));
            }
            Access::Unknown => {
                self.remark("the macaroon is of a format that does not show what it allows");
            }
        }
    }

    /// Asks for as much as the macaroon lets us see; whether the node is ready anyone may ask.
    async fn introduce(&mut self) -> Result<bool, NodeError> {
        let answer = self.lnd.node.client.get("/v1/getinfo").await?;
        match answer::read::<InfoJson>(&answer) {
            Ok(info) => self.describe(&info),
            Err(Denial::Failed(NodeError::Forbidden { .. })) => {
                "LND".clone_into(&mut self.report.identity);
            }
            Err(Denial::Failed(NodeError::Unavailable { .. })) => {
                "LND".clone_into(&mut self.report.identity);
                let answer = self.lnd.node.client.get("/v1/state").await?;
                self.remark(why_not_ready(&answer::read(&answer)?));
                return Ok(false);
            }
            Err(denial) => return Err(denial.into()),
        }
        Ok(true)
    }

    fn describe(&mut self, info: &InfoJson) {
        let version = info.version.split(' ').next().unwrap_or_default();
        let network = info.chains.first().map_or("", |chain| &chain.network);
        self.report.identity = printable(&format!("LND {version} {} ({network})", info.alias));
        let configured = self.lnd.node.rules.network;
        self.report.compare_network(network, configured);
        if !info.synced_to_chain {
            self.remark("it has not caught up with the chain");
        }
        if info.num_active_channels == 0 {
            self.remark("it has no active channel, so nobody can pay it");
        }
    }

    fn remark(&mut self, remark: &str) {
        self.report.remarks.push(remark.to_owned());
    }
}

fn needed(needs: Needs) -> Vec<Need> {
    let mut needed = Need::RECEIVING.to_vec();
    if needs.pay {
        needed.extend(Need::PAYING);
    }
    if needs.hold {
        needed.extend(Need::HOLDING);
    }
    needed
}

fn why_not_ready(state: &StateJson) -> &'static str {
    match state.state.as_str() {
        "LOCKED" => "its wallet is locked",
        "NON_EXISTING" => "it has no wallet yet",
        _ => "it is starting",
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
