use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farebox_core::{
    Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, PaymentHash, RouteName, Terms,
    TermsEpoch, UnixMillis,
};
use farebox_ledger::{
    Admitted, ClaimPolicy, Cost, Funding, HoldRequest, Ledger, OpenOptions, Rail,
};
use farebox_testkit::ManualClock;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;

use super::*;
use crate::gauge::Form;
use crate::gauge::bill::{Bill, End, Measure};

const BALANCE: u64 = 10_000;
const HELD: u64 = 1_000;
const PAYMENT: PaymentHash = PaymentHash::from_bytes([7; 32]);

/// A ledger with one account.
struct Till {
    ledger: Ledger,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

impl Till {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::<ManualClock>::default();
        Self {
            ledger: open(folder.path(), &clock),
            clock,
            folder,
        }
    }

    async fn hold(&self) -> Hold {
        self.hold_with(1_000).await
    }

    async fn hold_with(&self, max_voids: u32) -> Hold {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let now = self.clock.now();
        let route = RouteName::parse("weather").unwrap();
        let request = HoldRequest {
            hold: HoldId::new(now, random),
            account: PAYMENT.account(),
            funding: Some(Funding {
                rail: Rail::Lightning,
                amount: msat(BALANCE),
                terms: terms(&route, now),
                key_epoch: KeyEpoch(1),
                claims: ClaimPolicy::Open,
            }),
            swapped: None,
            allowance: Allowance::default(),
            route,
            model: None,
            cost: Cost::Amount(msat(HELD)),
            once: None,
            max_voids,
            now,
            basis: None,
        };
        match self.ledger.hold(request).await.unwrap() {
            Admitted::Held(hold) => hold,
            other => panic!("expected a hold, not {other:?}"),
        }
    }

    /// What was charged in all, and what is held, after everything queued is written.
    async fn charged_and_held(&self) -> (u64, u64) {
        self.ledger.flush().await.unwrap();
        let account = self
            .ledger
            .account(PAYMENT.account())
            .await
            .unwrap()
            .unwrap();
        (BALANCE - account.balance.get(), account.held.get())
    }

    /// The same after the process died and began anew.
    async fn recovered(self) -> (u64, u64) {
        self.ledger.flush().await.unwrap();
        self.ledger.close().await;
        let ledger = open(self.folder.path(), &self.clock);
        let till = Self { ledger, ..self };
        till.charged_and_held().await
    }
}

fn terms(route: &RouteName, now: UnixMillis) -> Terms {
    let hour = Duration::from_secs(3600);
    Terms {
        amount: msat(BALANCE),
        kind: Kind::Balance,
        route: route.clone(),
        methods: MethodClass::Read,
        binding: Binding::Route,
        epoch: TermsEpoch(7),
        valid_for: hour,
        claim_by: now.plus(hour),
    }
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> Ledger {
    let clock = Arc::<ManualClock>::clone(clock);
    let options = OpenOptions::new(folder.join("farebox.db"), clock);
    farebox_ledger::open(&options).unwrap().0
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn bill(used: Option<u64>) -> Bill {
    Bill {
        used: used.map(msat),
        is_excused: false,
        measured: Measure::Quantity(None),
        end: End::Complete,
        complaint: None,
    }
}

/// Finds a fixed bill, and has used as much as that on the way.
struct Finds(Option<u64>);

impl Gauge for Finds {
    fn request(&mut self, _: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        None
    }

    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Form {
        Form::AsSent { cost: None }
    }

    fn progress(&self) -> Option<Msat> {
        self.0.map(msat)
    }

    fn bill(self: Box<Self>, _: Ending) -> Billed {
        Billed::Known(bill(self.0))
    }
}

/// Finds its bill when it is told what was used, and else bills 300 msat.
struct Asks(oneshot::Receiver<Option<Msat>>);

impl Gauge for Asks {
    fn request(&mut self, _: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        None
    }

    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Form {
        Form::AsSent { cost: None }
    }

    fn progress(&self) -> Option<Msat> {
        Some(msat(300))
    }

    fn bill(self: Box<Self>, _: Ending) -> Billed {
        let otherwise = Bill {
            complaint: Some("nobody said"),
            ..bill(Some(300))
        };
        let find = |hold: OpenHold| {
            Finding::new(async move {
                let used = self.0.await.ok().flatten();
                hold.settle(used.map(|used| bill(Some(used.get()))))
            })
        };
        Billed::Open {
            otherwise,
            find: Box::new(find),
        }
    }
}

fn gauged(hold: Hold, used: Option<u64>) -> Settlement {
    Settlement::of(hold, Some(Box::new(Finds(used))))
}

/// The settlement of a call of which somebody is asked what it came to.
fn asked(hold: Hold) -> (Settlement, oneshot::Sender<Option<Msat>>) {
    let (tell, told) = oneshot::channel();
    (Settlement::of(hold, Some(Box::new(Asks(told)))), tell)
}

fn finding(charge: Charge) -> Finding {
    match charge {
        Charge::Open { finding, .. } => finding,
        Charge::Known(charged) => panic!("{charged:?} is known"),
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_is_excused_a_few_times() {
    let till = Till::open();
    let mut sum = 0;
    for (is_gauged, charged) in [(false, 0), (true, 0), (false, HELD), (true, 0), (true, 400)] {
        let hold = till.hold_with(2).await;
        let mut settlement = match is_gauged {
            true => gauged(hold, Some(400)),
            false => Settlement::of(hold, None),
        };
        settlement.forwarded(true);
        settlement.end(Ending::CutByClient);
        assert_eq!(settlement.found().await.get(), charged);
        let bill = settlement.charge().so_far().bill.clone();
        assert_eq!(
            bill.map(|bill| bill.end),
            is_gauged.then_some(End::CutByClient)
        );
        sum += charged;
        assert_eq!(till.charged_and_held().await, (sum, 0));
    }
    // What never left for the upstream costs nothing, and does not count.
    let mut settlement = Settlement::of(till.hold_with(0).await, None);
    settlement.end(Ending::CutByClient);
    assert_eq!(settlement.found().await.get(), 0);
    drop(settlement);
    assert_eq!(till.charged_and_held().await, (sum, 0));
}

#[tokio::test]
async fn an_act_is_charged_once_it_is_forwarded_whatever_comes_back() {
    let till = Till::open();
    let mut sum = 0;
    for is_forwarded in [false, true] {
        for ending in [None, Some(Ending::CutByUpstream), Some(Ending::CutByClient)] {
            let mut settlement = Settlement::of(till.hold().await, None);
            settlement.sell_act();
            settlement.forwarded(true);
            settlement.forwarded(is_forwarded);
            match ending {
                None => settlement.void(VoidReason::TimedOut),
                Some(ending) => settlement.end(ending),
            }
            drop(settlement);
            sum += u64::from(is_forwarded) * HELD;
            assert_eq!(till.charged_and_held().await, (sum, 0), "{ending:?}");
        }
    }
}

#[tokio::test]
async fn a_fixed_price_is_charged_for_a_whole_answer_and_for_one_whose_client_left_it() {
    let cases = [
        (Ending::Complete, false, HELD),
        (Ending::Complete, true, HELD),
        (Ending::CutByClient, true, HELD),
        (Ending::CutByClient, false, 0),
        (Ending::CutByUpstream, true, 0),
        (Ending::CutByUpstream, false, 0),
    ];
    let (till, mut sum) = (Till::open(), 0);
    for (ending, has_begun, charged) in cases {
        let mut settlement = Settlement::of(till.hold().await, None);
        if has_begun {
            settlement.went_on();
        }
        settlement.end(ending);
        assert_eq!(settlement.charged().get(), charged, "{ending:?}");
        settlement.end(Ending::Complete);
        drop(settlement);
        sum += charged;
        assert_eq!(till.charged_and_held().await, (sum, 0), "{ending:?}");
    }
}

#[tokio::test]
async fn a_gauge_says_what_is_charged_once_something_went_out() {
    let cases = [
        (Ending::Complete, false, Some(400), 400),
        (Ending::CutByUpstream, false, Some(400), 400),
        (Ending::CutByClient, true, Some(400), 400),
        (Ending::CutByClient, false, Some(400), 0),
        (Ending::Complete, true, Some(2 * HELD), HELD),
        (Ending::Complete, true, None, 0),
    ];
    let (till, mut sum) = (Till::open(), 0);
    for (ending, has_begun, used, charged) in cases {
        let mut settlement = gauged(till.hold().await, used);
        if has_begun {
            settlement.went_on();
        }
        settlement.end(ending);
        assert_eq!(settlement.charge().so_far().msat.get(), charged);
        drop(settlement);
        sum += charged;
        assert_eq!(till.charged_and_held().await, (sum, 0), "{ending:?}");
    }
}

#[tokio::test]
async fn a_settlement_that_is_dropped_is_one_whose_client_left() {
    let till = Till::open();
    for (used, has_begun, sum) in [(400, false, 0), (400, true, 400), (500, true, 900)] {
        let mut settlement = gauged(till.hold().await, Some(used));
        if has_begun {
            settlement.went_on();
        }
        drop(settlement);
        assert_eq!(till.charged_and_held().await, (sum, 0));
    }
}

#[tokio::test]
async fn a_whole_answer_costs_nothing_until_it_was_read() {
    let till = Till::open();
    let mut settlement = gauged(till.hold().await, Some(400));
    let (_, held) = settlement.read().unwrap();
    assert_eq!(held.get(), HELD);
    drop(settlement);
    assert_eq!(till.charged_and_held().await, (0, 0));
    let mut settlement = gauged(till.hold().await, Some(400));
    let (gauge, held) = settlement.read().unwrap();
    settlement.settle(gauge.whole(b"{}", held).billed);
    assert_eq!(settlement.charged().get(), 400);
    assert_eq!(till.charged_and_held().await, (400, 0));
}

#[tokio::test]
async fn a_hold_waits_until_its_charge_is_found_out() {
    let till = Till::open();
    let (mut settlement, tell) = asked(till.hold().await);
    settlement.went_on();
    settlement.end(Ending::Complete);
    let charge = settlement.charge();
    assert_eq!(charge.so_far().msat.get(), 300, "until more is known");
    drop(settlement);
    assert_eq!(till.charged_and_held().await, (0, HELD));
    tell.send(Some(msat(700))).unwrap();
    let charged = finding(charge).found().await.unwrap();
    assert_eq!((charged.msat.get(), charged.complaint()), (700, None));
    assert_eq!(till.charged_and_held().await, (700, 0));
}

#[tokio::test]
async fn what_nobody_finds_out_is_charged_as_the_seller_chose() {
    let till = Till::open();
    let (mut settlement, tell) = asked(till.hold().await);
    settlement.end(Ending::Complete);
    tell.send(None).unwrap();
    let charged = finding(settlement.charge()).found().await.unwrap();
    assert_eq!(charged.msat.get(), 300);
    assert!(charged.complaint().is_some());
    assert_eq!(till.charged_and_held().await, (300, 0));
    let (mut settlement, _tell) = asked(till.hold().await);
    settlement.end(Ending::Complete);
    drop(settlement);
    assert_eq!(till.charged_and_held().await, (600, 0), "nobody asked");
}

#[tokio::test]
async fn a_process_that_dies_in_an_answer_charges_what_was_used_by_then() {
    let till = Till::open();
    let mut settlement = gauged(till.hold().await, Some(400));
    settlement.went_on();
    std::mem::forget(settlement);
    assert_eq!(till.recovered().await, (400, 0));
    let till = Till::open();
    std::mem::forget(gauged(till.hold().await, Some(400)));
    assert_eq!(till.recovered().await, (0, 0));
}
