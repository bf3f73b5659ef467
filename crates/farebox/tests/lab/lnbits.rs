//! LNbits on bob's node, paid from alice's: as a backend, and as a Lightning Address server that is
//! not ours.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Challenge, Route, Setup, TestGateway, Token};
use crate::lnbits_server::{Lnbits, Wallet};
use crate::stage::{PRICE, Stage, paid, refund_to, shared, upstream};

/// LNbits on bob's node, a wallet there, and an upstream.
type Shop = (Stage, Arc<Lnbits>, Wallet, ScriptedUpstream);

fn open() -> Option<Shop> {
    let stage = shared()?;
    let lnbits = Lnbits::shared(stage.bob())?;
    let wallet = lnbits.open_wallet();
    Some((stage, lnbits, wallet, upstream()))
}

fn setup(lightning: &str, route: Route) -> Setup {
    Setup::new().lightning(lightning).route(route)
}

/// alice pays what `call` costs.
#[track_caller]
fn buy(stage: &Stage, gateway: &TestGateway, call: &Call) -> Token {
    pay(stage, gateway.challenge(call))
}

#[track_caller]
fn pay(stage: &Stage, challenge: Challenge) -> Token {
    let paid = stage.alice().pay(&challenge.invoice).unwrap();
    challenge.paid_with(paid.preimage)
}

#[test]
fn a_call_is_sold_for_a_wallet_at_lnbits() {
    let Some((stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let gateway = TestGateway::start(setup(&lnbits.lightning(&wallet), paid(&upstream)));
    let call = Call::get("/paid/a");
    let token = buy(&stage, &gateway, &call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!((gateway.charged(&token), upstream.total()), (PRICE, 1));
    let hash = token.payment_hash();
    assert_eq!(stage.bob().received_for(&hash).unwrap(), PRICE);
    // LNbits tells the preimage to whoever asks; with the macaroon of another challenge it opens
    // nothing.
    let public = lnbits.ask_in_public(&hash).expect(200).json();
    assert_eq!(public["preimage"], token.preimage.as_str());
    let other = gateway.challenge(&Call::get("/paid/b"));
    let mixed = other.paid_with(token.preimage);
    gateway.send(&Call::get("/paid/b").with(&mixed)).expect(401);
}

#[test]
fn lnbits_is_asked_for_whole_satoshis_and_the_rest_is_kept() {
    let Some((stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let route = Route::at("/paid", &upstream).msat(1300);
    let gateway = TestGateway::start(setup(&lnbits.lightning(&wallet), route));
    let call = Call::get("/paid/a");
    let told = gateway.send(&call).expect(402).json();
    assert_eq!(told["bundle"]["amount_msat"], 2000, "{told}");
    let token = buy(&stage, &gateway, &call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call.with(&token)).expect(402);
    assert_eq!(gateway.charged(&token), 1300);
    assert_eq!(gateway.find_account(&token).unwrap()["balance_msat"], 700);
}

#[test]
fn a_wallet_at_lnbits_pays_back_what_is_left() {
    let Some((stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let route = paid(&upstream).line("balance = { msat = 100000 }");
    let setup = setup(&lnbits.paying_lightning(&wallet), route);
    let gateway = TestGateway::start(setup.section("[refunds]\nenabled = true"));
    let call = Call::get("/paid/a");
    let token = buy(&stage, &gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
    let invoice = stage.alice().invoice(90_000, 600).unwrap();
    let wish = refund_to(&invoice, &token);
    let paid = gateway.send(&wish).expect(200).json();
    assert_eq!(paid["refund"]["state"], "paid", "{paid}");
    let again = gateway.send(&wish).expect(200).json();
    assert_eq!(again["refund"]["id"], paid["refund"]["id"]);
    assert_eq!(
        stage.alice().received_for(&invoice.payment_hash).unwrap(),
        90_000
    );
    assert_eq!(
        stage.bob().sent_for(&invoice.payment_hash).unwrap(),
        [90_000]
    );
    lnbits.wait_for_balance(&wallet, 10_000);
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn doctor_says_whose_wallet_it_is() {
    let Some((_stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let gateway = TestGateway::start(setup(&lnbits.lightning(&wallet), paid(&upstream)));
    let told = gateway.command(&["doctor"]);
    let printed = String::from_utf8_lossy(&told.stdout);
    assert!(printed.contains("LNbits, wallet seller"), "{printed}");
    assert!(!printed.contains(&wallet.invoice_key), "{printed}");
}

#[test]
fn without_lnbits_buyers_come_again_and_sold_tokens_never_notice() {
    let Some(stage) = shared() else { return };
    let Some(lnbits) = Lnbits::start(stage.bob()) else {
        return;
    };
    let wallet = lnbits.open_wallet();
    let upstream = upstream();
    let route = paid(&upstream).calls(2);
    let gateway = TestGateway::start(setup(&lnbits.lightning(&wallet), route));
    let call = Call::get("/paid/a");
    let token = buy(&stage, &gateway, &call);
    drop(lnbits);
    let reply = gateway.send(&call).expect(503);
    assert!(reply.find("retry-after").is_some());
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 2 * PRICE);
}

/// `farebox serve` without a file, as in the quick start. Killed when dropped.
struct Quick {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Quick {
    fn start(upstream: &ScriptedUpstream, lnbits: &Lnbits, address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_farebox"))
            .args(["serve", "--upstream", &upstream.url()])
            .args(["--lightning-address", address])
            .args(["--allow-host", &lnbits.address.to_string()])
            .args(["--network", "regtest", "--price-msat", "2000"])
            .args(["--listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0"])
            .args(["--store", "sqlite://farebox.db"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("farebox: ready ")?.to_owned()));
        let ready = ready.expect("it gets ready");
        let gateway = ready
            .split(' ')
            .find_map(|word| word.strip_prefix("gateway="));
        Self {
            child,
            address: gateway
                .unwrap()
                .trim_start_matches("http://")
                .parse()
                .unwrap(),
            _folder: folder,
        }
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_call_is_sold_to_a_lightning_address_of_an_independent_server() {
    let Some((stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let quick = Quick::start(&upstream, &lnbits, &wallet.lightning_address);
    let call = Call::get("/paid/a");
    let challenge = Challenge::of(&call.send(quick.address).expect(402));
    let token = pay(&stage, challenge);
    call.with(&token).send(quick.address).expect(200);
    assert_eq!(upstream.total(), 1);
    assert_eq!(
        stage.bob().received_for(&token.payment_hash()).unwrap(),
        PRICE
    );
    lnbits.wait_for_balance(&wallet, 2000);
}

#[test]
fn an_address_in_clear_is_called_only_where_the_operator_allows_it() {
    let Some((stage, lnbits, wallet, upstream)) = open() else {
        return;
    };
    let lightning = format!(
        "backend = \"lightning-address\"\nnetwork = \"regtest\"\naddress = \"{}\"",
        wallet.lightning_address
    );
    let closed = TestGateway::start(setup(&lightning, paid(&upstream)));
    closed.send(&Call::get("/paid/a")).expect(503);
    let allowed = format!("{lightning}\nallow_hosts = [\"{}\"]", lnbits.address);
    let open = TestGateway::start(setup(&allowed, paid(&upstream)));
    let call = Call::get("/paid/a");
    let token = buy(&stage, &open, &call);
    open.send(&call.with(&token)).expect(200);
    assert_eq!(open.charged(&token), PRICE);
}
