//! What `farebox doctor` learns from LNbits: whose wallet the keys open, and whether they are the
//! right ones.

use super::answer::WalletJson;
use super::{Lnbits, refusal};
use crate::answer::printable;
use crate::{AccessReport, CheckAccess, NodeError};
use async_trait::async_trait;
use farebox_http::client::TrustedClient;

#[async_trait]
impl CheckAccess for Lnbits {
    async fn check_access(&self) -> Result<AccessReport, NodeError> {
        let own = wallet(&self.node.client).await?;
        let mut report = AccessReport {
            identity: printable(&format!("LNbits, wallet {}", own.name)),
            ..AccessReport::default()
        };
        if own.id.is_some() {
            let needless = "`key` is an admin key, which may pay; give the invoice key";
            report.needless.push(needless.to_owned());
        }
        match &self.payer {
            Some(payer) if wallet(&payer.client).await?.id.is_none() => {
                let missing = "`admin_key` is not an admin key: it cannot pay";
                report.missing.push(missing.to_owned());
            }
            payer => {
                let needless = "`admin_key`: nothing here pays";
                let missing = "`admin_key`: refunds have to be paid";
                report.compare_paying(payer.is_some(), self.node.needs, needless, missing);
            }
        }
        Ok(report)
    }
}

/// Only an admin key is told the wallet's id.
async fn wallet(client: &TrustedClient) -> Result<WalletJson, NodeError> {
    refusal::read(&client.get("/api/v1/wallet").await?)
}
