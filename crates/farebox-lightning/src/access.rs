//! What `farebox doctor` learns about a backend.

use async_trait::async_trait;

use crate::answer::printable;
use crate::{Network, NodeError};

/// A backend that can say what its credentials allow, for `farebox doctor`.
#[async_trait]
pub trait CheckAccess: Send + Sync {
    /// Asks the backend who it is and what we may do with it.
    ///
    /// # Errors
    /// [`NodeError`] when it does not answer.
    async fn check_access(&self) -> Result<AccessReport, NodeError>;
}

/// What is configured, and so what a credential has to allow. Receiving always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Refunds and payouts.
    pub pay: bool,
    /// Calls that are held until they are answered.
    pub hold: bool,
}

/// What `farebox doctor` shows about a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessReport {
    /// Who it is: software, version, alias, network, as far as it says.
    pub identity: String,
    /// What is needed for what is configured, and not allowed.
    pub missing: Vec<String>,
    /// What is allowed and not needed.
    pub needless: Vec<String>,
    /// What else the operator should know: not synchronised, no channel, too little to receive.
    pub remarks: Vec<String>,
}

impl AccessReport {
    /// Says whether a credential that may pay has to, and one that may not.
    pub(crate) fn compare_paying(
        &mut self,
        pays: bool,
        needs: Needs,
        needless: &str,
        missing: &str,
    ) {
        if pays && !needs.pay {
            self.needless.push(needless.to_owned());
        }
        if !pays && needs.pay {
            self.missing.push(missing.to_owned());
        }
    }

    /// Remarks that the backend is on another network than the configured one, where it says on
    /// which: every kind has names of its own for them.
    pub(crate) fn compare_network(&mut self, named: &str, configured: Network) {
        let network = match named {
            "bitcoin" | "mainnet" => Some(Network::Mainnet),
            "testnet" | "testnet3" | "testnet4" => Some(Network::Testnet),
            "signet" => Some(Network::Signet),
            "regtest" => Some(Network::Regtest),
            "simnet" => Some(Network::Simnet),
            _ => None,
        };
        if !named.is_empty() && network != Some(configured) {
            let named = printable(named);
            self.remarks.push(format!(
                "it is on {named}, and the configuration says {configured}"
            ));
        }
    }
}
