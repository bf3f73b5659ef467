//! What `farebox doctor` learns from the wallet: who it is, what this connection may do, and which
//! relays answer.

use serde_json::json;

use super::hub::PAYMENT_RECEIVED;
use super::payments::PAY_INVOICE;
use super::reply::{Balance, WalletInfo};
use super::{LOOKUP_INVOICE, MAKE_INVOICE, Nwc};
use crate::rest::printable;
use crate::{AccessReport, NodeError};

const GET_INFO: &str = "get_info";
const GET_BALANCE: &str = "get_balance";

/// What nothing is sold without.
const NEEDED: [&str; 2] = [MAKE_INVOICE, LOOKUP_INVOICE];

/// What money leaves by and Farebox never uses.
const SPENDING: [&str; 4] = [
    "multi_pay_invoice",
    "pay_keysend",
    "multi_pay_keysend",
    "sign_message",
];

impl Nwc {
    pub(super) async fn report_access(&self) -> Result<AccessReport, NodeError> {
        let info: WalletInfo = self.fields(self.ask(GET_INFO, json!({})).await?)?;
        let offered = |method: &&&str| info.methods.iter().any(|offered| offered == **method);
        let mut remarks = self.remarks(&info);
        remarks.extend(self.balance_remark().await);
        Ok(AccessReport {
            identity: self.identity(&info),
            missing: own(NEEDED.iter().filter(|method| !offered(method))),
            needless: own(SPENDING.iter().filter(offered)),
            remarks,
        })
    }

    fn identity(&self, info: &WalletInfo) -> String {
        let alias = info.alias.as_deref().unwrap_or("without a name");
        let network = info.network.as_deref().unwrap_or("of an unsaid network");
        format!(
            "{} ({}, {})",
            self.host(),
            printable(alias),
            printable(network)
        )
    }

    fn remarks(&self, info: &WalletInfo) -> Vec<String> {
        let mut remarks = Vec::new();
        if !info.methods.iter().any(|method| method == PAY_INVOICE) {
            remarks.push("pay_invoice is not allowed: nothing can be paid back".to_owned());
        }
        if !info
            .notifications
            .iter()
            .any(|kind| kind == PAYMENT_RECEIVED)
        {
            remarks.push("it does not notify of payments, so they are looked up".to_owned());
        }
        if let Some(network) = info.network.as_deref()
            && network != self.network_name()
        {
            remarks.push(format!(
                "it is on {}, and the configuration says {}",
                printable(network),
                self.network_name()
            ));
        }
        remarks.extend(self.silent_relays());
        remarks
    }

    async fn balance_remark(&self) -> Option<String> {
        let balance: Balance = self
            .fields(self.ask(GET_BALANCE, json!({})).await.ok()?)
            .ok()?;
        Some(format!("its balance is {} msat", balance.balance))
    }

    fn silent_relays(&self) -> Vec<String> {
        let Ok(session) = self.session() else {
            return Vec::new();
        };
        let relays = self.relays().iter().enumerate();
        let silent = relays.filter_map(|(relay, url)| {
            let error = session.links.failure(relay)?;
            Some(format!("relay {} is not connected: {error}", url.host))
        });
        silent.collect()
    }
}

fn own<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    names.map(|name| (*name).to_owned()).collect()
}
