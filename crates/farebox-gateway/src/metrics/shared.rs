//! How much is taken of what all clients share.

use std::fmt;

use farebox_http::counted::{Label, gauges};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

type Read = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is shared, by its name, and who knows how much of it is taken.
#[derive(Default)]
pub(crate) struct Shared(Vec<(&'static str, Read)>);

impl Shared {
    pub(crate) fn with(
        mut self,
        name: &'static str,
        in_use: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.0.push((name, Box::new(in_use)));
        self
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Collector for Shared {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let label = |name| -> Label<&'static str> { [("what", name)] };
        let taken = |in_use: &Read| i64::try_from(in_use()).unwrap_or(i64::MAX);
        let values = self
            .0
            .iter()
            .map(|(name, in_use)| (label(*name), taken(in_use)));
        gauges(
            &mut encoder,
            "shared_in_use",
            "What is taken of what all clients share: bytes of request bodies, calls that wait for their \
             payment, invoices for keys that wait, invoices and look-ups that the node is asked for",
            None,
            values,
        )
    }
}
