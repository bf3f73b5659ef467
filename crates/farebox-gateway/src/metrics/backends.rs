//! How the Lightning backends are, as far as it is known from what they were last asked for.
//! Nobody is called for a scrape.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use farebox_http::counted::{Label, gauges};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

/// The backends of the plan, and what is heard of them.
#[derive(Clone)]
pub(super) struct BackendHealth {
    backends: Arc<ArcSwapOption<Backends>>,
    settlements: Settlements,
}

impl BackendHealth {
    /// No backends yet.
    pub(super) fn new(settlements: Settlements) -> Self {
        Self {
            backends: Arc::default(),
            settlements,
        }
    }

    /// Speaks of these from now on.
    pub(super) fn take(&self, backends: Option<Arc<Backends>>) {
        self.backends.store(backends);
    }
}

impl fmt::Debug for BackendHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendHealth").finish_non_exhaustive()
    }
}

impl Collector for BackendHealth {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(backends) = self.backends.load_full() else {
            return Ok(());
        };
        let troubles = backends.troubles();
        let is_up = |name: &str| troubles.iter().all(|(troubled, _)| *troubled != name);
        let up = backends.iter().map(|backend| &backend.name);
        let up = up.map(|name| (label(name), i64::from(is_up(name))));
        gauges(
            &mut encoder,
            "lightning_up",
            "1 unless the backend failed when it was last asked for an invoice",
            None,
            up,
        )?;
        let followed = self.settlements.followed();
        let followed = followed
            .iter()
            .map(|it| (label(&it.name), i64::from(it.listening)));
        gauges(
            &mut encoder,
            "lightning_following",
            "1 while the backend tells of settlements by itself",
            None,
            followed,
        )
    }
}

fn label(backend: &str) -> Label<&str> {
    [("backend", backend)]
}
