//! Declaring what is counted.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

/// One label, with its name.
pub type Label<V> = [(&'static str, V); 1];

/// Counters by one label.
pub type CountersBy<V> = Family<Label<V>, Counter>;

/// Makes what counts something, and puts it into a registry under its name.
pub fn counted<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}
