//! The rules about money, each with a test of its name: what a token says, what a retry
//! is, what is charged, and when a token ends.

mod bodies;
mod browsers;
mod challenges;
mod charges;
mod departures;
mod ends;
mod limits;
mod retries;
mod secrecy;
mod terms;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{TestGateway, Token};

/// Limits on challenges that no test meets.
pub(crate) const MANY_CHALLENGES: &str =
    "[server.challenges]\nper_client = \"1000000/1s\"\ntotal = \"1000000/1s\"";

/// What settles in the background settles in milliseconds; this is for a machine that is not quick.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// All money there is, in msat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Books {
    /// What buyers paid for tokens that were used at least once.
    pub(crate) paid_in: i64,
    /// What the seller has earned.
    pub(crate) charged: i64,
    /// What requests in flight hold.
    pub(crate) held: i64,
    /// What buyers can still spend.
    pub(crate) left: i64,
}

impl Books {
    /// Nothing is in flight, and what was not charged is still the buyers'.
    pub(crate) const fn settled(paid_in: i64, charged: i64) -> Self {
        Self {
            paid_in,
            charged,
            held: 0,
            left: paid_in - charged,
        }
    }

    /// The books of a running gateway, which must balance.
    #[track_caller]
    fn of(gateway: &TestGateway) -> Self {
        let proof = gateway.trial_balance();
        assert_eq!(
            (&proof["sound"], &proof["sum_msat"]),
            (&true.into(), &0.into())
        );
        let number = |name: &str| proof[name].as_i64().unwrap();
        let house = proof["house_msat"].as_object().unwrap();
        let sum = |prefix: &str| -> i64 {
            let named = house.iter().filter(|(name, _)| name.starts_with(prefix));
            named.map(|(_, msat)| msat.as_i64().unwrap()).sum()
        };
        let held = number("held_msat");
        let books = Self {
            paid_in: -sum("lightning") - sum("ecash:"),
            charged: sum("revenue:"),
            held,
            left: number("payers_msat") - held,
        };
        assert_eq!(
            books.paid_in,
            books.charged + books.held + books.left,
            "{proof}"
        );
        books
    }
}

/// Waits until the books say `wanted`: settlements are queued, not awaited.
#[track_caller]
pub(crate) fn books_when(gateway: &TestGateway, wanted: &Books) {
    let books = eventually(|| Books::of(gateway), |books| books == wanted);
    assert_eq!(&books, wanted);
}

/// The account of `token`, as soon as it is as `wanted`.
#[track_caller]
pub(crate) fn account_when(
    gateway: &TestGateway,
    token: &Token,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let read = || gateway.find_account(token).unwrap_or_default();
    let account = eventually(read, &wanted);
    assert!(wanted(&account), "{account}");
    account
}

/// Reads until what was read is as `wanted`; the last reading.
pub(crate) fn eventually<T>(read: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        let now = read();
        if wanted(&now) || Instant::now() > give_up_at {
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
