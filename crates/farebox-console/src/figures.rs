//! The ledger's figures at the moment of a scrape.

use std::fmt;
use std::time::{Duration, Instant};

use farebox_api::EcashStock;
use farebox_ledger::{BATCH_BOUNDS, COMMIT_BOUNDS_US, Ledger, LedgerStats, TrialBalance};
use farebox_paywall::ecash::Till;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::Mutex;

use crate::ecash;
use crate::error::ConsoleError;

/// A trial balance is taken again when this many times its own duration has passed, so that it
/// never takes more than a tenth of one reader however large the ledger is.
const REST: u32 = 10;

/// Takes figures, and remembers the last trial balance.
pub(crate) struct Figures {
    ledger: Ledger,
    till: Option<Till>,
    last: Mutex<Option<Taken>>,
}

#[derive(Clone)]
struct Taken {
    balance: TrialBalance,
    stock: Vec<EcashStock>,
    fresh_until: Instant,
}

/// What one scrape shows.
#[derive(Debug)]
pub(crate) struct Snapshot {
    stats: LedgerStats,
    balance: TrialBalance,
    stock: Vec<EcashStock>,
}

impl Figures {
    pub(crate) fn new(ledger: Ledger, till: Option<Till>) -> Self {
        Self {
            ledger,
            till,
            last: Mutex::new(None),
        }
    }

    pub(crate) async fn take(&self) -> Result<Snapshot, ConsoleError> {
        let Taken { balance, stock, .. } = self.add_up().await?;
        Ok(Snapshot {
            stats: self.ledger.stats(),
            balance,
            stock,
        })
    }

    /// The lock makes scrapes that come together wait for one reading.
    async fn add_up(&self) -> Result<Taken, ConsoleError> {
        let mut last = self.last.lock().await;
        let began = Instant::now();
        if let Some(taken) = last.as_ref().filter(|taken| began < taken.fresh_until) {
            return Ok(taken.clone());
        }
        let balance = self.ledger.trial_balance().await?;
        let stock = match &self.till {
            Some(till) => till.stock().await?.iter().map(ecash::stock).collect(),
            None => Vec::new(),
        };
        let taken = Taken {
            balance,
            stock,
            fresh_until: Instant::now() + began.elapsed() * REST,
        };
        *last = Some(taken.clone());
        Ok(taken)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_gauges(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.encode_stock(&mut encoder)?;
        self.encode_batches(&mut encoder)
    }
}

impl Snapshot {
    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (balance, stats) = (&self.balance, &self.stats);
        let sum = i64::try_from(balance.sum).unwrap_or(i64::MAX);
        let sound = i64::from(balance.is_sound());
        let refusing = i64::from(stats.refusing);
        let (payers, accounts) = (signed(balance.payers.get()), signed(balance.accounts));
        let (holds, queue) = (signed(stats.open_holds), signed(stats.queue_depth));
        let gauges = [
            (
                "trial_balance_msat",
                "The sum of all balances; must be zero",
                sum,
            ),
            (
                "trial_balance_sound",
                "1 when every proof of the books holds",
                sound,
            ),
            ("payers_msat", "Money on payers' accounts, in msat", payers),
            ("accounts", "Payers' accounts", accounts),
            ("holds_open", "Holds neither settled nor voided", holds),
            (
                "ledger_queue",
                "Commands waiting for the ledger's writer",
                queue,
            ),
            (
                "ledger_refusing",
                "1 when the store failed and nothing is sold",
                refusing,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = &self.stats;
        let loss = "Usage above its hold, borne by the seller, in msat";
        let (coins, coins_msat) = stats.ecash;
        let payments = "Payments, each at its first use";
        let by_method = [
            ("payments", payments, [stats.claims - coins, coins]),
            (
                "in_msat",
                "Money in, in msat",
                [stats.claimed_msat - coins_msat, coins_msat],
            ),
        ];
        for (name, help, values) in by_method {
            let kind = prometheus_client::metrics::MetricType::Counter;
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (method, value) in ["l402", "cashu"].into_iter().zip(values) {
                let labels = [("method", method)];
                ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        let counter = ConstCounter::new(stats.seller_loss_msat);
        let kind = counter.metric_type();
        counter.encode(encoder.encode_descriptor("seller_loss_msat", loss, None, kind)?)
    }

    /// What there is of each unit of each mint.
    fn encode_stock(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.stock.is_empty() {
            return Ok(());
        }
        let help = "Ecash in the store, in msat, by what may become of it";
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut metric = encoder.encode_descriptor("ecash_msat", help, None, kind)?;
        for shelf in &self.stock {
            let unit = shelf.unit.as_deref().unwrap_or_default();
            for (state, msat) in [
                ("free", shelf.free_msat),
                ("reserved", shelf.reserved_msat),
                ("leaving", shelf.leaving_msat),
                ("in_doubt", shelf.in_doubt_msat),
            ] {
                let labels = [("mint", &*shelf.mint), ("unit", unit), ("state", state)];
                ConstGauge::new(signed(msat)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_batches(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = &self.stats;
        let mut sizes = encoder.encode_descriptor(
            "ledger_batch_commands",
            "Commands in one transaction of the ledger",
            None,
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        let buckets = buckets(&BATCH_BOUNDS, &stats.batch_sizes, |commands| {
            f64::from(u32::try_from(commands).unwrap_or(u32::MAX))
        });
        let commands = f64::from(u32::try_from(stats.commands).unwrap_or(u32::MAX));
        sizes.encode_histogram::<NoLabelSet>(commands, stats.batches, &buckets, None)?;
        let mut times = encoder.encode_descriptor(
            "ledger_commit",
            "Time of one transaction of the ledger, from its first statement to its end",
            Some(&Unit::Seconds),
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        let buckets = self::buckets(&COMMIT_BOUNDS_US, &stats.commit_times, seconds);
        let sum = seconds(stats.commit_us);
        times.encode_histogram::<NoLabelSet>(sum, stats.batches, &buckets, None)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The ledger's buckets with their upper bounds; the last one is open.
fn buckets(bounds: &[u64], counts: &[u64], unit: impl Fn(u64) -> f64) -> Vec<(f64, u64)> {
    let bounds = bounds.iter().map(|bound| unit(*bound)).chain([f64::MAX]);
    bounds.zip(counts.iter().copied()).collect()
}
