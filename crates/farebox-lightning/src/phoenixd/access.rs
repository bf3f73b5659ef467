//! What `farebox doctor` learns from phoenixd.

use async_trait::async_trait;

use super::Phoenixd;
use super::answer::InfoJson;
use crate::answer::{JudgeAnswer, printable};
use crate::{AccessReport, CheckAccess, NodeError};

/// Less room than this to receive, in satoshis, is worth a remark.
const LITTLE_ROOM: u64 = 10_000;

#[async_trait]
impl CheckAccess for Phoenixd {
    async fn check_access(&self) -> Result<AccessReport, NodeError> {
        let info: InfoJson = self.node.client.get("/getinfo").await?.json()?;
        let mut report = AccessReport {
            identity: identity(&info),
            ..AccessReport::default()
        };
        let chain = info.chain.as_deref().unwrap_or_default();
        report.compare_network(chain, self.node.rules.network);
        report.remarks.extend(why_payments_cost(&info));
        self.check_paying(&mut report).await?;
        Ok(report)
    }
}

impl Phoenixd {
    /// A payment without an invoice is refused by every version before anything happens; the
    /// limited password does not get that far.
    async fn check_paying(&self, report: &mut AccessReport) -> Result<(), NodeError> {
        let answer = self.node.client.post_form("/payinvoice", &[]).await?;
        let pays = match answer.check_status() {
            Err(NodeError::Forbidden { .. }) => false,
            Err(error @ NodeError::Unavailable { .. }) => return Err(error),
            _ => true,
        };
        let needless = "payinvoice: http-password-limited-access is enough";
        let missing = "payinvoice: the password is the limited one; take http-password";
        report.compare_paying(pays, self.node.needs, needless, missing);
        Ok(())
    }
}

fn identity(info: &InfoJson) -> String {
    let version = info.version.as_deref().unwrap_or("of unknown version");
    let chain = info.chain.as_deref().unwrap_or("unknown chain");
    printable(&format!(
        "phoenixd {version}, {chain}, node {}",
        info.node_id
    ))
}

/// Whether the next payments pay for a channel, or for a larger one.
fn why_payments_cost(info: &InfoJson) -> Option<String> {
    if info.channels.is_empty() {
        return Some("it has no channel yet: the first payments pay for opening one".to_owned());
    }
    let room = info
        .channels
        .iter()
        .filter_map(|channel| channel.inbound_liquidity_sat.map(|it| it.0))
        .fold(0_u64, u64::saturating_add);
    (room < LITTLE_ROOM)
        .then(|| format!("it can receive {room} sat more; then payments pay for a larger channel"))
}
