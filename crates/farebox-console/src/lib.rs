//! The HTTP face for the seller: admin API, metrics and health of a running gateway.
//!
//! Who enters: the operator and the operator's programs, with the admin token; anybody may ask for
//! the health. The caller's `Host` is checked and CORS is never sent, so that no web page can
//! reach it through its visitor's browser. Nothing here is on the path of a paid request.
//!
//! | | |
//! |---|---|
//! | `GET /health` | 200 or 503, open |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /admin/v1/accounts?cursor=&limit=` | accounts in the order of their first claim |
//! | `GET /admin/v1/tokens/{payment_hash}` | one account |
//! | `GET /admin/v1/tokens/{payment_hash}/transfers?before=&limit=` | its transfers, latest first |
//! | `POST /admin/v1/tokens/{payment_hash}/revoke` | stops it from being spent |
//! | `POST /admin/v1/tokens/{payment_hash}/refund` `{"to": "…", "amount_msat": n}` | pays back what is on it |
//! | `GET /admin/v1/payouts?after=&limit=` | refunds in the order in which they were begun |
//! | `GET /admin/v1/payouts/{id}` | one of them |
//! | `GET /admin/v1/ecash` | what there is of each unit of each mint |
//! | `POST /admin/v1/ecash/withdrawals` `{"id": …, "mint": …, "unit": …, "amount": n}` | takes coins out as a token |
//! | `GET /admin/v1/ecash/withdrawals` | the latest of them |
//! | `GET /admin/v1/ecash/withdrawals/{id}` | one of them, with its token |
//! | `POST /admin/v1/payouts/{id}/close` `{"as": "paid"\|"failed", "fee_msat": n}` | ends one whose backend never will |
//! | `GET /admin/v1/charges?route=&account=&since=&until=&before=&limit=` | charges, latest first |
//! | `GET /admin/v1/charges/{id}` | one of them, by its receipt |
//! | `GET /admin/v1/keys?cursor=&limit=` | prepaid keys in the order in which they were made |
//! | `POST /admin/v1/keys` `{"parent": id, "total_msat": n, …}` | makes one |
//! | `GET /admin/v1/keys/{id}` | one of them |
//! | `POST /admin/v1/keys/{id}/limits` `{"total_msat": n, …}` | replaces its limits |
//! | `POST /admin/v1/keys/{id}/revoke` | stops it from being spent |
//! | `POST /admin/v1/keys/rotate` `{"emergency": bool}` | signs with a new secret |
//! | `GET /admin/v1/ledger/trial-balance` | the proof that the books are right |
//! | `POST /test/pay` `{"invoice": "…"}` | pays with test money, where that is on; open |

mod access;
mod admin;
mod charges;
mod ecash;
mod error;
mod figures;
mod keys;
mod metrics;
mod pay;
mod payouts;
mod server;
mod view;

pub use access::AdminToken;
pub use server::{Console, start};
pub use view::trial_balance;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{get, post};
use farebox_core::Clock;
use farebox_gateway::metrics::Metrics;
use farebox_ledger::Ledger;
use farebox_lightning::mock::MockNode;
use farebox_market::rates::watch::RateWatch;
use farebox_paywall::ecash::Till;
use farebox_paywall::keyring::Keyring;
use farebox_paywall::payout::Payouts;

use crate::error::ConsoleError;
use crate::figures::Figures;

/// The longest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the console shows and changes.
pub struct Options {
    /// Who may enter.
    pub token: AdminToken,
    /// Names it answers to, besides `localhost` and loopback addresses.
    pub hosts: Vec<String>,
    /// The ledger.
    pub ledger: Ledger,
    /// The gateway's counters.
    pub metrics: Arc<Metrics>,
    /// The secrets that sign tokens.
    pub keyring: Arc<Keyring>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What pays back; nothing does when absent.
    pub payouts: Option<Arc<Payouts>>,
    /// The seller's side of ecash; there is none when absent.
    pub till: Option<Till>,
    /// What is known of exchange rates.
    pub rates: Option<Arc<RateWatch>>,
    /// The node of test money, which opens the pay door; only ever where that was asked for.
    pub test_money: Option<Arc<MockNode>>,
}

/// What every handler knows.
struct State {
    options: Options,
    figures: Figures,
}

type Shared = Arc<State>;

impl State {
    /// The ledger, when everything that was answered before has reached the store: whoever just bought
    /// something looks it up here.
    async fn settled(&self) -> Result<&Ledger, ConsoleError> {
        self.options.ledger.flush().await?;
        Ok(&self.options.ledger)
    }
}

/// The console's routes.
pub fn router(options: Options) -> Router {
    let state = Arc::new(State {
        figures: Figures::new(options.ledger.clone(), options.till.clone()),
        options,
    });
    let admin = Router::new()
        .route("/metrics", get(metrics::show))
        .route("/admin/v1/accounts", get(admin::accounts))
        .route("/admin/v1/tokens/{payment_hash}", get(admin::token))
        .route(
            "/admin/v1/tokens/{payment_hash}/transfers",
            get(admin::transfers),
        )
        .route(
            "/admin/v1/tokens/{payment_hash}/revoke",
            post(admin::revoke),
        )
        .route(
            "/admin/v1/tokens/{payment_hash}/refund",
            post(payouts::refund),
        )
        .route("/admin/v1/payouts", get(payouts::list))
        .route("/admin/v1/payouts/{id}", get(payouts::show))
        .route("/admin/v1/payouts/{id}/close", post(payouts::close))
        .route("/admin/v1/ecash", get(ecash::list))
        .route(
            "/admin/v1/ecash/withdrawals",
            get(ecash::withdrawals).post(ecash::withdraw),
        )
        .route(
            "/admin/v1/ecash/withdrawals/{id}",
            get(ecash::withdrawal_of),
        )
        .route("/admin/v1/charges", get(charges::list))
        .route("/admin/v1/charges/{id}", get(charges::show))
        .route("/admin/v1/keys", get(keys::list).post(keys::make))
        .route("/admin/v1/keys/rotate", post(admin::rotate))
        .route("/admin/v1/keys/{id}", get(keys::show))
        .route("/admin/v1/keys/{id}/limits", post(keys::set_limits))
        .route("/admin/v1/keys/{id}/revoke", post(keys::revoke))
        .route("/admin/v1/keys/{id}/refund", post(payouts::refund_key))
        .route("/admin/v1/ledger/trial-balance", get(admin::trial_balance))
        .layer(from_fn_with_state(
            Arc::clone(&state),
            access::require_token,
        ));
    let mut named = Router::new().merge(admin);
    if state.options.test_money.is_some() {
        named = named.route("/test/pay", post(pay::pay));
    }
    named
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&state), access::require_host))
        .route("/health", get(admin::health))
        .layer(map_response(access::never_cache))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

#[cfg(test)]
mod tests;
