//! Ids of requests and holds.

use std::sync::atomic::{AtomicU64, Ordering};

use farebox_core::{HoldId, RequestId, UnixMillis};

/// Random bits for ids that need to be unique, not secret: a SplitMix64 seeded by the system.
pub(crate) struct IdSource(AtomicU64);

impl IdSource {
    pub(crate) fn seeded() -> Result<Self, getrandom::Error> {
        Ok(Self(AtomicU64::new(getrandom::u64()?)))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn ten_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes()[..2]);
        bytes
    }

    pub(crate) fn request_id(&self, now: UnixMillis) -> RequestId {
        RequestId::new(now, self.ten_bytes())
    }

    pub(crate) fn hold_id(&self, now: UnixMillis) -> HoldId {
        HoldId::new(now, self.ten_bytes())
    }
}
