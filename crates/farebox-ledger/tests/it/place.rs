//! A ledger in a folder of its own, and what can be bought from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{
    Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, Msat, PaymentHash,
    RequestDigest, RouteName, Terms, TermsEpoch, UnixMillis,
};

use farebox_ledger::{
    Admitted, ClaimPolicy, Cost, Funding, Hold, HoldRequest, Ledger, Once, OpenError, OpenOptions,
    Rail, Recovery, open,
};
use farebox_ledger_contract::{ManualClock, Place};

pub(crate) struct SqlitePlace {
    folder: tempfile::TempDir,
}

impl SqlitePlace {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub(crate) fn reopen(&self) -> (Ledger, Recovery) {
        open_at(&self.path()).unwrap()
    }
}

impl Place for SqlitePlace {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        max_open_holds: usize,
    ) -> Result<(Ledger, Recovery), OpenError> {
        open(&OpenOptions {
            max_open_holds,
            ..options(&self.path(), clock)
        })
    }
}

fn options(path: &Path, clock: Arc<dyn Clock>) -> OpenOptions {
    let retention = Duration::from_secs(30 * 24 * 60 * 60);
    OpenOptions {
        retention,
        ..OpenOptions::new(path, clock)
    }
}

pub(crate) fn open_at(path: &Path) -> Result<(Ledger, Recovery), OpenError> {
    open(&options(path, Arc::new(ManualClock::default())))
}

/// A request for one of two calls that 21 msat bought, under the key and digest of `number`.
pub(crate) fn request(token: u8, number: u8) -> HoldRequest {
    let now = ManualClock::default().now();
    let hash = PaymentHash::from_bytes([token; 32]);
    HoldRequest {
        hold: HoldId::new(now, [token, number, 0, 0, 0, 0, 0, 0, 0, 0]),
        account: hash.account(),
        funding: Some(Funding {
            rail: Rail::Lightning,
            amount: terms(now).amount,
            terms: terms(now),
            key_epoch: KeyEpoch(1),
            claims: ClaimPolicy::Open,
        }),
        swapped: None,
        allowance: Allowance::default(),
        route: terms(now).route,
        model: None,
        cost: Cost::Call,
        once: Some(Once {
            key: [number; 32],
            digest: RequestDigest::from_bytes([number; 32]),
        }),
        max_voids: 10,
        now,
        basis: None,
    }
}

fn terms(now: UnixMillis) -> Terms {
    Terms {
        amount: Msat::new(21).unwrap(),
        kind: Kind::Calls(2),
        route: RouteName::parse("weather").unwrap(),
        methods: MethodClass::Any,
        binding: Binding::Route,
        epoch: TermsEpoch(1),
        valid_for: Duration::from_secs(3_600),
        claim_by: now.plus(Duration::from_secs(3_600)),
    }
}

pub(crate) async fn hold(ledger: &Ledger, request: HoldRequest) -> Hold {
    match ledger.hold(request).await.unwrap() {
        Admitted::Held(hold) => hold,
        other => panic!("expected a hold, not {other:?}"),
    }
}
