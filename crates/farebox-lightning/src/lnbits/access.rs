//! What `farebox doctor` learns from LNbits: whose wallet the keys open, and whether they are the
//! right ones.

use super::Lnbits;
use super::answer::WalletJson;
use super::refusal::Refusal;
use crate::rest::{RestClient, printable};
use crate::{AccessReport, NodeError};

impl Lnbits {
    pub(super) async fn report(&self) -> Result<AccessReport, NodeError> {
        let wallet = wallet(&self.client).await?;
        let mut report = AccessReport {
            identity: printable(&format!("LNbits, wallet {}", wallet.name)),
            ..AccessReport::default()
        };
        if wallet.id.is_some() {
            let needless = "`key` is an admin key, which may pay; give the invoice key";
            report.needless.push(needless.to_owned());
        }
        match &self.payer {
            Some(payer) if wallet_of_admin(&payer.client).await?.is_none() => {
                let missing = "`admin_key` is not an admin key: it cannot pay";
                report.missing.push(missing.to_owned());
            }
            Some(_) if !self.needs.pay => {
                report
                    .needless
                    .push("`admin_key`: nothing here pays".to_owned());
            }
            None if self.needs.pay => {
                report
                    .missing
                    .push("`admin_key`: refunds have to be paid".to_owned());
            }
            _ => {}
        }
        Ok(report)
    }
}

/// The id that only an admin key is told.
async fn wallet_of_admin(client: &RestClient) -> Result<Option<String>, NodeError> {
    Ok(wallet(client).await?.id)
}

async fn wallet(client: &RestClient) -> Result<WalletJson, NodeError> {
    let answer = client.get("/api/v1/wallet").await?;
    match Refusal::of(&answer) {
        Some(refusal) => Err(refusal.error(&answer)),
        None => answer.parse(),
    }
}
