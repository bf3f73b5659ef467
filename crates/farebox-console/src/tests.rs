use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use farebox_core::UnixMillis;
use farebox_gateway::Gateway;
use farebox_gateway::access_log::{AccessLogOptions, LogFormat};
use farebox_gateway::plan::{BadCredential, Plan, ServerRules};
use farebox_http::client_addr::TrustedProxies;
use farebox_http::limits::{ChallengeRates, Rate};
use farebox_http::listen::ListenLimits;
use farebox_http::routes::RouteTable;
use farebox_ledger::{Ledger, OpenOptions};
use farebox_lightning::mock::MockNode;
use farebox_lightning::{CreateInvoice, InvoiceRequest};
use farebox_paywall::ask::PaymentRules;
use farebox_paywall::keyring::Keyring;
use farebox_testkit::ManualClock;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HASH: &str = "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc";

/// A console with a ledger and an idle gateway behind it.
struct House {
    console: Console,
    gateway: Gateway,
    ledger: Ledger,
    node: Arc<MockNode>,
    keyring: Arc<Keyring>,
    _folder: TempDir,
}

async fn house(money: bool) -> House {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixMillis::from_secs(1_800_000_000)));
    let store = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&clock));
    let (ledger, _) = farebox_ledger::open(&store).unwrap();
    let secret = folder.path().join("farebox.secret");
    let keyring = Arc::new(Keyring::open(&secret, None, clock.now()).unwrap());
    let gateway = idle_gateway(&ledger, &keyring, &clock);
    let node = Arc::new(MockNode::new(Arc::clone(&clock)).unwrap());
    let router = router(Options {
        token: AdminToken::parse(TOKEN).unwrap(),
        hosts: vec!["console.internal".to_owned()],
        ledger: ledger.clone(),
        metrics: Arc::clone(gateway.metrics()),
        keyring: Arc::clone(&keyring),
        clock,
        payouts: None,
        till: None,
        rates: None,
        test_money: money.then(|| Arc::clone(&node)),
    });
    let console = start(SocketAddr::from(([127, 0, 0, 1], 0)), router)
        .await
        .unwrap();
    House {
        console,
        gateway,
        ledger,
        node,
        keyring,
        _folder: folder,
    }
}

fn idle_gateway(ledger: &Ledger, keyring: &Arc<Keyring>, clock: &Arc<dyn Clock>) -> Gateway {
    let one = std::num::NonZeroU32::MIN;
    let rate = Rate::new(one, std::time::Duration::from_secs(1), one);
    let settings = farebox_gateway::GatewaySettings {
        held: farebox_gateway::HeldRules::default(),
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
    let options = farebox_gateway::Options {
        settings,
        ledger: ledger.clone(),
        keyring: Arc::clone(keyring),
        clock: Arc::clone(clock),
        payouts: None,
        settlements: farebox_lightning::follow::Settlements::new(),
    };
    let server = ServerRules {
        trusted_proxies: TrustedProxies::new(Vec::new()),
        bad_credential: BadCredential::Unauthorized,
        legacy_challenge: false,
        path_parameters: false,
        underscores_in_headers: false,
        public_https: false,
        prepaid_keys: false,
        overtime: std::time::Duration::from_secs(60),
    };
    let routes = RouteTable::build([]).unwrap();
    farebox_gateway::start(
        options,
        Plan {
            server,
            routes,
            payments: PaymentRules {
                node: None,
                mints: Default::default(),
                request_form: Default::default(),
                invoice_expiry: std::time::Duration::from_secs(600),
                strict_settlement: false,
            },
        },
    )
    .unwrap()
}

struct Answer {
    status: StatusCode,
    headers: hyper::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl House {
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let uri = format!("http://{}{path}", self.console.local_addr());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    async fn admin(&self, line: &str, body: &str) -> Answer {
        let token = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        self.send(line, &headers, body).await
    }

    async fn end(self) {
        self.console.stop().await;
        self.gateway.drain(std::time::Duration::from_secs(1)).await;
        self.ledger.close().await;
    }
}

const GUARDED: [&str; 15] = [
    "GET /metrics",
    "GET /admin/v1/accounts",
    "GET /admin/v1/ledger/trial-balance",
    "POST /admin/v1/keys/rotate",
    "GET /admin/v1/tokens/x",
    "GET /admin/v1/tokens/x/transfers",
    "POST /admin/v1/tokens/x/revoke",
    "POST /admin/v1/tokens/x/refund",
    "GET /admin/v1/payouts",
    "GET /admin/v1/payouts/x",
    "POST /admin/v1/payouts/x/close",
    "GET /admin/v1/ecash",
    "GET /admin/v1/ecash/withdrawals",
    "POST /admin/v1/ecash/withdrawals",
    "GET /admin/v1/ecash/withdrawals/x",
];

#[tokio::test]
async fn nothing_but_health_opens_without_the_token() {
    let house = house(false).await;
    for line in GUARDED {
        for token in [
            None,
            Some(""),
            Some("Bearer "),
            Some("Bearer wrong"),
            Some("Basic YTpi"),
        ] {
            let headers: Vec<_> = token
                .iter()
                .map(|token| ("authorization", *token))
                .collect();
            let answer = house.send(line, &headers, "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{line} {token:?}");
            assert_eq!(answer.json()["error"], "unauthorized");
        }
    }
    assert_eq!(
        house.send("GET /health", &[], "").await.status,
        StatusCode::OK
    );
    house.end().await;
}

#[tokio::test]
async fn two_tokens_in_one_request_are_none() {
    let house = house(false).await;
    let right = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", "Bearer wrong"),
        ("authorization", right.as_str()),
    ];
    let answer = house.send("GET /metrics", &headers, "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    house.end().await;
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_even_with_the_token() {
    let house = house(true).await;
    let token = format!("Bearer {TOKEN}");
    for line in ["GET /metrics", "POST /test/pay", "GET /nothing"] {
        let headers = [("authorization", token.as_str()), ("host", "evil.example")];
        let answer = house.send(line, &headers, "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{line}");
    }
    let headers = [
        ("authorization", token.as_str()),
        ("host", "console.internal:8403"),
    ];
    assert_eq!(
        house.send("GET /metrics", &headers, "").await.status,
        StatusCode::OK
    );
    house.end().await;
}

#[tokio::test]
async fn answers_are_for_no_cache_and_no_other_origin() {
    let house = house(false).await;
    let answer = house
        .send("GET /health", &[("origin", "https://a.example")], "")
        .await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    house.end().await;
}

#[tokio::test]
async fn metrics_hold_the_gateway_and_the_ledger_and_end_once() {
    let house = house(false).await;
    let answer = house.admin("GET /metrics", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    for line in [
        "farebox_trial_balance_msat 0",
        "farebox_trial_balance_sound 1",
        "farebox_holds_open 0",
        "farebox_seller_loss_msat_total 0",
        "farebox_payments_total{method=\"l402\"} 0",
        "farebox_in_msat_total{method=\"l402\"} 0",
        "# TYPE farebox_ledger_commit_seconds histogram",
        "# TYPE farebox_requests counter",
    ] {
        assert!(answer.text.contains(line), "{line} in {}", answer.text);
    }
    assert_eq!(answer.text.matches("# EOF").count(), 1);
    house.end().await;
}

#[tokio::test]
async fn an_unused_token_has_no_account_and_can_be_revoked() {
    let house = house(false).await;
    let answer = house
        .admin(&format!("GET /admin/v1/tokens/{HASH}"), "")
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"].clone()),
        (StatusCode::NOT_FOUND, "no_account".into())
    );
    let answer = house
        .admin(&format!("POST /admin/v1/tokens/{HASH}/revoke"), "")
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["known"], false);
    house.end().await;
}

#[tokio::test]
async fn a_rotation_signs_with_the_next_epoch() {
    let house = house(false).await;
    let before = house.keyring.signing_epoch();
    let answer = house
        .admin("POST /admin/v1/keys/rotate", "{\"emergency\": true}")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["epoch"], before.0 + 1);
    assert_eq!(house.keyring.signing_epoch().0, before.0 + 1);
    let answer = house
        .admin("POST /admin/v1/keys/rotate", "{\"emergncy\": true}")
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    house.end().await;
}

#[tokio::test]
async fn the_trial_balance_of_an_empty_ledger_is_sound() {
    let house = house(false).await;
    let balance = house
        .admin("GET /admin/v1/ledger/trial-balance", "")
        .await
        .json();
    assert_eq!(
        (&balance["sound"], &balance["sum_msat"]),
        (&true.into(), &0.into())
    );
    let page = house
        .admin("GET /admin/v1/accounts?limit=10", "")
        .await
        .json();
    assert_eq!(page, serde_json::json!({ "accounts": [], "next": null }));
    house.end().await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let house = house(true).await;
    for line in [
        "GET /admin/v1/tokens/zz",
        "GET /admin/v1/accounts?limit=0",
        "GET /admin/v1/accounts?limit=1001",
        "GET /admin/v1/accounts?cursor=x",
        concat!(
            "GET /admin/v1/tokens/02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc",
            "/transfers?before=zz"
        ),
    ] {
        let answer = house.admin(line, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{line}");
        assert_eq!(answer.json()["error"], "bad_request");
    }
    assert_eq!(
        house.admin("GET /nothing", "").await.json()["error"],
        "not_found"
    );
    assert_eq!(
        house.admin("POST /test/pay", "{").await.status,
        StatusCode::BAD_REQUEST
    );
    let wrong = house.admin("DELETE /admin/v1/accounts", "").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    house.end().await;
}

#[tokio::test]
async fn test_money_is_paid_only_where_it_is_on() {
    let house = house(true).await;
    let request = InvoiceRequest {
        amount: farebox_core::Msat::new(1000).unwrap(),
        memo: "a call".to_owned(),
        expiry: std::time::Duration::from_secs(600),
    };
    let invoice = house.node.create_invoice(request).await.unwrap();
    let json = [("content-type", "application/json")];
    let body = serde_json::json!({ "invoice": invoice.bolt11 }).to_string();
    let answer = house.send("POST /test/pay", &json, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let preimage = answer.json()["preimage"].as_str().unwrap().to_owned();
    let preimage = farebox_core::Preimage::from_hex(preimage.as_bytes()).unwrap();
    assert!(preimage.opens(&invoice.payment_hash));
    let foreign = house
        .send("POST /test/pay", &json, "{\"invoice\": \"lnbc1\"}")
        .await;
    assert_eq!(foreign.status, StatusCode::UNPROCESSABLE_ENTITY);
    house.end().await;
    let real = self::house(false).await;
    assert_eq!(
        real.send("POST /test/pay", &json, &body).await.status,
        StatusCode::NOT_FOUND
    );
    real.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let house = house(true).await;
    let json = [("content-type", "application/json")];
    let body = format!("{{\"invoice\": \"{}\"}}", "a".repeat(100_000));
    let answer = house.send("POST /test/pay", &json, &body).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    house.end().await;
}

#[tokio::test]
async fn revoking_twice_is_harmless() {
    let house = house(false).await;
    for _ in 0..2 {
        let answer = house
            .admin(&format!("POST /admin/v1/tokens/{HASH}/revoke"), "")
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    house.end().await;
}
