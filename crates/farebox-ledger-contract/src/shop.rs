//! The cast of the contract: a ledger with a clock that can be set, and tokens to spend.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farebox_core::{
    AccountId, Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, Msat, PaymentHash,
    PayoutId, RequestDigest, RouteName, Terms, TermsEpoch, UnixMillis,
};

use crate::Place;
use farebox_ledger::{
    AccountView, Admitted, AskedBy, ClaimPolicy, Cost, Funding, Hold, HoldRequest, Ledger,
    LedgerError, Once, PayoutAnswer, PayoutEnd, PayoutLimits, PayoutRequest, PayoutView, Rail,
    Recovery, TrialBalance,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOON: u64 = 1_800_000_000_000;
const MANY: usize = 10_000;

/// A wall clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Sets the clock `span` forward.
    pub fn forward(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, at: UnixMillis) {
        self.0.store(at.get(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicU64::new(NOON))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Shop {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) recovery: Recovery,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

pub(crate) fn serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn msat(amount: u64) -> Msat {
    Msat::new(amount).expect("tests stay below all money")
}

/// A new payment for these terms.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) hash: PaymentHash,
    pub(crate) terms: Terms,
}

impl Token {
    pub(crate) const fn account(&self) -> AccountId {
        self.hash.account()
    }

    pub(crate) fn funding(&self) -> Funding {
        Funding {
            rail: Rail::Lightning,
            amount: self.terms.amount,
            terms: self.terms.clone(),
            key_epoch: KeyEpoch(1),
            claims: ClaimPolicy::Open,
        }
    }
}

pub(crate) fn digest(of: u8) -> RequestDigest {
    RequestDigest::from_bytes([of; 32])
}

pub(crate) fn once(key: u8, of: u8) -> Option<Once> {
    Some(Once {
        key: [key; 32],
        digest: digest(of),
    })
}

impl Shop {
    pub(crate) fn open(place: &dyn Place) -> Self {
        Self::open_with(place, Arc::new(ManualClock::default()), MANY)
    }

    pub(crate) fn open_with(
        place: &dyn Place,
        clock: Arc<ManualClock>,
        max_open_holds: usize,
    ) -> Self {
        let opened = place.open(Arc::<ManualClock>::clone(&clock), max_open_holds);
        let (ledger, recovery) = opened.expect("the place opens");
        Self {
            ledger,
            clock,
            recovery,
        }
    }

    /// Closes and opens again, at the same instant.
    pub(crate) async fn reopen(self, place: &dyn Place) -> Self {
        self.ledger.close().await;
        Self::open_with(place, self.clock, MANY)
    }

    pub(crate) fn token(&self, kind: Kind, amount: u64) -> Token {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&serial().to_be_bytes());
        let terms = Terms {
            amount: msat(amount),
            kind,
            route: RouteName::parse("weather").expect("is a route's name"),
            methods: MethodClass::Read,
            binding: Binding::Route,
            epoch: TermsEpoch(7),
            valid_for: 30 * DAY,
            claim_by: self.clock.now().plus(DAY),
        };
        Token {
            hash: PaymentHash::from_bytes(hash),
            terms,
        }
    }

    pub(crate) fn request(&self, token: &Token, cost: Cost) -> HoldRequest {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&serial().to_be_bytes());
        HoldRequest {
            hold: HoldId::new(self.clock.now(), random),
            account: token.account(),
            funding: Some(token.funding()),
            swapped: None,
            allowance: Allowance::default(),
            route: token.terms.route.clone(),
            model: None,
            cost,
            once: None,
            max_voids: 1_000,
            now: self.clock.now(),
            basis: None,
        }
    }

    pub(crate) async fn admit(&self, request: HoldRequest) -> Admitted {
        self.ledger.hold(request).await.expect("the store works")
    }

    pub(crate) async fn call(&self, token: &Token) -> Admitted {
        self.admit(self.request(token, Cost::Call)).await
    }

    pub(crate) async fn call_once(&self, token: &Token, key: u8, of: u8) -> Admitted {
        self.admit(HoldRequest {
            once: once(key, of),
            ..self.request(token, Cost::Call)
        })
        .await
    }

    pub(crate) async fn draw(&self, token: &Token, amount: u64) -> Admitted {
        self.admit(self.request(token, Cost::Amount(msat(amount))))
            .await
    }

    pub(crate) async fn hold(&self, token: &Token) -> Hold {
        held(self.call(token).await)
    }

    /// Lets a pass begin with its first answer.
    pub(crate) async fn begin_pass(&self, token: &Token) {
        self.hold(token).await.begin_pass(self.clock.now());
    }

    pub(crate) async fn error(&self, request: HoldRequest) -> LedgerError {
        self.ledger
            .hold(request)
            .await
            .expect_err("is refused by an error")
    }

    /// The account after everything queued is written.
    pub(crate) async fn account(&self, token: &Token) -> AccountView {
        self.ledger.flush().await.expect("the store works");
        let found = self
            .ledger
            .account(token.account())
            .await
            .expect("the store reads");
        found.expect("the account was claimed")
    }

    /// The trial balance after everything queued is written; it must be sound.
    pub(crate) async fn sound(&self) -> TrialBalance {
        self.ledger.flush().await.expect("the store works");
        let trial = self.ledger.trial_balance().await.expect("the store reads");
        assert!(trial.is_sound(), "the books are wrong: {trial:?}");
        assert_eq!(trial.open_holds, self.ledger.stats().open_holds);
        trial
    }
}

/// Money out.
impl Shop {
    /// A holder's request for a payout to a new invoice, with no limits to speak of.
    pub(crate) fn payout(&self, token: &Token, amount: u64, max_fee: u64) -> PayoutRequest {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&serial().to_be_bytes());
        let mut destination = [0xdd; 32];
        destination[..8].copy_from_slice(&serial().to_be_bytes());
        PayoutRequest {
            id: PayoutId::new(self.clock.now(), random),
            account: token.account(),
            funding: Some(token.funding()),
            asked_by: AskedBy::Holder,
            destination_hash: PaymentHash::from_bytes(destination),
            bolt11: format!("lnbcrt{amount}"),
            amount: msat(amount),
            max_fee: msat(max_fee),
            backend: "alice".to_owned(),
            limits: PayoutLimits {
                least: Msat::ZERO,
                daily_total: Msat::MAX,
                account_part: NonZeroU64::MIN,
                max_open: u32::MAX,
                per_account_per_day: u32::MAX,
            },
            now: self.clock.now(),
        }
    }

    pub(crate) async fn ask(&self, request: PayoutRequest) -> PayoutAnswer {
        let answer = self.ledger.begin_payout(request).await;
        answer.expect("the store works")
    }

    pub(crate) async fn begin(&self, token: &Token, amount: u64, max_fee: u64) -> PayoutView {
        match self.ask(self.payout(token, amount, max_fee)).await {
            PayoutAnswer::Begun(view) => view,
            other => panic!("expected a payout, not {other:?}"),
        }
    }

    pub(crate) async fn paid(&self, payout: &PayoutView, fee: u64) -> PayoutView {
        self.end(payout, PayoutEnd::Paid { fee: msat(fee) }).await
    }

    pub(crate) async fn failed(&self, payout: &PayoutView) -> PayoutView {
        self.end(payout, PayoutEnd::Failed).await
    }

    async fn end(&self, payout: &PayoutView, end: PayoutEnd) -> PayoutView {
        let now = self.clock.now();
        let ended = self.ledger.finish_payout(payout.id, end, now).await;
        ended.expect("the end is written")
    }

    /// The node says that the payment brought so much in all.
    pub(crate) async fn receive(&self, token: &Token, received: u64) {
        let asked = token.terms.amount;
        let now = self.clock.now();
        let noted = self
            .ledger
            .note_received(token.hash, asked, msat(received), now);
        noted.await.expect("the store works");
    }
}

pub(crate) fn held(answer: Admitted) -> Hold {
    match answer {
        Admitted::Held(hold) => hold,
        other => panic!("expected a hold, not {other:?}"),
    }
}

/// What an account of the house stands at.
pub(crate) fn house(trial: &TrialBalance, name: &str) -> i64 {
    trial
        .house
        .iter()
        .find(|(known, _)| known == name)
        .map_or(0, |(_, balance)| *balance)
}
