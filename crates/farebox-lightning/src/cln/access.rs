//! What `farebox doctor` learns from Core Lightning: who it is, and what the rune allows.

use async_trait::async_trait;
use serde_json::json;

use super::Cln;
use super::answer::InfoJson;
use super::refusal::{BAD_PARAMETERS, Refusal};
use crate::answer::{JudgeAnswer, printable};
use crate::lenient::Number;
use crate::{AccessReport, CheckAccess, NodeError};

/// What selling needs.
const NEEDED: [&str; 3] = ["invoice", "listinvoices", "waitanyinvoice"];

/// What paying out needs, besides one of `xpay` and `pay`.
const LIST_OF_PAYMENTS: &str = "listpays";

/// Reads the node's whole balance; nothing here asks for it, so a rune that allows it allows more
/// than is needed.
const NEEDLESS: &str = "listfunds";

#[async_trait]
impl CheckAccess for Cln {
    async fn check_access(&self) -> Result<AccessReport, NodeError> {
        let info: InfoJson = self.call("getinfo", &json!({})).await?.parse()?;
        let mut report = AccessReport {
            identity: identity(&info),
            ..AccessReport::default()
        };
        report.compare_network(&info.network, self.0.rules.network);
        report.remarks.extend(remarks(&info));
        for command in NEEDED {
            if !self.may(command).await? {
                report.missing.push(command.to_owned());
            }
        }
        self.check_paying(&mut report).await?;
        if self.may(NEEDLESS).await? {
            report.needless.push(NEEDLESS.to_owned());
        }
        Ok(report)
    }
}

impl Cln {
    async fn check_paying(&self, report: &mut AccessReport) -> Result<(), NodeError> {
        let pays = self.may("xpay").await? || self.may("pay").await?;
        report.compare_paying(pays, self.0.needs, "xpay or pay", "xpay or pay");
        if self.0.needs.pay && !self.may(LIST_OF_PAYMENTS).await? {
            report.missing.push(LIST_OF_PAYMENTS.to_owned());
        }
        Ok(())
    }

    /// The rune is checked before the parameters, and these have one that no command knows, so that
    /// none of them does anything.
    async fn may(&self, command: &str) -> Result<bool, NodeError> {
        let body = json!({ "farebox_asks_what_this_rune_allows": true });
        let path = format!("/v1/{command}");
        let answer = self.0.client.post_json(&path, &body).await?;
        let Some(refusal) = answer.refusal::<Refusal>() else {
            return Ok(true);
        };
        match (refusal.code, refusal.error(&answer)) {
            (_, NodeError::Forbidden { .. }) => Ok(false),
            (Some(BAD_PARAMETERS), _) => Ok(true),
            (_, NodeError::Refused { .. }) => Ok(false),
            (_, error) => Err(error),
        }
    }
}

fn identity(info: &InfoJson) -> String {
    let alias = info.alias.as_deref().unwrap_or_default();
    printable(&format!(
        "Core Lightning {}, {}, {alias} {}",
        info.version, info.network, info.id
    ))
}

fn remarks(info: &InfoJson) -> Vec<String> {
    let mut remarks = Vec::new();
    if info.num_active_channels == Some(Number(0)) {
        remarks.push("it has no channel in use: nobody can pay".to_owned());
    }
    let warnings = [&info.warning_bitcoind_sync, &info.warning_lightningd_sync];
    remarks.extend(warnings.into_iter().flatten().map(|text| printable(text)));
    remarks
}
