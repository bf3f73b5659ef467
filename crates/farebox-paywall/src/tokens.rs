//! Counting tokens by the vocabulary of a model, for answers that do not tell their usage.
//!
//! One thread counts, started when the first such answer ends; it loads a vocabulary when it is
//! needed, and forgets it when it was not for a while. No byte of an answer waits for it, only its
//! settlement does. Whatever goes wrong here (the queue is full, the thread cannot be made or dies,
//! the process ends), the asker is told so at once and settles by a token for four bytes of words: money is
//! never forgotten.

mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farebox_meter::request::Prompt;

use vocabulary::Loaded;
pub use vocabulary::Vocabulary;

/// Answers that wait to be counted; further ones are charged by their bytes.
const MAX_WAITING: usize = 256;
/// After so long without use the vocabularies, some 80 MB, are given back.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// How long a process that ends waits for its last answers to be counted.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Counts tokens elsewhere.
pub struct TokenCounter {
    service: Mutex<Service>,
    is_closing: Arc<AtomicBool>,
}

enum Service {
    NotStarted,
    Running(SyncSender<Job>, JoinHandle<()>),
    Closed,
}

/// What is to be counted.
pub struct Uncounted {
    /// By which vocabulary.
    pub vocabulary: Vocabulary,
    /// The request, where its text is known.
    pub prompt: Option<Arc<Prompt>>,
    /// The answer.
    pub text: String,
}

/// The tokens of what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Of the request, where its text was known.
    pub input: Option<u64>,
    /// Of the answer.
    pub output: u64,
}

type Done = Box<dyn FnOnce(Option<Counted>) + Send>;

/// One count. Whatever becomes of it, its asker hears of it, once.
struct Job {
    uncounted: Uncounted,
    done: Option<Done>,
}

impl Job {
    fn tell(&mut self, counted: Option<Counted>) {
        if let Some(done) = self.done.take() {
            done(counted);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.tell(None);
    }
}

impl Default for TokenCounter {
    fn default() -> Self {
        Self {
            service: Mutex::new(Service::NotStarted),
            is_closing: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl TokenCounter {
    /// Has something counted, and `done` told of it from another thread; at once, with nothing,
    /// where that cannot be.
    pub fn count(&self, uncounted: Uncounted, done: impl FnOnce(Option<Counted>) + Send + 'static) {
        let job = Job {
            uncounted,
            done: Some(Box::new(done)),
        };
        let queue = self.queue();
        // What does not go in is dropped, and tells so.
        let refused = queue.map(|queue| queue.try_send(job));
        if let Some(Err(_)) = &refused {
            tracing::warn!("too many answers wait to be counted: charging by bytes");
        }
    }

    fn queue(&self) -> Option<SyncSender<Job>> {
        let mut service = lock(&self.service);
        if let Service::NotStarted = *service {
            *service = start(&self.is_closing);
        }
        match &*service {
            Service::Running(queue, _) => Some(queue.clone()),
            Service::NotStarted | Service::Closed => None,
        }
    }

    /// Ends the thread when it has counted what waits. Past [`FINISH_WITHIN`] the rest is told that
    /// it is not counted. Blocks for no longer than that and one count.
    pub fn close(&self) {
        let service = std::mem::replace(&mut *lock(&self.service), Service::Closed);
        let Service::Running(queue, thread) = service else {
            return;
        };
        drop(queue);
        let started = Instant::now();
        while !thread.is_finished() && started.elapsed() < FINISH_WITHIN {
            std::thread::sleep(LOOK_EVERY);
        }
        self.is_closing.store(true, Ordering::Release);
        let _ = thread.join();
    }
}

fn start(is_closing: &Arc<AtomicBool>) -> Service {
    let (queue, jobs) = sync_channel(MAX_WAITING);
    let is_closing = Arc::clone(is_closing);
    let thread = std::thread::Builder::new()
        .name("tokens".to_owned())
        .spawn(move || work(&jobs, &is_closing));
    match thread {
        Ok(thread) => Service::Running(queue, thread),
        Err(error) => {
            tracing::error!(%error, "no thread to count tokens: charging by bytes");
            Service::Closed
        }
    }
}

fn work(jobs: &Receiver<Job>, is_closing: &AtomicBool) {
    let mut loaded = Loaded::default();
    loop {
        match jobs.recv_timeout(FORGET_AFTER) {
            Ok(mut job) if !is_closing.load(Ordering::Acquire) => {
                let counted = catch_unwind(AssertUnwindSafe(|| loaded.count(&job.uncounted)));
                if counted.is_err() {
                    tracing::error!("counting tokens failed: charging by bytes");
                    loaded = Loaded::default();
                }
                job.tell(counted.unwrap_or_default());
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => loaded = Loaded::default(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn lock(service: &Mutex<Service>) -> MutexGuard<'_, Service> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
