//! What `farebox doctor` learns from the wallet: who it is, what this connection may do, and which
//! relays answer.

use async_trait::async_trait;
use serde_json::json;

use super::hub::PAYMENT_RECEIVED;
use super::payments::PAY_INVOICE;
use super::reply::{Balance, WalletInfo};
use super::{LOOKUP_INVOICE, MAKE_INVOICE, Nwc};
use crate::answer::printable;
use crate::lenient::Number;
use crate::{AccessReport, CheckAccess, NodeError};

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

#[async_trait]
impl CheckAccess for Nwc {
    async fn check_access(&self) -> Result<AccessReport, NodeError> {
        let info: WalletInfo = self.wallet.ask(GET_INFO, json!({})).await?;
        let offered = |method: &&&str| info.methods.iter().any(|offered| offered == **method);
        let mut report = AccessReport {
            identity: self.identity(&info),
            missing: own(NEEDED.iter().filter(|method| !offered(method))),
            needless: own(SPENDING.iter().filter(offered)),
            remarks: remarks(&info),
        };
        let network = info.network.as_deref().unwrap_or_default();
        report.compare_network(network, self.rules.network);
        report.remarks.extend(self.silent_relays());
        let balance: Result<Balance, _> = self.wallet.ask(GET_BALANCE, json!({})).await;
        if let Ok(Balance {
            balance: Number(balance),
        }) = balance
        {
            report
                .remarks
                .push(format!("its balance is {balance} msat"));
        }
        Ok(report)
    }
}

impl Nwc {
    fn identity(&self, info: &WalletInfo) -> String {
        let host = self.wallet.host();
        let alias = info.alias.as_deref().unwrap_or("without a name");
        let network = info.network.as_deref().unwrap_or("of an unsaid network");
        format!("{host} ({}, {})", printable(alias), printable(network))
    }

    fn silent_relays(&self) -> Vec<String> {
        let Ok(session) = self.wallet.session() else {
            return Vec::new();
        };
        let relays = self.wallet.sessions.relays().iter().enumerate();
        let silent = relays.filter_map(|(relay, url)| {
            let error = session.links.failure(relay)?;
            Some(format!("relay {} is not connected: {error}", url.host))
        });
        silent.collect()
    }
}

fn remarks(info: &WalletInfo) -> Vec<String> {
    let lists = |list: &[String], wanted: &str| list.iter().any(|name| name == wanted);
    let mut remarks = Vec::new();
    if !lists(&info.methods, PAY_INVOICE) {
        remarks.push("pay_invoice is not allowed: nothing can be paid back".to_owned());
    }
    if !lists(
        info.notifications.as_deref().unwrap_or_default(),
        PAYMENT_RECEIVED,
    ) {
        remarks.push("it does not notify of payments, so they are looked up".to_owned());
    }
    remarks
}

fn own<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    names.map(|name| (*name).to_owned()).collect()
}
