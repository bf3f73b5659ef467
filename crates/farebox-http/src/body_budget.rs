//! Bodies that must be known whole before they are sent on, of requests and of answers: how they are
//! read, and how much memory all of them together may take.
//!
//! A body is hashed as it comes in. It is kept only where it will be forwarded or looked into, and
//! then every byte of it is leased from one budget of the process; a body that is only hashed, as
//! that of an unpaid request, takes no memory whatever its length. Who sends too slowly is given
//! up. Bodies that stream straight through never come here. [`Shares`] are what each client may
//! take of a budget.

mod shares;

use std::error::Error as StdError;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

pub use shares::{Holder, Shares};

/// The least that is leased for a body at once, in bytes.
const MIN_LEASE_BYTES: usize = 4 * 1024;

/// A number of bytes that all who share it draw on and together may not exceed. It may be a part of
/// a larger one: what is leased of the part is leased of the whole.
#[derive(Debug)]
pub struct ByteBudget {
    in_use: AtomicUsize,
    limit: usize,
    whole: Option<Arc<Self>>,
}

/// Bytes taken from a [`ByteBudget`]; dropping the lease gives them back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

/// The budget has too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the byte budget is used up")]
pub struct BudgetExhausted;

/// Whether the bytes of a body are wanted, or only their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Both.
    Bytes,
    /// Only the hash: nothing is accumulated and nothing leased.
    HashOnly,
}

/// How long a sender may take: `grace`, and a second more for each `min_bytes_per_second` that
/// have arrived, but never more than `total`. A trickle therefore ends soon after the grace,
/// while an honest slow line is given its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time before any progress is expected.
    pub grace: Duration,
    /// The slowest progress that earns more time, in bytes per second; zero counts as one.
    pub min_bytes_per_second: u32,
    /// Time after which no progress helps.
    pub total: Duration,
}

/// A whole body.
#[derive(Debug)]
pub struct ReadBody {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many they are.
    pub length: u64,
    /// Its bytes, unless only the hash was wanted.
    pub bytes: Option<Bytes>,
    /// Its trailers, if any came, with its bytes.
    pub trailers: Option<HeaderMap>,
    /// What `bytes` take from the budget; keep it for as long as them.
    pub lease: Lease,
}

/// Why there is no whole body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too many bodies are held at the moment.
    #[error("too many request bodies are held in memory")]
    BudgetExhausted(#[from] BudgetExhausted),
    /// The sender was too slow.
    #[error("the body came too slowly")]
    TimedOut,
    /// The sender broke off, or sent what is no body.
    #[error("the body broke off")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
}

impl ReadBody {
    /// A body that was kept elsewhere; nothing of it is on the budget.
    pub fn whole(bytes: Bytes) -> Self {
        let no_budget = ByteBudget::new(0);
        Self {
            sha256: Sha256::digest(&bytes).into(),
            length: bytes.len() as u64,
            bytes: Some(bytes),
            trailers: None,
            lease: no_budget.lease(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            min_bytes_per_second: 16 * 1024,
            total: Duration::from_secs(120),
        }
    }
}

impl Patience {
    fn deadline(self, started_at: Instant, received: usize) -> Instant {
        let rate = u64::from(self.min_bytes_per_second.max(1));
        let millis = (received as u64).saturating_mul(1000) / rate;
        let earned = self.grace.saturating_add(Duration::from_millis(millis));
        started_at + earned.min(self.total)
    }
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            in_use: AtomicUsize::new(0),
            limit,
            whole: None,
        })
    }

    /// A part of this budget, of which it takes at most `limit` bytes.
    #[must_use]
    pub fn part(self: &Arc<Self>, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            in_use: AtomicUsize::new(0),
            limit: limit.min(self.limit),
            whole: Some(Arc::clone(self)),
        })
    }

    /// Bytes leased at the moment.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    fn take(&self, more: usize) -> Result<(), BudgetExhausted> {
        let grown = |used: usize| used.checked_add(more).filter(|sum| *sum <= self.limit);
        self.in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .map_err(|_| BudgetExhausted)?;
        let Some(whole) = &self.whole else {
            return Ok(());
        };
        whole.take(more).inspect_err(|_| {
            self.in_use.fetch_sub(more, Ordering::Relaxed);
        })
    }

    fn give_back(&self, bytes: usize) {
        self.in_use.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// A lease of nothing, to be grown.
    #[must_use]
    pub fn lease(self: &Arc<Self>) -> Lease {
        Lease {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    /// A lease of so many bytes, or of an eighth of a small budget, for the beginning of what may
    /// become longer: only where no more than half is taken, so that there is room for what has begun.
    ///
    /// # Errors
    /// [`BudgetExhausted`] when half of the budget has fewer left.
    pub fn begin(self: &Arc<Self>, bytes: usize) -> Result<Lease, BudgetExhausted> {
        let bytes = bytes.min(self.limit / 8);
        if self.in_use().saturating_add(bytes) > self.limit / 2 {
            return Err(BudgetExhausted);
        }
        self.reserve(bytes)
    }

    /// A lease of so many bytes.
    ///
    /// # Errors
    /// [`BudgetExhausted`] when the budget has fewer left.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Lease, BudgetExhausted> {
        let mut lease = self.lease();
        lease.grow(bytes).map(|()| lease)
    }
}

impl Lease {
    /// Leases `more` bytes on top; takes nothing where they are not all there.
    ///
    /// # Errors
    /// [`BudgetExhausted`] when the budget has less left.
    pub fn grow(&mut self, more: usize) -> Result<(), BudgetExhausted> {
        self.budget.take(more)?;
        self.bytes += more;
        Ok(())
    }

    /// Hands over what is leased; nothing is left here.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            budget: Arc::clone(&self.budget),
            bytes: std::mem::take(&mut self.bytes),
        }
    }

    /// Gives back all above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.budget.give_back(excess);
        self.bytes -= excess;
    }

    /// Bytes leased.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// `body`, which gives back what it was leased when the last part of it is gone.
    #[must_use]
    pub fn keep(mut self, body: Bytes) -> Bytes {
        struct Leased {
            body: Bytes,
            _lease: Lease,
        }

        impl AsRef<[u8]> for Leased {
            fn as_ref(&self) -> &[u8] {
                &self.body
            }
        }

        self.shrink_to(body.len());
        let _lease = self;
        Bytes::from_owner(Leased { body, _lease })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Reads all of `body`, of at most `limit` bytes, and hashes it. What was read of a body that
/// fails is given back at once; nothing else is left behind.
///
/// # Errors
/// [`BodyError`], as soon as it is certain: a declared length above the limit before the first
/// byte.
pub async fn read_body<B>(
    body: B,
    limit: usize,
    patience: Patience,
    budget: &Arc<ByteBudget>,
    keep: Keep,
) -> Result<ReadBody, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut reading = Reading::start(limit, budget.lease(), keep);
    let mut hasher = Sha256::new();
    let hash = |data: &[u8]| hasher.update(data);
    reading.collect(body, patience, hash).await?;
    let (length, trailers) = (reading.received as u64, reading.trailers.take());
    let (bytes, lease) = reading.finish();
    Ok(ReadBody {
        sha256: hasher.finalize().into(),
        length,
        bytes: (keep == Keep::Bytes).then_some(bytes),
        trailers,
        lease,
    })
}

/// Reads all of `body`, of at most `limit` bytes, where no payment is bound to them: they are not
/// hashed. What was reserved for them is used first; the lease that comes back is for the memory that
/// they take.
///
/// # Errors
/// As of [`read_body`].
pub async fn read_bytes<B>(
    body: B,
    limit: usize,
    patience: Patience,
    reserved: Lease,
) -> Result<(Bytes, Lease), BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut reading = Reading::start(limit, reserved, Keep::Bytes);
    reading.collect(body, patience, |_| {}).await?;
    Ok(reading.finish())
}

/// A body on its way in.
struct Reading {
    limit: usize,
    keep: Keep,
    received: usize,
    kept: Vec<u8>,
    trailers: Option<HeaderMap>,
    lease: Lease,
}

impl Reading {
    fn start(limit: usize, lease: Lease, keep: Keep) -> Self {
        Self {
            limit,
            keep,
            received: 0,
            kept: Vec::new(),
            trailers: None,
            lease,
        }
    }

    /// Takes the body in to its end; `see` is shown all of its data.
    async fn collect<B>(
        &mut self,
        body: B,
        patience: Patience,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), BodyError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut body = pin!(body);
        self.expect(body.size_hint().lower())?;
        let started_at = Instant::now();
        while !body.is_end_stream() {
            let deadline = patience.deadline(started_at, self.received);
            let frame = timeout_at(deadline, body.frame()).await;
            let frame = match frame.map_err(|_| BodyError::TimedOut)? {
                Some(frame) => frame.map_err(|error| BodyError::Broken(error.into()))?,
                None => break,
            };
            match frame.into_data() {
                Ok(data) => {
                    self.take(&data)?;
                    see(&data);
                }
                Err(frame) if self.keep == Keep::Bytes => {
                    self.trailers = frame.into_trailers().ok();
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses a body that says that it is too long. Its memory is still leased only as it comes,
    /// so that a sender cannot reserve what it never sends.
    fn expect(&self, length: u64) -> Result<(), BodyError> {
        if length > self.limit as u64 {
            Err(BodyError::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let received = self.received.saturating_add(data.len());
        self.expect(received as u64)?;
        if self.keep == Keep::Bytes {
            self.make_room(data.len())?;
            // Copied, as a slice would keep a read buffer of unknown size alive.
            self.kept.extend_from_slice(data);
        }
        self.received = received;
        Ok(())
    }

    /// Grows the buffer by doubling, never above the limit, and leases what it takes first.
    fn make_room(&mut self, more: usize) -> Result<(), BudgetExhausted> {
        let needed = self.kept.len() + more;
        if needed <= self.kept.capacity() {
            return Ok(());
        }
        let doubled = self
            .kept
            .capacity()
            .saturating_mul(2)
            .max(MIN_LEASE_BYTES)
            .min(self.limit);
        let capacity = doubled.max(needed);
        self.lease
            .grow(capacity.saturating_sub(self.lease.bytes()))?;
        self.kept.reserve_exact(capacity - self.kept.len());
        Ok(())
    }

    fn finish(mut self) -> (Bytes, Lease) {
        self.kept.shrink_to_fit();
        self.lease.shrink_to(self.kept.len());
        (self.kept.into(), self.lease)
    }
}

#[cfg(test)]
mod tests;
