//! Whether an invoice is the one that was asked for. Pure.

use std::time::Duration;

use farebox_core::{Msat, UnixMillis};

use crate::{Description, Invoice, InvoiceFault, Network};

/// How long an invoice must still be payable: less, and a buyer pays into the void.
const MIN_LIFE: Duration = Duration::from_secs(30);

/// Whether invoices must carry the hash of the address's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataCommitment {
    /// As LUD-06 says: an invoice without it is refused.
    #[default]
    Required,
    /// For providers whose node cannot make such invoices: a plain description is let through, a
    /// wrong hash never.
    WhereGiven,
}

pub(super) struct Expected {
    pub(super) amount: Msat,
    pub(super) network: Network,
    pub(super) metadata_hash: [u8; 32],
    pub(super) commitment: MetadataCommitment,
}

impl Expected {
    pub(super) fn check(&self, invoice: &Invoice, now: UnixMillis) -> Result<(), InvoiceFault> {
        if invoice.amount != self.amount {
            return Err(InvoiceFault::Amount {
                asked: self.amount,
                found: invoice.amount,
            });
        }
        if invoice.network != self.network {
            return Err(InvoiceFault::Network {
                asked: self.network,
                found: invoice.network,
            });
        }
        if invoice.expires_at < now.plus(MIN_LIFE) {
            return Err(InvoiceFault::Expired);
        }
        self.check_metadata(&invoice.description)
    }

    fn check_metadata(&self, description: &Description) -> Result<(), InvoiceFault> {
        match (description, self.commitment) {
            (Description::Hash(hash), _) if *hash == self.metadata_hash => Ok(()),
            (Description::Text(_), MetadataCommitment::WhereGiven) => Ok(()),
            _ => Err(InvoiceFault::DescriptionHash),
        }
    }
}
