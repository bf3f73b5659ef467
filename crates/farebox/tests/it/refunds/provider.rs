//! A provider of Lightning Addresses on this machine, honest unless a test says otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use farebox_testkit::mock_node::TestNode;
use serde_json::{Value, json};

use super::lnd::invoice_of;
use super::server::{Answer, Ask, serve};

/// The provider, and what it was asked.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What it does otherwise.
#[derive(Clone, Debug)]
pub(super) enum Trick {
    /// Nothing.
    Honest,
    /// Sends whoever asks for its parameters elsewhere.
    RedirectParameters(String),
    /// Names this callback.
    Callback(String),
    /// Sends whoever asks for an invoice elsewhere.
    RedirectCallback(String),
    /// Takes no less and no more.
    Limits(u64, u64),
    /// Asks for more than it was asked for.
    Overcharge,
    /// Makes no invoice over a part of a satoshi.
    WholeSats,
}

impl Provider {
    pub(super) fn start(payee: &Arc<TestNode>, trick: Trick) -> Self {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, payee) = (Arc::clone(&seen), Arc::clone(payee));
        let address = serve(move |ask| {
            noted.lock().unwrap().push(ask.path.clone());
            answer(ask, &payee, &trick)
        });
        Self { address, seen }
    }

    /// `me@host:port`.
    pub(super) fn me(&self) -> String {
        format!("me@{}", self.address)
    }

    /// The paths that were asked for.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(ask: &Ask, payee: &TestNode, trick: &Trick) -> Answer {
    match (ask.path.as_str(), trick) {
        ("/cb", Trick::RedirectCallback(to)) => Answer::Redirect(to.clone()),
        ("/cb", Trick::WholeSats) if !amount(ask).is_multiple_of(1000) => {
            let refusal = json!({ "status": "ERROR", "reason": "amount must be whole sats" });
            Answer::Json(200, refusal.to_string())
        }
        ("/cb", _) => Answer::Json(200, invoice(ask, payee, trick).to_string()),
        (_, Trick::RedirectParameters(to)) => Answer::Redirect(to.clone()),
        _ => Answer::Json(200, parameters(ask, trick).to_string()),
    }
}

fn parameters(ask: &Ask, trick: &Trick) -> Value {
    let callback = match trick {
        Trick::Callback(callback) => callback.clone(),
        _ => format!("http://{}/cb", ask.host),
    };
    let (min, max) = match trick {
        Trick::Limits(min, max) => (*min, *max),
        _ => (1, 100_000_000),
    };
    json!({
        "tag": "payRequest",
        "callback": callback,
        "minSendable": min,
        "maxSendable": max,
        "metadata": "[[\"text/plain\",\"pay me\"]]",
    })
}

fn amount(ask: &Ask) -> u64 {
    let amounts = ask.query.split('&').find_map(|p| p.strip_prefix("amount="));
    amounts.unwrap().parse().unwrap()
}

fn invoice(ask: &Ask, payee: &TestNode, trick: &Trick) -> Value {
    let more = u64::from(matches!(trick, Trick::Overcharge));
    json!({ "pr": invoice_of(payee, amount(ask) + more, 3600).bolt11, "routes": [] })
}
