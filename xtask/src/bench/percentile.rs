//! Latencies and their percentiles.

use serde::Serialize;

use super::units::Nanos;

/// Every latency of one measurement, in nanoseconds: exact percentiles, no buckets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

/// What is reported of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: Nanos,
    pub(crate) p99: Nanos,
    pub(crate) max: Nanos,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Nanos) {
        self.0.push(latency.0);
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(crate) fn percentiles(mut self) -> Percentiles {
        self.0.sort_unstable();
        let rank = |percent: usize| (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| Nanos(self.0.get(rank(percent)).copied().unwrap_or(0));
        Percentiles {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut latencies = Latencies::default();
        (1..=200)
            .rev()
            .for_each(|nanos| latencies.add(Nanos(nanos)));
        let seen = latencies.percentiles();
        assert_eq!(
            seen,
            Percentiles {
                p50: Nanos(100),
                p99: Nanos(198),
                max: Nanos(200)
            }
        );
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Latencies::default().percentiles().p99, Nanos(0));
    }
}
