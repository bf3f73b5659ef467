//! What is remembered of invoices: hashes, so that none is sold twice, and where to ask about them.
//! Both memories are bounded and forget the oldest.

use farebox_core::PaymentHash;
use http::Uri;

use crate::remembered::Remembered;

/// How many payment hashes are remembered; an older one is still caught at its first claim, if its
/// invoice was paid.
const HASHES_KEPT: usize = 65_536;

/// For how many invoices it is remembered where to ask about them.
const VERIFY_URLS_KEPT: usize = 8_192;

pub(super) struct Issued {
    hashes: Remembered<()>,
    verify: Remembered<Uri>,
}

/// This hash was there before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated;

impl Default for Issued {
    fn default() -> Self {
        Self {
            hashes: Remembered::new(HASHES_KEPT),
            verify: Remembered::new(VERIFY_URLS_KEPT),
        }
    }
}

impl Issued {
    pub(super) fn insert(
        &mut self,
        hash: PaymentHash,
        verify: Option<Uri>,
    ) -> Result<(), Repeated> {
        if self.hashes.find(&hash).is_some() {
            return Err(Repeated);
        }
        self.hashes.put(hash, ());
        if let Some(url) = verify {
            self.verify.put(hash, url);
        }
        Ok(())
    }

    pub(super) fn find_verify_url(&self, hash: &PaymentHash) -> Option<Uri> {
        self.verify.find(hash).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> PaymentHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        PaymentHash::from_bytes(bytes)
    }

    #[test]
    fn a_hash_is_taken_once() {
        let mut issued = Issued::default();
        assert_eq!(issued.insert(hash(1), None), Ok(()));
        assert_eq!(issued.insert(hash(1), None), Err(Repeated));
    }

    #[test]
    fn memory_stays_bounded_and_forgets_the_oldest_first() {
        let mut issued = Issued::default();
        for number in 0..=HASHES_KEPT {
            issued
                .insert(hash(number), Some(Uri::from_static("https://h/v")))
                .unwrap();
        }
        assert_eq!(issued.hashes.len(), HASHES_KEPT);
        assert_eq!(issued.verify.len(), VERIFY_URLS_KEPT);
        assert_eq!(issued.insert(hash(0), None), Ok(()));
        assert_eq!(issued.insert(hash(HASHES_KEPT), None), Err(Repeated));
    }
}
