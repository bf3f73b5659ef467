//! Measures what a durable hold and its settlement cost the writer: CPU time of its thread, from the
//! kernel, so that other programs do not count.
//!
//! `cargo run --release -p farebox-ledger --example hold_settle [FOLDER]`

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use farebox_core::{
    Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, Msat, PaymentHash, RouteName,
    Terms, TermsEpoch, UnixMillis,
};
use farebox_ledger::{
    Admitted, ClaimPolicy, Cost, Funding, HoldRequest, Ledger, OpenOptions, Rail, open,
};
use tokio::task::JoinSet;

const ACCOUNTS: u64 = 100_000;
const REQUESTS: u64 = 200_000;

/// Milliseconds since a fixed instant, on the monotonic clock.
struct Stopwatch(Instant);

impl Clock for Stopwatch {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000).plus(self.0.elapsed())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("hold-settle-{}.db", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = runtime.block_on(measure(&path));
    for end in ["", "-wal", "-shm", ".lock"] {
        let mut name = path.clone().into_os_string();
        name.push(end);
        let _ = std::fs::remove_file(name);
    }
    measured
}

async fn measure(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let clock: Arc<dyn Clock> = Arc::new(Stopwatch(Instant::now()));
    let (ledger, _) = open(&OpenOptions::new(path, Arc::clone(&clock)))?;
    let bench = Bench {
        ledger: ledger.clone(),
        clock,
        serial: Arc::default(),
    };
    let mut out = io::stdout().lock();
    let claims = bench.run(128, ACCOUNTS, Order::Sequential).await?;
    writeln!(out, "{claims}, each with its claim")?;
    for accounts in [ACCOUNTS, 1_000, 1] {
        for tasks in [1, 16, 64, 128, 512] {
            let count = REQUESTS.min(tasks * 5_000);
            let line = bench.run(tasks, count, Order::Scattered(accounts)).await?;
            writeln!(out, "{line}, over {accounts} accounts")?;
        }
    }
    let trial = ledger.trial_balance().await?;
    writeln!(
        out,
        "trial balance {} over {} transfers",
        trial.sum, trial.transfers
    )?;
    ledger.close().await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Order {
    Sequential,
    /// Over so many accounts.
    Scattered(u64),
}

#[derive(Clone)]
struct Bench {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    serial: Arc<AtomicU64>,
}

impl Bench {
    /// Holds and settles `count` times, with `tasks` requests open at once.
    async fn run(&self, tasks: u64, count: u64, order: Order) -> io::Result<String> {
        let _ = self.ledger.flush().await;
        let before = (self.ledger.stats(), writer_cpu()?, Instant::now());
        let mut set = JoinSet::new();
        for task in 0..tasks {
            let bench = self.clone();
            let numbers = (task..count).step_by(usize::try_from(tasks).unwrap_or(1));
            set.spawn(async move {
                for number in numbers {
                    bench.hold_and_settle(number, order).await;
                }
            });
        }
        set.join_all().await;
        let _ = self.ledger.flush().await;
        let (stats, cpu) = (self.ledger.stats(), writer_cpu()? - before.1);
        let batches = (stats.batches - before.0.batches).max(1);
        let rate = u128::from(count) * 1_000_000 / before.2.elapsed().as_micros().max(1);
        let tenths = cpu.as_nanos() / u128::from(count) / 100;
        Ok(format!(
            "{tasks:>4} open: {:>3} commands a commit, {}.{} µs of CPU each, {rate} a second",
            (stats.commands - before.0.commands) / batches,
            tenths / 10,
            tenths % 10,
        ))
    }

    async fn hold_and_settle(&self, number: u64, order: Order) {
        let account = match order {
            Order::Sequential => number,
            Order::Scattered(over) => (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % over,
        };
        let answer = self.ledger.hold(self.request(account)).await;
        match answer {
            Ok(Admitted::Held(hold)) => hold.settle(),
            other => panic!("expected a hold, not {other:?}"),
        }
    }

    fn request(&self, account: u64) -> HoldRequest {
        let now = self.clock.now();
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.serial.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&account.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        let hash = PaymentHash::from_bytes(hash);
        let terms = terms();
        let route = terms.route.clone();
        HoldRequest {
            hold: HoldId::new(now, random),
            account: hash.account(),
            funding: Some(Funding {
                rail: Rail::Lightning,
                amount: terms.amount,
                terms,
                key_epoch: KeyEpoch(1),
                claims: ClaimPolicy::Open,
            }),
            swapped: None,
            allowance: Allowance::default(),
            route,
            model: None,
            cost: Cost::Call,
            once: None,
            max_voids: 100,
            now,
            basis: None,
        }
    }
}

fn terms() -> Terms {
    Terms {
        amount: Msat::new(1_000_000_000).expect("is less than all money"),
        kind: Kind::Calls(1_000_000),
        route: RouteName::parse("bench").expect("is a route's name"),
        methods: MethodClass::Any,
        binding: Binding::Route,
        epoch: TermsEpoch(1),
        valid_for: Duration::from_secs(1_000_000),
        claim_by: UnixMillis::new(1_900_000_000_000),
    }
}

/// The CPU time of the writer's thread so far, from the kernel's scheduler.
fn writer_cpu() -> io::Result<Duration> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "farebox-ledger" {
            let figures = std::fs::read_to_string(task.join("schedstat"))?;
            let nanos = figures
                .split_whitespace()
                .next()
                .and_then(|first| first.parse().ok());
            return Ok(Duration::from_nanos(nanos.unwrap_or_default()));
        }
    }
    Err(io::Error::other("the writer's thread was not found"))
}
