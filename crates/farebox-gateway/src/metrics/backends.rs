//! How the Lightning backends are, as far as it is known from what they were last asked for.
//! Nobody is called for a scrape.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabel {
    backend: String,
}

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
        let up = backends
            .iter()
            .map(|backend| (backend.name.clone(), is_up(&backend.name)));
        gauges(
            &mut encoder,
            "lightning_up",
            "1 unless the backend failed when it was last asked for an invoice",
            up,
        )?;
        let followed = self.settlements.followed().into_iter();
        gauges(
            &mut encoder,
            "lightning_following",
            "1 while the backend tells of settlements by itself",
            followed.map(|backend| (backend.name, backend.listening)),
        )
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (String, bool)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (backend, holds) in values {
        let label = BackendLabel { backend };
        let gauge = ConstGauge::new(i64::from(holds));
        gauge.encode(family.encode_family(&label)?)?;
    }
    Ok(())
}
