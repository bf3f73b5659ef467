//! That a gateway looks after payments for keys by itself.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{Clock, KeyHash, Msat};
use farebox_http::client_addr::TrustedProxies;
use farebox_http::limits::{ChallengeRates, Rate};
use farebox_http::listen::ListenLimits;
use farebox_http::routes::RouteTable;
use farebox_ledger::{Ledger, OpenKey, OpenOptions, PendingDeposit, TopUpBy};
use farebox_lightning::backends::{Backends, NamedBackend};
use farebox_lightning::follow::Settlements;
use farebox_lightning::mock::MockNode;
use farebox_lightning::{Backend, CreateInvoice, InvoiceRequest};
use farebox_paywall::ask::PaymentRules;
use farebox_paywall::keyring::Keyring;
use farebox_testkit::ManualClock;

use super::{Gateway, GatewaySettings, Options};
use crate::access_log::{AccessLogOptions, LogFormat};
use crate::plan::{BadCredential, Plan, ServerRules};

const KEY: KeyHash = KeyHash::from_bytes([9; 32]);
const EXPIRY: Duration = Duration::from_secs(600);
const WAIT_AT_MOST: Duration = Duration::from_secs(20);

/// A gateway without routes, whose node tells nothing by itself.
fn start(
    ledger: &Ledger,
    node: Arc<MockNode>,
    clock: Arc<dyn Clock>,
    folder: &std::path::Path,
) -> Gateway {
    let rate = Rate::new(NonZeroU32::MIN, EXPIRY, NonZeroU32::MIN);
    let secret = folder.join("farebox.secret");
    let keyring = Keyring::open(&secret, None, clock.now()).unwrap();
    let settings = GatewaySettings {
        held: crate::HeldRules::default(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 1,
        tls: None,
        limits: ListenLimits::default(),
        challenges: ChallengeRates {
            per_prefix: rate,
            global: rate,
        },
        body_budget_bytes: 1 << 20,
        replay_bytes: 1 << 20,
        access_log: AccessLogOptions {
            format: LogFormat::Off,
            file: None,
        },
    };
    let options = Options {
        settings,
        ledger: ledger.clone(),
        keyring: Arc::new(keyring),
        clock,
        payouts: None,
        settlements: Settlements::new(),
    };
    super::start(options, plan(node)).unwrap()
}

/// No routes, and one backend.
fn plan(node: Arc<MockNode>) -> Plan {
    let server = ServerRules {
        trusted_proxies: TrustedProxies::new(Vec::new()),
        bad_credential: BadCredential::Unauthorized,
        legacy_challenge: false,
        path_parameters: false,
        underscores_in_headers: false,
        public_https: false,
        prepaid_keys: true,
        overtime: Duration::from_secs(60),
    };
    let backend = NamedBackend {
        name: "alice".to_owned(),
        node: Arc::new(Backend::from(node)),
    };
    Plan {
        server,
        routes: RouteTable::build([]).unwrap(),
        payments: PaymentRules {
            node: Some(Arc::new(Backends::new(vec![backend]).unwrap())),
            mints: Default::default(),
            request_form: Default::default(),
            invoice_expiry: EXPIRY,
            strict_settlement: false,
        },
    }
}

#[tokio::test]
async fn a_running_gateway_credits_what_was_paid_for_a_key_that_nobody_uses() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Arc::new(ManualClock::default());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&hand);
    let options = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&clock));
    let (ledger, _) = farebox_ledger::open(&options).unwrap();
    let node = Arc::new(MockNode::new(Arc::clone(&clock)).unwrap());
    let paid = InvoiceRequest {
        amount: Msat::new(21_000).unwrap(),
        memo: String::new(),
        expiry: EXPIRY,
    };
    let paid = node.create_invoice(paid).await.unwrap();
    let open = OpenKey {
        key: KEY,
        public_id: "fk_1".to_owned(),
        created_at: clock.now(),
        note: None,
    };
    let pending = PendingDeposit {
        payment_hash: paid.payment_hash,
        key: KEY,
        amount: paid.amount,
        expires_at: paid.expires_at,
    };
    ledger.open_key(open).await.unwrap();
    let noted = ledger.pending_deposit(pending, TopUpBy::Stranger);
    noted.await.unwrap();
    node.pay(&paid.bolt11).unwrap();
    hand.set(clock.now().plus(EXPIRY * 2));

    let gateway = start(&ledger, node, clock, folder.path());
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    while ledger.key(KEY).await.unwrap().unwrap().balance < paid.amount {
        assert!(Instant::now() < give_up_at, "nobody credits it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.drain(Duration::from_secs(5)).await;
    ledger.close().await;
}
