//! A seller with a wallet and no node: the gateway speaks Nostr Wallet Connect over a real relay, and
//! behind the wallet is alice.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox::clock::SystemClock;
use farebox_http::client::Trust;
use farebox_lightning::lnd::{Lnd, Macaroon};
use farebox_lightning::{Network, NodeOptions};
use farebox_testkit::ScriptedUpstream;
use farebox_testkit::lab::{Invoice, Node};
use farebox_testkit::wallet_service::{TestRelay, WalletOptions, WalletService};
use tempfile::TempDir;

use crate::harness::{Call, Reply, Route, Setup, TestGateway, Token};
use crate::payouts::{BACK, assert_received_once, payouts, wait_until_paid};
use crate::stage::{PRICE, Stage, alone, paid, refund_to, shared, upstream};

/// What a token buys.
const BALANCE: u64 = 100_000;

/// alice's wallet on two relays, and the file with its connection URI.
struct Wallet {
    service: WalletService,
    relays: Vec<TestRelay>,
    folder: TempDir,
}

impl Wallet {
    fn of(node: &Node) -> Self {
        let relays = vec![TestRelay::start().unwrap(), TestRelay::start().unwrap()];
        let urls: Vec<_> = relays.iter().map(TestRelay::url).collect();
        let options = WalletOptions::default();
        let service = WalletService::start(&urls, Arc::new(lnd(node)), options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wallet.uri"), service.uri()).unwrap();
        Self {
            service,
            relays,
            folder,
        }
    }

    /// The lines of `[lightning]`.
    fn lightning(&self) -> String {
        let file = self.folder.path().join("wallet.uri");
        format!(
            "backend = \"nwc\"\nnetwork = \"regtest\"\nuri = {{ file = \"{}\" }}\n\
             timeout = \"3s\"",
            file.display()
        )
    }

    fn setup(&self, route: Route) -> Setup {
        Setup::new()
            .lightning(&self.lightning())
            .route(route)
            .section("[refunds]\nenabled = true")
    }
}

/// alice's wallet, a gateway that is paid through it, and its upstream. The gateway ends first.
type Shop = (Stage, ScriptedUpstream, Wallet, TestGateway);

fn open(stage: Option<Stage>, route: impl Fn(&ScriptedUpstream) -> Route) -> Option<Shop> {
    let (stage, upstream) = (stage?, upstream());
    let wallet = Wallet::of(stage.alice());
    let gateway = TestGateway::start(wallet.setup(route(&upstream)));
    Some((stage, upstream, wallet, gateway))
}

fn lnd(node: &Node) -> Lnd {
    let macaroon = Macaroon::read(&fs::read(&node.macaroons.admin).unwrap()).unwrap();
    let options = NodeOptions::new(node.rest.parse().unwrap(), macaroon, Arc::new(SystemClock));
    Lnd::new(NodeOptions {
        network: Network::Regtest,
        trust: Trust::pinned_pem(&fs::read(&node.cert).unwrap()).unwrap(),
        ..options
    })
    .unwrap()
}

fn balance(upstream: &ScriptedUpstream) -> Route {
    paid(upstream).line(&format!("balance = {{ msat = {BALANCE} }}"))
}

fn refund(gateway: &TestGateway, token: &Token, invoice: &Invoice) -> Reply {
    gateway.send(&refund_to(invoice, token))
}

/// Fails unless `invoice` was paid once, and booked once.
#[track_caller]
fn assert_paid_once(stage: &Stage, gateway: &TestGateway, wallet: &Wallet, invoice: &Invoice) {
    assert_received_once(stage, invoice);
    assert_eq!(wallet.service.heard("pay_invoice"), 1);
    assert_eq!(payouts(gateway).len(), 1);
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn a_call_is_bought_from_a_wallet_over_a_real_channel() {
    let Some((stage, upstream, _wallet, gateway)) = open(alone(), paid) else {
        return;
    };
    let before = stage.balances();
    stage.buy_one_call(&gateway);
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn an_unused_balance_goes_back_through_the_wallet() {
    let Some((stage, _upstream, wallet, gateway)) = open(alone(), balance) else {
        return;
    };
    let before = stage.balances();
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    let paid = refund(&gateway, &token, &invoice).expect(200).json();
    assert_eq!(paid["refund"]["state"], "paid", "{paid}");
    assert_paid_once(&stage, &gateway, &wallet, &invoice);
    // Asking again is told what was done.
    let again = refund(&gateway, &token, &invoice).expect(200).json();
    assert_eq!(again["refund"]["id"], paid["refund"]["id"]);
    assert_paid_once(&stage, &gateway, &wallet, &invoice);
    stage.assert_paid(before, 10_000);
}

#[test]
fn a_refund_whose_answer_the_relays_lose_is_paid_once_and_booked_once() {
    let Some((stage, _upstream, wallet, gateway)) = open(alone(), balance) else {
        return;
    };
    let before = stage.balances();
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    wallet.service.lose_answers("pay_invoice");
    let told = refund(&gateway, &token, &invoice);
    assert!([200, 202].contains(&told.status), "{}", told.text());
    wait_until_paid(&gateway);
    assert_paid_once(&stage, &gateway, &wallet, &invoice);
    stage.assert_paid(before, 10_000);
}

#[test]
fn a_refund_stays_open_across_a_restart_while_the_wallet_says_nothing() {
    let Some((stage, _upstream, wallet, mut gateway)) = open(shared(), balance) else {
        return;
    };
    let token = stage.buy_and_use(&gateway);
    let invoice = stage.bob().invoice(BACK, 600).unwrap();
    wallet.service.lose_answers("pay_invoice");
    let address = gateway.address;
    let call = refund_to(&invoice, &token);
    let asked = std::thread::spawn(move || call.try_send(address).ok());
    let hash = &invoice.payment_hash;
    stage.bob().wait_for_invoice(hash, "SETTLED").unwrap();
    wallet.service.lose_answers("lookup_invoice");
    gateway.kill();
    drop(asked.join().unwrap());
    gateway.start_again(&[]);
    assert_eq!(payouts(&gateway)[0]["state"], "open");
    wallet.service.lose_nothing();
    wait_until_paid(&gateway);
    assert_paid_once(&stage, &gateway, &wallet, &invoice);
}

#[test]
fn a_wallet_out_of_reach_sells_nothing_and_what_was_sold_goes_on_working() {
    let Some(stage) = shared() else { return };
    let (upstream, mut wallet) = (upstream(), Wallet::of(stage.alice()));
    let often = "[server.challenges]\nper_client = \"1000/1s\"\ntotal = \"1000/1s\"";
    let setup = wallet.setup(paid(&upstream).calls(5)).section(often);
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    wallet.service.lose_answers("make_invoice");
    let refused = gateway.send(&call).expect(503);
    assert!(refused.find("retry-after").is_some());
    wallet.service.lose_nothing();
    let ports: Vec<_> = wallet.relays.iter().map(TestRelay::port).collect();
    wallet.relays.clear();
    gateway.send(&call).expect(503);
    gateway.send(&call.clone().with(&token)).expect(200);
    for port in ports {
        wallet.relays.push(TestRelay::start_on(port).unwrap());
    }
    let give_up_at = Instant::now() + Duration::from_secs(60);
    while gateway.send(&call).status != 402 {
        assert!(Instant::now() < give_up_at, "it does not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    let other = stage.buy(&gateway, &call);
    gateway.send(&call.with(&other)).expect(200);
}

#[test]
fn one_dead_relay_of_two_is_not_noticed() {
    let Some((stage, _upstream, mut wallet, gateway)) = open(shared(), paid) else {
        return;
    };
    drop(wallet.relays.remove(0));
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_strict_gateway_takes_the_wallets_word_that_it_was_paid() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let wallet = Wallet::of(stage.alice());
    let strict = format!("{}\nstrict = true", wallet.lightning());
    let gateway = TestGateway::start(wallet.setup(paid(&upstream)).lightning(&strict));
    let call = Call::get("/paid/a");
    let unpaid = gateway.challenge(&call);
    let preimage = stage.alice().preimage(&stage.hash_of(&unpaid)).unwrap();
    let early = gateway.send(&call.clone().with(&unpaid.paid_with(preimage)));
    assert_ne!(early.status, 200, "{}", early.text());
    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn doctor_says_which_wallet_it_is_and_which_relay_is_away() {
    let Some((_stage, _upstream, mut wallet, gateway)) = open(shared(), paid) else {
        return;
    };
    drop(wallet.relays.remove(0));
    let told = gateway.command(&["doctor"]);
    let said = String::from_utf8_lossy(&told.stdout);
    for part in ["wallet of a test", "regtest", "is not connected"] {
        assert!(said.contains(part), "{said}");
    }
    let secret = wallet.service.uri().split("secret=").nth(1).unwrap();
    let everything = format!("{said}{}", String::from_utf8_lossy(&told.stderr));
    assert!(!everything.contains(secret.split('&').next().unwrap()));
}
