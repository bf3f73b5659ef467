//! Counters of derived secrets, taken from the ledger in blocks: a number is used once, and one that was
//! taken and not used is never used.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use farebox_ecash::{Branch, KeysetId};
use farebox_ledger::{Ledger, LedgerError};

/// How many numbers are taken from the ledger at a time: a block that a restart loses is small beside 2^31.
const BLOCK: u32 = 1_000;

pub(super) struct Counters {
    ledger: Ledger,
    blocks: Mutex<HashMap<String, Range<u32>>>,
}

impl Counters {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            blocks: Mutex::default(),
        }
    }

    /// The first of `count` numbers in a row that nobody had before, for this branch of a keyset.
    pub(super) async fn take(
        &self,
        keyset: KeysetId,
        branch: Branch,
        count: u32,
    ) -> Result<u32, LedgerError> {
        let branch = match branch {
            Branch::Income => "income",
            Branch::Change => "change",
        };
        let name = format!("{keyset}/{branch}");
        if let Some(first) = self.take_from_block(&name, count) {
            return Ok(first);
        }
        let size = count.max(BLOCK);
        let first = self.ledger.take_numbers(&name, size).await?;
        let rest = first + count..first + size;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.insert(name, rest);
        Ok(first)
    }

    fn take_from_block(&self, name: &str, count: u32) -> Option<u32> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.get_mut(name)?;
        let first = block.start;
        let next = first.checked_add(count).filter(|next| *next <= block.end)?;
        block.start = next;
        Some(first)
    }
}
