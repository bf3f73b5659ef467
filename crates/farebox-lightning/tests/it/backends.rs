//! Several backends as one. Time stands still in these tests but for what they let pass.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farebox_core::{Clock, PaymentHash};
use farebox_http::client::CallError;
use farebox_lightning::async_trait;
use farebox_lightning::backends::{Backends, BackendsError, NamedBackend};
use farebox_lightning::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceRequest,
    InvoiceState, LookupInvoice, NodeError, PayInvoice, PaymentHashes, PaymentRequest,
    PaymentState,
};

use crate::provider::{clock, request};
use crate::recorded::msat;

const SATS: AmountLimits = AmountLimits::WHOLE_SATS;

/// How a backend behaves.
#[derive(Clone)]
enum Mood {
    Well,
    Failing(NodeError),
    /// Answers after so long.
    Slow(Duration),
    /// Never answers.
    Gone,
}

/// A backend whose invoices are told apart by the first byte of their hashes.
struct Fake {
    mark: u8,
    limits: AmountLimits,
    mood: Mutex<Mood>,
    knows: Mutex<Option<Result<InvoiceState, NodeError>>>,
    asked: AtomicUsize,
    made: AtomicUsize,
    can_invoice: bool,
    can_look_up: bool,
    can_pay: bool,
    hashes: PaymentHashes,
}

impl Fake {
    fn new(mark: u8) -> Self {
        Self {
            mark,
            limits: AmountLimits::ANY,
            mood: Mutex::new(Mood::Well),
            knows: Mutex::new(Some(Ok(InvoiceState::Unknown))),
            asked: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
            can_invoice: true,
            can_look_up: true,
            can_pay: false,
            hashes: PaymentHashes::Own,
        }
    }

    fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn knows(&self, state: Result<InvoiceState, NodeError>) {
        *self.knows.lock().unwrap() = Some(state);
    }

    /// How often it was asked since the last time.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    fn make(&self, request: &InvoiceRequest) -> CreatedInvoice {
        let mut hash = [self.mark; 32];
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        hash[24..].copy_from_slice(&made.to_be_bytes());
        CreatedInvoice {
            bolt11: "lnbc".to_owned(),
            payment_hash: PaymentHash::from_bytes(hash),
            amount: request.amount,
            expires_at: clock().now(),
        }
    }
}

fn named(name: &str, fake: &Arc<Fake>) -> NamedBackend {
    NamedBackend {
        name: name.to_owned(),
        node: Arc::new(Backend {
            invoices: fake.can_invoice.then(|| fake.clone() as _),
            lookup: fake.can_look_up.then(|| fake.clone() as _),
            pay: fake.can_pay.then(|| fake.clone() as _),
            ..Backend::new("fake")
        }),
    }
}

#[async_trait]
impl CreateInvoice for Fake {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Well => {}
            Mood::Failing(error) => return Err(error),
            Mood::Slow(delay) => tokio::time::sleep(delay).await,
            Mood::Gone => std::future::pending().await,
        }
        Ok(self.make(&request))
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }

    fn payment_hashes(&self) -> PaymentHashes {
        self.hashes
    }
}

#[async_trait]
impl LookupInvoice for Fake {
    async fn lookup_invoice(&self, _: PaymentHash) -> Result<InvoiceState, NodeError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let state = self.knows.lock().unwrap().clone();
        match state {
            Some(state) => state,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl PayInvoice for Fake {
    async fn pay_invoice(&self, _: PaymentRequest) -> Result<PaymentState, NodeError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(NodeError::Down)
    }

    async fn payment_state(&self, _: PaymentHash) -> Result<PaymentState, NodeError> {
        Ok(PaymentState::Unheard)
    }
}

fn together(fakes: &[&Arc<Fake>]) -> Backends {
    let named = |fake: &&Arc<Fake>| named(&format!("node-{}", fake.mark), fake);
    Backends::new(fakes.iter().map(named).collect()).unwrap()
}

fn two() -> (Arc<Fake>, Arc<Fake>, Backends) {
    let (one, two) = (Arc::new(Fake::new(1)), Arc::new(Fake::new(2)));
    let backends = together(&[&one, &two]);
    (one, two, backends)
}

fn unreachable() -> NodeError {
    NodeError::Unavailable {
        host: "node".to_owned(),
        status: 503,
    }
}

/// Which backend made the invoice.
async fn maker(backends: &Backends) -> Result<u8, NodeError> {
    let created = backends.create_invoice(request(2000)).await?;
    Ok(created.payment_hash.as_bytes()[0])
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_able_makes_the_invoice() {
    let (one, two, backends) = two();
    assert_eq!(maker(&backends).await.unwrap(), 1);
    assert_eq!(two.asked(), 0);
    one.feel(Mood::Failing(unreachable()));
    assert_eq!(maker(&backends).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_failed_is_left_alone_and_then_tried_by_one() {
    let (one, _, backends) = two();
    one.feel(Mood::Failing(unreachable()));
    for _ in 0..10 {
        assert_eq!(maker(&backends).await.unwrap(), 2);
    }
    assert_eq!(one.asked(), 1);
    assert_eq!(backends.troubles()[0].0, "node-1");
    tokio::time::advance(Duration::from_secs(5)).await;
    one.feel(Mood::Slow(Duration::from_secs(1)));
    let (trial, others) = tokio::join!(maker(&backends), async {
        (
            maker(&backends).await.unwrap(),
            maker(&backends).await.unwrap(),
        )
    });
    assert_eq!((trial.unwrap(), others), (1, (2, 2)));
    assert!(backends.troubles().is_empty());
    assert_eq!(maker(&backends).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_dropped_is_made_again_later() {
    let (one, _, backends) = two();
    one.feel(Mood::Failing(unreachable()));
    maker(&backends).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    one.feel(Mood::Gone);
    let trial = tokio::time::timeout(Duration::from_millis(10), maker(&backends)).await;
    assert!(trial.is_err());
    one.feel(Mood::Well);
    assert_eq!(maker(&backends).await.unwrap(), 2);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(maker(&backends).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_buyer_waits_for_all_of_them_no_longer_than_the_limit() {
    let (one, two, backends) = two();
    one.feel(Mood::Gone);
    let began = tokio::time::Instant::now();
    assert_eq!(maker(&backends).await.unwrap(), 2);
    assert_eq!(began.elapsed(), Duration::from_secs(9));
    tokio::time::advance(Duration::from_secs(60)).await;
    two.feel(Mood::Gone);
    let began = tokio::time::Instant::now();
    let error = maker(&backends).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::TimedOut { .. })),
        "{error}"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(18));
    // One buyer tries them again; whoever comes meanwhile is told at once.
    let (_, waited) = tokio::join!(maker(&backends), async {
        let began = tokio::time::Instant::now();
        assert!(maker(&backends).await.unwrap_err().is_temporary());
        began.elapsed()
    });
    assert_eq!(waited, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_only_backend_is_always_asked() {
    let only = Arc::new(Fake::new(1));
    let backends = together(&[&only]);
    only.feel(Mood::Failing(unreachable()));
    for _ in 0..3 {
        assert!(maker(&backends).await.is_err());
    }
    assert_eq!(only.asked(), 3);
    only.feel(Mood::Well);
    assert_eq!(maker(&backends).await.unwrap(), 1);
    assert_eq!(backends.kind(), "fake");
}

#[tokio::test(start_paused = true)]
async fn a_busy_backend_is_passed_over_and_not_rested() {
    let (one, _, backends) = two();
    one.feel(Mood::Failing(NodeError::Call(CallError::Busy {
        limit: 64,
    })));
    assert_eq!(maker(&backends).await.unwrap(), 2);
    one.feel(Mood::Well);
    assert_eq!(maker(&backends).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_not_accepted_any_more_fails_over_and_a_lie_does_not() {
    let (one, two, backends) = two();
    let host = || "node".to_owned();
    let revoked = NodeError::Forbidden {
        host: host(),
        status: 401,
    };
    one.feel(Mood::Failing(revoked));
    assert_eq!(maker(&backends).await.unwrap(), 2);
    tokio::time::advance(Duration::from_secs(5)).await;
    two.asked();
    one.feel(Mood::Failing(InvoiceFault::Amountless.into()));
    let error = maker(&backends).await.unwrap_err();
    assert!(matches!(error, NodeError::BadInvoice(_)), "{error}");
    assert_eq!(two.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_those_of_the_backend_that_would_be_asked_next() {
    let one = Arc::new(Fake::new(1));
    let coarse = Arc::new(Fake {
        limits: SATS,
        ..Fake::new(2)
    });
    let backends = together(&[&one, &coarse]);
    assert_eq!(backends.limits().cover(msat(1500)), Some(msat(1500)));
    one.feel(Mood::Failing(unreachable()));
    // Asked for under the first one's limits: the second cannot take it, and the first is away.
    let error = backends.create_invoice(request(1500)).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(coarse.asked(), 0);
    // Whoever asks again learns the limits of the second.
    assert_eq!(backends.limits().cover(msat(1500)), Some(msat(2000)));
    assert_eq!(maker(&backends).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_amount_that_only_another_backend_takes_goes_there() {
    let small = Arc::new(Fake {
        limits: AmountLimits {
            max: msat(1000),
            ..AmountLimits::ANY
        },
        ..Fake::new(1)
    });
    let large = Arc::new(Fake::new(2));
    let backends = together(&[&small, &large]);
    assert_eq!(backends.limits().cover(msat(2000)), Some(msat(2000)));
    assert_eq!(maker(&backends).await.unwrap(), 2);
    assert_eq!(small.asked(), 0);
    let neither = together(&[&small]);
    let error = neither.create_invoice(request(2000)).await.unwrap_err();
    assert!(matches!(error, NodeError::AmountOutOfRange { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_backend_that_made_an_invoice_is_asked_what_became_of_it() {
    let (one, two, backends) = two();
    one.feel(Mood::Failing(unreachable()));
    let created = backends.create_invoice(request(2000)).await.unwrap();
    let (_, _) = (one.asked(), two.asked());
    two.knows(Ok(InvoiceState::Open));
    let state = backends.lookup_invoice(created.payment_hash).await.unwrap();
    assert_eq!(state, InvoiceState::Open);
    assert_eq!((one.asked(), two.asked()), (0, 1));
    two.knows(Err(unreachable()));
    assert!(backends.lookup_invoice(created.payment_hash).await.is_err());
    assert_eq!(one.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_invoice_of_an_unknown_maker_is_asked_about_everywhere() {
    let (one, two, backends) = two();
    let hash = PaymentHash::from_bytes([9; 32]);
    let settled = InvoiceState::Settled {
        received: Some(msat(2000)),
    };
    let cases = [
        (
            Ok(InvoiceState::Unknown),
            Ok(InvoiceState::Unknown),
            Some(InvoiceState::Unknown),
        ),
        (Ok(InvoiceState::Unknown), Ok(settled), Some(settled)),
        (Ok(settled), Err(unreachable()), Some(settled)),
        (Err(unreachable()), Ok(settled), Some(settled)),
        (Ok(InvoiceState::Open), Ok(settled), Some(settled)),
        (
            Ok(InvoiceState::Canceled),
            Ok(InvoiceState::Unknown),
            Some(InvoiceState::Canceled),
        ),
        (Ok(InvoiceState::Unknown), Err(unreachable()), None),
        (Err(unreachable()), Ok(InvoiceState::Unknown), None),
        (Ok(InvoiceState::Canceled), Err(unreachable()), None),
        (Ok(InvoiceState::Open), Err(unreachable()), None),
    ];
    for (first, second, expected) in cases {
        let case = format!("{first:?}, {second:?}");
        one.knows(first);
        two.knows(second);
        let state = backends.lookup_invoice(hash).await;
        assert_eq!(state.ok(), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_says_nothing_does_not_hide_the_money_on_another() {
    let (one, two, backends) = two();
    *one.knows.lock().unwrap() = None;
    let settled = InvoiceState::Settled { received: None };
    two.knows(Ok(settled));
    let state = backends
        .lookup_invoice(PaymentHash::from_bytes([9; 32]))
        .await;
    assert_eq!(state.unwrap(), settled);
}

#[tokio::test(start_paused = true)]
async fn payments_stay_with_the_first_that_can_pay_however_it_feels() {
    let (one, _, _) = two();
    let payer = Arc::new(Fake {
        can_pay: true,
        ..Fake::new(3)
    });
    let spare = Arc::new(Fake {
        can_pay: true,
        ..Fake::new(4)
    });
    let backends = together(&[&one, &payer, &spare]);
    payer.feel(Mood::Failing(unreachable()));
    let (name, node) = backends.payer().unwrap();
    assert_eq!(name, "node-3");
    let (request, _) = crate::recorded::payable(2000, 0);
    assert!(node.pay_invoice(request).await.is_err());
    assert_eq!((payer.asked(), spare.asked()), (1, 0));
    assert!(backends.named("node-4").is_some() && backends.named("node-5").is_none());
}

#[test]
fn the_whole_can_only_what_it_can_with_any_of_them() {
    let blind = Arc::new(Fake {
        can_look_up: false,
        ..Fake::new(2)
    });
    let foreign = Arc::new(Fake {
        hashes: PaymentHashes::Foreign,
        can_pay: true,
        ..Fake::new(3)
    });
    let own = Arc::new(Fake::new(1));
    let all = together(&[&own, &blind, &foreign]);
    assert!(all.lookup().is_none() && all.payer().is_some());
    assert_eq!(all.payment_hashes(), PaymentHashes::Foreign);
    let some = together(&[&own, &foreign]);
    assert!(some.lookup().is_some() && some.holder().is_none());
    assert_eq!(together(&[&own]).payment_hashes(), PaymentHashes::Own);
    assert_eq!(some.kind(), "fail-over");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_only_pays_is_never_asked_for_an_invoice() {
    let payer = Arc::new(Fake {
        can_invoice: false,
        can_look_up: false,
        can_pay: true,
        ..Fake::new(1)
    });
    let seller = Arc::new(Fake::new(2));
    let backends = together(&[&payer, &seller]);
    assert_eq!(maker(&backends).await.unwrap(), 2);
    assert_eq!(payer.asked(), 0);
    assert!(backends.lookup().is_some(), "only makers have to look up");
    assert_eq!(backends.payer().unwrap().0, "node-1");
    let alone = Backends::new(vec![named("payer", &payer)]).err();
    assert_eq!(alone, Some(BackendsError::NoInvoices));
}

#[test]
fn names_tell_backends_apart() {
    let named = |name: &str| named(name, &Arc::new(Fake::new(1)));
    let none = BackendsError::NoInvoices;
    assert_eq!(Backends::new(vec![]).err(), Some(none));
    assert!(matches!(
        Backends::new(vec![named("a"), named("b"), named("a")]),
        Err(BackendsError::SameName(name)) if name == "a"
    ));
}
