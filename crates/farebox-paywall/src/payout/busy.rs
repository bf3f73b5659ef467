//! What is being worked on in this process, so that nobody else begins the same.
//!
//! One payout is never sent, or asked about, by two tasks at once: a refusal that is certain for
//! one of them would say nothing about the other.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A set of things in work.
#[derive(Debug)]
pub(super) struct Busy<K: Eq + Hash + Copy>(Arc<Mutex<HashSet<K>>>);

/// The right to work on one of them; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Working<K: Eq + Hash + Copy> {
    key: K,
    all: Arc<Mutex<HashSet<K>>>,
}

impl<K: Eq + Hash + Copy> Default for Busy<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Copy> Busy<K> {
    /// None if somebody works on it already.
    pub(super) fn begin(&self, key: K) -> Option<Working<K>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key).then(|| Working {
            key,
            all: Arc::clone(&self.0),
        })
    }
}

impl<K: Eq + Hash + Copy> Drop for Working<K> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let busy = Busy::default();
        let first = busy.begin(1).unwrap();
        assert!(busy.begin(1).is_none());
        assert!(busy.begin(2).is_some());
        drop(first);
        assert!(busy.begin(1).is_some());
    }
}
