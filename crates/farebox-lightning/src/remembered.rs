//! What is remembered by payment hash, up to a number; the oldest is forgotten first.

use farebox_core::PaymentHash;
use lru::LruCache;

pub(crate) struct Remembered<V> {
    /// Unbounded as the map understands it, which would else take all its memory at once.
    entries: LruCache<PaymentHash, V>,
    most: usize,
}

impl<V> Remembered<V> {
    /// Nothing yet, and never more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        let entries = LruCache::unbounded();
        Self { entries, most }
    }

    pub(crate) fn find(&self, hash: &PaymentHash) -> Option<&V> {
        self.entries.peek(hash)
    }

    pub(crate) fn put(&mut self, hash: PaymentHash, value: V) {
        self.entries.put(hash, value);
        if self.entries.len() > self.most {
            self.entries.pop_lru();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_bounded_and_forgets_the_oldest_first() {
        let hash = |number| PaymentHash::from_bytes([number; 32]);
        let mut remembered = Remembered::new(2);
        for number in 1..=3 {
            remembered.put(hash(number), number);
        }
        assert_eq!(remembered.len(), 2);
        let found = [1, 2, 3].map(|number| remembered.find(&hash(number)).copied());
        assert_eq!(found, [None, Some(2), Some(3)]);
    }
}
