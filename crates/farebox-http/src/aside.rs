//! Work of more than 100 µs, such as reading a long request: beside the data threads, so that no
//! other client's stream waits for it.
//!
//! All data threads together share few places, as cores are few, and a bounded number of askers wait
//! for one. Who finds no room even to wait is told to come again.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// A longer request or answer, in bytes, is not read on a data thread.
pub const MAX_INLINE: usize = 32 * 1024;
/// How much is worked on at once.
const MAX_AT_ONCE: usize = 2;
/// How many wait or work.
const MAX_WAITING: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(MAX_AT_ONCE);
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// There is no room, or the work came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much work waits")]
pub struct Busy;

/// One who waits.
struct Waiter;

impl Waiter {
    fn enter() -> Result<Self, Busy> {
        let waiter = Self;
        let before = WAITING.fetch_add(1, Ordering::Relaxed);
        (before < MAX_WAITING).then_some(waiter).ok_or(Busy)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place where work can be done.
pub struct Place {
    _place: SemaphorePermit<'static>,
    _waiter: Waiter,
}

/// Waits for a place.
///
/// # Errors
/// [`Busy`] where too many wait already.
pub async fn place() -> Result<Place, Busy> {
    let waiter = Waiter::enter()?;
    let place = PLACES.acquire().await.map_err(|_| Busy)?;
    Ok(Place {
        _place: place,
        _waiter: waiter,
    })
}

impl Place {
    /// Has `work` done on another thread. Work that has begun goes on where nobody waits for it any
    /// more, and keeps its place until it is done.
    ///
    /// # Errors
    /// [`Busy`] where the work came to no end.
    pub async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(self);
            done
        });
        done.await.map_err(|_| Busy)
    }
}

/// Waits for a place, and has `work` done there.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    place().await?.work(work).await
}

/// Does some work on so many bytes: here, or aside where they are many.
pub async fn beside<T: Send + 'static>(
    length: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    if length <= MAX_INLINE {
        Ok(work())
    } else {
        aside(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// One test, as all of the process share the places.
    #[tokio::test]
    async fn work_is_done_elsewhere_a_few_at_a_time_and_too_much_of_it_is_refused() {
        let here = std::thread::current().id();
        let there = aside(|| std::thread::current().id()).await.unwrap();
        assert_ne!(there, here);
        let (end, wait) = mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let blocked = move || {
            let wait = std::sync::Arc::clone(&wait);
            aside(move || wait.lock().unwrap().recv().is_err())
        };
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| tokio::spawn(blocked())).collect();
        while WAITING.load(Ordering::Relaxed) < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(aside(|| ()).await, Err(Busy));
        drop(end);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(true));
        }
        assert_eq!(aside(|| 7).await, Ok(7));
    }
}
