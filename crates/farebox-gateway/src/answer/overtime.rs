//! Looks now and then whether what pays for a long answer is over.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use farebox_paywall::tenure::Tenure;
use tokio::time::{Instant, sleep};

/// Ends what goes on for too long after what pays for it is over.
pub(crate) struct Overtime {
    tenure: Tenure,
    every: Duration,
    look_at: Instant,
    looking: Option<Looking>,
}

type Looking = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Overtime {
    /// Looks once in every such time.
    pub(crate) fn new(tenure: Tenure, every: Duration) -> Self {
        Self {
            tenure,
            every,
            look_at: Instant::now() + every,
            looking: None,
        }
    }

    /// Ready once it is over. There is no timer: an answer that moves is asked for more, and one that
    /// does not is ended for that.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.looking.is_none() {
            if Instant::now() < self.look_at {
                return Poll::Pending;
            }
            let tenure = self.tenure.clone();
            self.looking = Some(Box::pin(async move { tenure.is_over().await }));
        }
        let looking = self.looking.as_mut();
        match looking.map(|looking| looking.as_mut().poll(cx)) {
            Some(Poll::Ready(true)) => Poll::Ready(()),
            Some(Poll::Ready(false)) => {
                self.looking = None;
                self.look_at = Instant::now() + self.every;
                Poll::Pending
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }

    /// Returns when it is over.
    pub(crate) async fn over(self) {
        loop {
            sleep(self.every).await;
            if self.tenure.is_over().await {
                return;
            }
        }
    }
}
