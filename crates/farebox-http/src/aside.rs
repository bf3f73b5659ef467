//! Work of more than 100 µs, such as reading a long request: beside the data threads, so that no
//! other client's stream waits for it.
//!
//! All data threads together share few places, as cores are few, and a bounded number of askers wait
//! for one. Who finds no room even to wait is told to come again. Strangers never have all of the
//! places, and each client has a share of the room to wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::body_budget::Holder;
use crate::limits::{self, NoPlace, Places};

/// A longer request or answer, in bytes, is not read on a data thread.
pub const MAX_INLINE: usize = 32 * 1024;
/// How much is worked on at once.
const MAX_AT_ONCE: usize = 2;
/// How much of strangers is worked on at once.
const MAX_OF_STRANGERS: usize = 1;
/// How many wait or work; and of requests, how many of all clients do.
const MAX_WAITING: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(MAX_AT_ONCE);
static OF_STRANGERS: Semaphore = Semaphore::const_new(MAX_OF_STRANGERS);
static WAITING: AtomicUsize = AtomicUsize::new(0);
static CLIENTS: LazyLock<Arc<Places>> = LazyLock::new(Arc::default);

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
    _client: Option<ClientPlace>,
}

/// The share of a client, for as long as its request is worked on.
struct ClientPlace {
    _share: limits::Place,
    _of_strangers: Option<SemaphorePermit<'static>>,
}

impl ClientPlace {
    async fn of(holder: Holder) -> Result<Self, Busy> {
        let share = CLIENTS.take(MAX_WAITING as u64, holder, 1);
        let share = share.map_err(|NoPlace| Busy)?;
        let of_strangers = match holder {
            Holder::Stranger(_) => Some(OF_STRANGERS.acquire().await.map_err(|_| Busy)?),
            Holder::Payer(_) => None,
        };
        Ok(Self {
            _share: share,
            _of_strangers: of_strangers,
        })
    }
}

/// Waits for a place for what was paid for, such as an answer.
///
/// # Errors
/// [`Busy`] where too many wait already.
pub async fn place() -> Result<Place, Busy> {
    let waiter = Waiter::enter()?;
    let place = PLACES.acquire().await.map_err(|_| Busy)?;
    Ok(Place {
        _place: place,
        _waiter: waiter,
        _client: None,
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

/// Waits for a place, and has `work` done there: on a request from the share of its `client`, or, without
/// one, on what was paid for.
///
/// # Errors
/// [`Busy`] where too many wait already, or too many of this client.
pub async fn aside<T: Send + 'static>(
    client: Option<Holder>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    let client = match client {
        Some(holder) => Some(ClientPlace::of(holder).await?),
        None => None,
    };
    let place = Place {
        _client: client,
        ..place().await?
    };
    place.work(work).await
}

/// The same on so many bytes: here, or aside where they are many.
///
/// # Errors
/// As of [`aside`].
pub async fn beside<T: Send + 'static>(
    client: Option<Holder>,
    length: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Busy> {
    if length <= MAX_INLINE {
        Ok(work())
    } else {
        aside(client, work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::client_addr::AddressPrefix;

    /// One test, as all of the process share the places.
    #[tokio::test]
    async fn work_is_done_elsewhere_a_few_at_a_time_and_too_much_of_it_is_refused() {
        let here = std::thread::current().id();
        let there = aside(None, || std::thread::current().id()).await.unwrap();
        assert_ne!(there, here);
        let (end, wait) = mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let until_the_end = move || {
            let wait = std::sync::Arc::clone(&wait);
            move || wait.lock().unwrap().recv().is_err()
        };
        let stranger = |network| Holder::Stranger(AddressPrefix::V4([192, 0, network]));
        let strangers: Vec<_> = (0..MAX_WAITING)
            .map(|count| {
                aside(
                    Some(stranger(u8::try_from(count % 4).unwrap())),
                    until_the_end(),
                )
            })
            .map(tokio::spawn)
            .collect();
        while CLIENTS.in_use() < 60 {
            tokio::task::yield_now().await;
        }
        assert_eq!(aside(None, || 6).await, Ok(6), "strangers leave a place");
        let blocked = move || aside(None, until_the_end());
        // One of the strangers is at work.
        let waiting: Vec<_> = (1..MAX_WAITING).map(|_| tokio::spawn(blocked())).collect();
        while WAITING.load(Ordering::Relaxed) < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(aside(None, || ()).await, Err(Busy));
        drop(end);
        let mut refused = 0;
        for one in strangers {
            refused += usize::from(one.await.unwrap() == Err(Busy));
        }
        assert!((1..MAX_WAITING).contains(&refused), "{refused}");
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(true));
        }
        assert_eq!(aside(None, || 7).await, Ok(7));
    }
}
