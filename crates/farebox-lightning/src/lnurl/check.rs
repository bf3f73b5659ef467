//! Whether an invoice was made for the metadata that the address showed. Pure.

use crate::{Description, InvoiceFault};

/// Whether invoices must carry the hash of the address's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataCommitment {
    /// As LUD-06 says: an invoice without it is refused.
    Required,
    /// For providers whose node cannot make such invoices: a plain description is let through, another
    /// hash is not.
    #[default]
    WhereGiven,
    /// For providers that hash another text than they show. Whoever receives the money makes the invoice,
    /// so a right hash proves no more than their word.
    Any,
}

impl MetadataCommitment {
    /// Whether an invoice of this description was made for this metadata.
    pub(super) fn check(
        self,
        metadata_hash: &[u8; 32],
        description: &Description,
    ) -> Result<(), InvoiceFault> {
        match (description, self) {
            (_, Self::Any) | (Description::Text(_), Self::WhereGiven) => Ok(()),
            (Description::Hash(hash), _) if hash == metadata_hash => Ok(()),
            _ => Err(InvoiceFault::DescriptionHash),
        }
    }
}
