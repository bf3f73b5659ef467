//! One pool of connections for each thread that calls. A connection belongs to the runtime that made
//! it; were it shared, every answer would have to wake one thread to wake another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More threads than this share lanes, which works as well, only slower.
const LANES: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
}

/// The same thing many times. Clones share it.
#[derive(Clone)]
pub(super) struct Lanes<T>(Arc<[T]>);

impl<T> Lanes<T> {
    pub(super) fn new(make: impl Fn() -> T) -> Self {
        Self((0..LANES).map(|_| make()).collect())
    }

    /// The one of this thread.
    pub(super) fn own(&self) -> &T {
        &self.0[LANE.with(|lane| *lane)]
    }
}
