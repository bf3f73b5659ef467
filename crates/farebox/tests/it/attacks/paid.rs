//! Paid, and nothing delivered: what nodes, wallets and providers say beside the word "settled", what they
//! do not make, and what is left of a store that was restored in part.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mock_node::TestNode;
use serde_json::{Value, json};

use crate::backends::node::Node;
use crate::backends::phoenixd::Phoenixd;
use crate::harness::{
    Call, Challenge, Reply, Route, Setup, TestGateway, Token, farebox, with_upstream,
};
use crate::refunds::lnd::{invoice_of, mock_node};
use crate::refunds::server::{Answer, Ask, serve};

/// Whoever keeps the seller's address, honest unless a test says otherwise.
struct Provider {
    address: SocketAddr,
    node: Arc<TestNode>,
    /// What it answers to whoever asks whether an invoice was paid.
    verified: Arc<Mutex<Value>>,
}

impl Provider {
    /// `make` says over how much an invoice is that is asked for, or what is answered instead.
    fn start(make: fn(u64) -> Result<u64, Value>) -> Self {
        let (node, verified) = (mock_node(), Arc::new(Mutex::new(Value::Null)));
        let (payee, told) = (Arc::clone(&node), Arc::clone(&verified));
        let address = serve(move |ask| {
            let answer = match ask.path.as_str() {
                "/cb" => match make(amount(ask)) {
                    Ok(msat) => json!({
                        "pr": invoice_of(&payee, msat, 3600).bolt11,
                        "verify": format!("http://{}/verify", ask.host),
                    }),
                    Err(refusal) => refusal,
                },
                "/verify" => told.lock().unwrap().clone(),
                _ => json!({
                    "tag": "payRequest",
                    "callback": format!("http://{}/cb", ask.host),
                    "minSendable": 1000.0,
                    "maxSendable": "100000000",
                    "metadata": "[[\"text/plain\",\"kiosk\"]]",
                }),
            };
            Answer::Json(200, answer.to_string())
        });
        Self {
            address,
            node,
            verified,
        }
    }

    fn honest() -> Self {
        Self::start(Ok)
    }

    fn verifies(&self, answer: Value) {
        *self.verified.lock().unwrap() = answer;
    }

    fn toml(&self) -> String {
        let address = self.address;
        format!(
            "backend = \"lightning-address\"\naddress = \"me@{address}\"\n\
             allow_hosts = [\"{address}\"]"
        )
    }

    fn pay(&self, invoice: &str) -> String {
        hex::encode(self.node.pay(invoice).unwrap().reveal())
    }
}

fn amount(ask: &Ask) -> u64 {
    let amounts = ask.query.split('&').find_map(|p| p.strip_prefix("amount="));
    amounts.unwrap().parse().unwrap()
}

/// A gateway that is paid by what these lines name, with one route.
fn shop(lightning: &str, msat: u64) -> (ScriptedUpstream, TestGateway) {
    with_upstream(|upstream| {
        let route = Route::at("/paid", upstream).msat(msat);
        TestGateway::start(Setup::new().lightning(lightning).route(route))
    })
}

/// Asks by the claim of an unpaid answer.
fn by_claim(gateway: &TestGateway, unpaid: &Reply) -> Reply {
    let claim = unpaid.find("farebox-claim").unwrap().to_owned();
    gateway.send(&Call::get("/paid/a").header("Farebox-Claim", &claim))
}

#[test]
fn a_payment_counts_by_the_providers_word_whatever_preimage_stands_beside_it() {
    for preimage in [json!("0".repeat(64)), json!("8f1f6b2e-5d1c"), json!(7)] {
        let provider = Provider::honest();
        let (upstream, gateway) = shop(&provider.toml(), 2000);
        provider.verifies(json!({ "status": "ERROR", "reason": "Not found" }));
        let unpaid = gateway.send(&Call::get("/paid/a")).expect(402);
        let waiting = by_claim(&gateway, &unpaid).expect(402);
        assert_eq!(waiting.json()["reason"], "not_paid_yet");
        let paid = Challenge::of(&unpaid);
        let token = paid.clone().paid_with(provider.pay(&paid.invoice));
        provider.verifies(json!({ "status": "OK", "settled": true, "preimage": preimage }));
        // What was looked up a moment ago is good for a second.
        let reply = eventually(|| by_claim(&gateway, &unpaid), |reply| reply.status != 402);
        reply.expect(200);
        assert_eq!(upstream.total(), 1);
        assert_eq!(gateway.charged(&token), 2000);
        assert!(!gateway.log().contains("could not look an invoice up"));
    }
}

fn eventually(mut ask: impl FnMut() -> Reply, done: impl Fn(&Reply) -> bool) -> Reply {
    let give_up_at = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let reply = ask();
        if done(&reply) || std::time::Instant::now() > give_up_at {
            return reply;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_provider_of_whole_satoshis_sells_the_next_whole_one_and_the_rest_stays_on_the_balance() {
    let refusing = |msat: u64| match msat % 1000 {
        0 => Ok(msat),
        _ => Err(json!({ "status": "ERROR", "reason": "amount must be whole sats" })),
    };
    let rounding_down = |msat: u64| Ok(msat / 1000 * 1000);
    let rounding_up = |msat: u64| Ok(msat.div_ceil(1000) * 1000);
    for make in [refusing, rounding_down, rounding_up] {
        let provider = Provider::start(make);
        let (_upstream, gateway) = shop(&provider.toml(), 1500);
        let call = Call::get("/paid/a");
        for _ in 0..2 {
            let unpaid = gateway.send(&call).expect(402);
            assert_eq!(unpaid.json()["amount_msat"], 2000);
            let paid = Challenge::of(&unpaid);
            let asked = farebox_lightning::parse_invoice(&paid.invoice).unwrap();
            assert_eq!(asked.amount.get(), 2000);
            let token = paid.clone().paid_with(provider.pay(&paid.invoice));
            let reply = gateway.send(&call.clone().with(&token)).expect(200);
            assert_eq!(reply.find("farebox-balance-msat"), Some("500"));
            assert_eq!(gateway.charged(&token), 1500);
        }
    }
}

#[test]
fn a_doctor_makes_an_invoice_of_the_address_and_says_what_is_wrong_with_it() {
    let provider = Provider::honest();
    let folder = tempfile::tempdir().unwrap();
    let examine = |more: &str| {
        let setup = Setup::new().lightning(&format!("{}\n{more}", provider.toml()));
        let toml = setup.to_toml(folder.path(), (0, 0));
        let route = "[[route]]\nname = \"a\"\npath = \"/\"\nupstream = \"http://127.0.0.1:9\"\n\
                     price = { msat = 2000 }\n";
        let file = folder.path().join("farebox.toml");
        fs::write(&file, format!("{toml}{route}")).unwrap();
        let output = farebox(["doctor", "-c"]).arg(&file).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, said) = examine("");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("made an invoice for 1000 msat"), "{said}");
    let (code, said) = examine("description_hash = \"required\"");
    assert_eq!(code, Some(1), "{said}");
    let wrong = said.lines().find(|line| line.starts_with("WRONG")).unwrap();
    assert!(wrong.contains("does not commit to the metadata"), "{said}");
    assert!(wrong.contains("`description_hash`"), "{said}");
}

#[test]
fn a_fee_below_a_satoshi_leaves_nothing_unpaid() {
    let node = Phoenixd::start();
    node.take_a_fee();
    let (upstream, gateway) = shop(&node.toml_without_webhook(), 100_000);
    let unpaid = gateway.send(&Call::get("/paid/a")).expect(402);
    let paid = Challenge::of(&unpaid);
    let token = paid.clone().paid_with(node.pay(&paid.invoice, 0));
    let reply = eventually(|| by_claim(&gateway, &unpaid), |reply| reply.status != 402);
    reply.expect(200);
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), 100_000);

    let order = Call::post("/.farebox/keys", r#"{"amount_sat":100}"#);
    let order = gateway.send(&order.header("Content-Type", "application/json"));
    let order = order.expect(201).json();
    node.pay(order["invoice"].as_str().unwrap(), 0);
    let own = Call::get("/.farebox/keys/self");
    let own = own.header(
        "Authorization",
        &format!("Bearer {}", order["key"].as_str().unwrap()),
    );
    let state = |reply: &Reply| reply.json()["state"] == "active";
    let told = eventually(|| gateway.send(&own), state).json();
    assert_eq!(told["balance_msat"], 100_000, "{told}");
}

#[test]
fn a_token_of_which_the_node_knows_nothing_is_asked_to_pay_again() {
    let before = Node::start();
    let strict = |node: &Node| format!("{}\nstrict = true", node.toml());
    let (upstream, mut gateway) = shop(&strict(&before), 2000);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let token = challenge
        .clone()
        .paid_with(before.pay(&challenge.invoice, 0));
    // A node set up anew, which has lost what the old one knew.
    let anew = Node::start();
    let route = Route::at("/paid", &upstream).msat(2000);
    gateway.reconfigure(Setup::new().lightning(&strict(&anew)).route(route));
    gateway.restart();
    let refused = gateway.send(&call.clone().with(&token)).expect(402);
    assert_eq!(refused.find("x-reason"), Some("no settled invoice"));
    let challenge = Challenge::of(&refused);
    let token = challenge.clone().paid_with(anew.pay(&challenge.invoice, 0));
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.total(), 1);
}

/// A token that was used once.
fn sold() -> (ScriptedUpstream, TestGateway, Token) {
    let (upstream, gateway) = with_upstream(|upstream| {
        let route = Route::at("/paid", upstream).msat(2000).calls(5);
        TestGateway::start(Setup::new().route(route))
    });
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 2000);
    (upstream, gateway, token)
}

/// The file of what tokens are signed with.
fn keys(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let is_keyring = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.contains("\"epochs\"")
    };
    files.into_iter().find(is_keyring).unwrap()
}

#[test]
fn a_store_that_has_sold_something_does_not_start_without_its_signing_keys() {
    let (_upstream, mut gateway, token) = sold();
    let call = Call::get("/paid/a").with(&token);
    gateway.stop();
    let file = keys(gateway.folder());
    let kept = fs::read(&file).unwrap();
    // Those of another store, as a machine has them on which a backup is restored.
    let (_other, mut other, _) = sold();
    other.stop();
    fs::remove_file(&file).unwrap();
    for others in [None, Some(keys(other.folder()))] {
        if let Some(others) = &others {
            fs::copy(others, &file).unwrap();
        }
        let present = fs::read(&file).ok();
        let said = gateway.fail_to_start();
        assert!(said.contains("--new-signing-keys"), "{said}");
        assert!(said.contains(file.to_str().unwrap()), "{said}");
        // Nothing was made in their place.
        assert_eq!(fs::read(&file).ok(), present);
    }
    let doctor = gateway.command(&["doctor", "--insecure-test-money"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("WRONG signing keys"), "{said}");
    fs::write(&file, &kept).unwrap();
    gateway.start_again(&[]);
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), 4000);
}

#[test]
fn who_insists_on_new_signing_keys_starts_with_them_and_has_insisted_for_good() {
    for others in [false, true] {
        let (_upstream, mut gateway, token) = sold();
        let call = Call::get("/paid/a");
        gateway.stop();
        let file = keys(gateway.folder());
        fs::remove_file(&file).unwrap();
        if others {
            let (_other, mut other, _) = sold();
            other.stop();
            fs::copy(keys(other.folder()), &file).unwrap();
        }
        gateway.start_once_with("--new-signing-keys");
        assert_ne!(gateway.send(&call.clone().with(&token)).status, 200);
        let new = gateway.buy(&call);
        gateway.restart();
        gateway.send(&call.clone().with(&new)).expect(200);
    }
}

#[test]
fn a_store_with_a_page_of_noise_is_not_called_sound() {
    const PAGE: usize = 4096;
    let (_upstream, mut gateway, _) = sold();
    gateway.stop();
    let whole = fs::read(gateway.folder().join("farebox.db")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let verify = || {
        let store = format!("sqlite://{}", copy.display());
        farebox(["db", "verify", "--store", &store])
            .output()
            .unwrap()
    };
    fs::write(&copy, &whole).unwrap();
    assert!(verify().status.success());
    let pages = whole.len() / PAGE;
    assert!(pages > 10, "{pages}");
    for page in 1..pages {
        let mut damaged = whole.clone();
        let noise = (0_u32..).map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        let place = page * PAGE..(page + 1) * PAGE;
        damaged[place]
            .iter_mut()
            .zip(noise)
            .for_each(|(byte, noise)| *byte = noise);
        fs::write(&copy, &damaged).unwrap();
        let output = verify();
        assert_eq!(output.status.code(), Some(1), "page {page}: {output:?}");
    }
}
