//! What is remembered of invoices: hashes, so that none is sold twice, and where to ask about them.
//! Both memories are bounded and forget the oldest.

use farebox_core::PaymentHash;
use http::Uri;
use lru::LruCache;

/// How many payment hashes are remembered; an older one is still caught at its first claim, if its
/// invoice was paid.
const HASHES_KEPT: usize = 65_536;

/// For how many invoices it is remembered where to ask about them.
const VERIFY_URLS_KEPT: usize = 8_192;

pub(super) struct Issued {
    hashes: LruCache<PaymentHash, ()>,
    verify: LruCache<PaymentHash, Uri>,
}

/// This hash was there before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated;

impl Default for Issued {
    /// Unbounded as the map understands it, which would else take all its memory at once; the
    /// bounds are kept at insertion.
    fn default() -> Self {
        Self {
            hashes: LruCache::unbounded(),
            verify: LruCache::unbounded(),
        }
    }
}

impl Issued {
    pub(super) fn insert(
        &mut self,
        hash: PaymentHash,
        verify: Option<Uri>,
    ) -> Result<(), Repeated> {
        if self.hashes.contains(&hash) {
            return Err(Repeated);
        }
        put(&mut self.hashes, HASHES_KEPT, hash, ());
        if let Some(url) = verify {
            put(&mut self.verify, VERIFY_URLS_KEPT, hash, url);
        }
        Ok(())
    }

    pub(super) fn find_verify_url(&self, hash: &PaymentHash) -> Option<Uri> {
        self.verify.peek(hash).cloned()
    }
}

fn put<V>(memory: &mut LruCache<PaymentHash, V>, limit: usize, hash: PaymentHash, value: V) {
    memory.put(hash, value);
    if memory.len() > limit {
        memory.pop_lru();
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
