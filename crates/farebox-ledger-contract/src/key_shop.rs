//! More of the cast: prepaid keys, their deposits and their children.

use farebox_core::{Allowance, Clock, HoldId, KeyHash, PaymentHash, RouteName};

use crate::shop::{Shop, held, msat, serial};
use farebox_ledger::{
    Admitted, Cost, Deposit, Deposited, Hold, HoldRequest, KeyLimits, KeyRefusal, KeyView, Noted,
    OpenChild, OpenKey, Opened, PendingDeposit, TopUpBy,
};

pub(crate) fn route(name: &str) -> RouteName {
    RouteName::parse(name).expect("is a route's name")
}

/// The payment of an invoice that nobody has seen before.
pub(crate) fn new_payment() -> PaymentHash {
    let mut hash = [0xee; 32];
    hash[..8].copy_from_slice(&serial().to_be_bytes());
    PaymentHash::from_bytes(hash)
}

pub(crate) fn new_key() -> KeyHash {
    KeyHash::of_secret(&serial().to_be_bytes())
}

pub(crate) fn refusal(answer: &Admitted) -> KeyRefusal {
    match answer {
        Admitted::Key(refusal) => *refusal,
        other => panic!("expected a refusal of the key, not {other:?}"),
    }
}

/// Limits in money alone.
pub(crate) fn at_most(total: Option<u64>, per_day: Option<u64>) -> KeyLimits {
    KeyLimits {
        total: total.map(msat),
        per_day: per_day.map(msat),
        ..KeyLimits::default()
    }
}

impl Shop {
    pub(crate) fn opening(&self) -> OpenKey {
        let key = new_key();
        OpenKey {
            key,
            public_id: format!("key-{key}")[..20].to_owned(),
            created_at: self.clock.now(),
            note: None,
        }
    }

    pub(crate) async fn open_key(&self, open: OpenKey) -> Opened {
        self.ledger.open_key(open).await.expect("the store works")
    }

    /// A new key with this much on it; without, it is inactive.
    pub(crate) async fn new_key(&self, amount: u64) -> KeyHash {
        let open = self.opening();
        let key = open.key;
        assert!(matches!(self.open_key(open).await, Opened::Opened(_)));
        if amount > 0 {
            let credited = self.fund(key, new_payment(), amount).await;
            assert!(matches!(credited, Deposited::Credited(_)), "{credited:?}");
        }
        key
    }

    pub(crate) fn child_of(&self, parent: KeyHash, limits: KeyLimits) -> OpenChild {
        let OpenKey {
            key,
            public_id,
            created_at,
            note,
        } = self.opening();
        OpenChild {
            parent,
            child: key,
            public_id,
            limits,
            created_at,
            note,
        }
    }

    pub(crate) async fn open_child(&self, open: OpenChild) -> Opened {
        self.ledger.open_child(open).await.expect("the store works")
    }

    pub(crate) async fn new_child(&self, parent: KeyHash, limits: KeyLimits) -> KeyHash {
        let open = self.child_of(parent, limits);
        let child = open.child;
        let opened = self.open_child(open).await;
        assert!(matches!(opened, Opened::Opened(_)), "{opened:?}");
        child
    }

    pub(crate) async fn fund(&self, key: KeyHash, payment: PaymentHash, amount: u64) -> Deposited {
        let deposit = Deposit {
            payment_hash: payment,
            amount: msat(amount),
            at: self.clock.now(),
        };
        let answer = self.ledger.deposit(key, deposit).await;
        answer.expect("the store works")
    }

    pub(crate) async fn invoice(&self, key: KeyHash, payment: PaymentHash, amount: u64) -> Noted {
        self.invoice_by(TopUpBy::Holder, key, payment, amount).await
    }

    pub(crate) async fn invoice_by(
        &self,
        by: TopUpBy,
        key: KeyHash,
        payment: PaymentHash,
        amount: u64,
    ) -> Noted {
        let pending = PendingDeposit {
            payment_hash: payment,
            key,
            amount: msat(amount),
            expires_at: self.clock.now().plus(std::time::Duration::from_secs(3_600)),
        };
        let answer = self.ledger.pending_deposit(pending, by).await;
        answer.expect("the store works")
    }

    pub(crate) fn key_request(&self, key: KeyHash, amount: u64) -> HoldRequest {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&serial().to_be_bytes());
        HoldRequest {
            hold: HoldId::new(self.clock.now(), random),
            account: key.account(),
            funding: None,
            swapped: None,
            allowance: Allowance::default(),
            route: route("chat"),
            model: None,
            cost: Cost::Amount(msat(amount)),
            once: None,
            max_voids: 1_000,
            now: self.clock.now(),
            basis: None,
        }
    }

    pub(crate) async fn admit_key(&self, request: HoldRequest) -> Admitted {
        let answer = self.ledger.hold(request).await;
        answer.expect("the store works")
    }

    pub(crate) async fn spend(&self, key: KeyHash, amount: u64) -> Admitted {
        self.admit_key(self.key_request(key, amount)).await
    }

    pub(crate) async fn key_hold(&self, key: KeyHash, amount: u64) -> Hold {
        held(self.spend(key, amount).await)
    }

    /// The key after everything queued is written.
    pub(crate) async fn key(&self, key: KeyHash) -> KeyView {
        self.ledger.flush().await.expect("the store works");
        let found = self.ledger.key(key).await.expect("the store reads");
        found.expect("the key was opened")
    }

    pub(crate) async fn limit(&self, key: KeyHash, limits: KeyLimits) -> KeyView {
        let limited = self.ledger.limit_key(key, limits).await;
        limited.expect("the store works").expect("the key is known")
    }
}
