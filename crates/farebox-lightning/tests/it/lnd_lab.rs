//! The LND backend against real nodes with a channel between them, as `cargo xtask lab up` starts
//! them. Without these a test says so and is over; under CI it fails.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use farebox_core::Preimage;
use farebox_http::client::{CallError, Trust};
use farebox_lightning::Needs;
use farebox_lightning::follow::{Settlements, follow};
use farebox_lightning::lnd::{Lnd, Macaroon};
use farebox_lightning::{
    Backend, CheckAccess, CreateInvoice, CreatedInvoice, HoldInvoice, HoldState, InvoiceRequest,
    InvoiceState, LookupInvoice, Network, NodeError, NodeOptions, PayInvoice, PaymentFailure,
    PaymentRequest, PaymentState, Settlement, SettlementCursor,
};
use farebox_testkit::WallClock;
use farebox_testkit::lab::{Lab, Node, Turn};
use farebox_testkit::parts::is_left_out;

use crate::lnd_fake::msat;
use wire::Wire;

#[expect(dead_code, reason = "shared with the tests of the built binary")]
#[path = "../../../farebox/tests/lab/wire.rs"]
mod wire;

/// What has to happen happens within seconds; this is for a machine that is busy.
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// The nodes, and the right to use them.
struct Stage {
    lab: Lab,
    _turn: Turn,
}

fn shared() -> Option<Stage> {
    stage(Lab::share)
}

/// For tests that stop a node.
fn alone() -> Option<Stage> {
    stage(Lab::take)
}

fn stage<E: std::fmt::Debug>(take: fn(&Lab) -> Result<Turn, E>) -> Option<Stage> {
    let lab = Lab::find().unwrap();
    if is_left_out("Lightning nodes", lab.is_some()) {
        return None;
    }
    let lab = lab?;
    let turn = take(&lab).unwrap();
    Some(Stage { lab, _turn: turn })
}

impl Stage {
    /// Alice with the macaroon that LND makes for receiving.
    fn seller(&self) -> Lnd {
        Lnd::new(options(
            self.lab.alice(),
            &invoice_macaroon(self.lab.alice()),
        ))
        .unwrap()
    }

    /// Bob with everything.
    fn buyer(&self) -> Lnd {
        Lnd::new(options(self.lab.bob(), &admin_macaroon(self.lab.bob()))).unwrap()
    }

    /// Alice with what holding payments takes.
    fn holder(&self) -> Lnd {
        let permissions = [
            ("invoices", "read"),
            ("invoices", "write"),
            ("info", "read"),
        ];
        let baked = self.lab.alice().bake_macaroon(&permissions).unwrap();
        Lnd::new(options(self.lab.alice(), baked.as_bytes())).unwrap()
    }
}

fn options(node: &Node, macaroon: &[u8]) -> NodeOptions<Macaroon> {
    let macaroon = Macaroon::read(macaroon).unwrap();
    let mut options = NodeOptions::new(node.rest.parse().unwrap(), macaroon, Arc::new(WallClock));
    options.network = Network::Regtest;
    options.trust = Trust::pinned_pem(&fs::read(&node.cert).unwrap()).unwrap();
    options
}

fn invoice_macaroon(node: &Node) -> Vec<u8> {
    fs::read(&node.macaroons.invoice).unwrap()
}

fn admin_macaroon(node: &Node) -> Vec<u8> {
    fs::read(&node.macaroons.admin).unwrap()
}

fn asking(amount: u64) -> InvoiceRequest {
    InvoiceRequest {
        amount: msat(amount),
        memo: "a call".to_owned(),
        expiry: Duration::from_secs(600),
    }
}

fn order(invoice: &CreatedInvoice) -> PaymentRequest {
    PaymentRequest {
        bolt11: invoice.bolt11.clone(),
        payment_hash: invoice.payment_hash,
        amount: invoice.amount,
        max_fee: msat(1000),
        patience: WAIT_AT_MOST,
    }
}

fn draw() -> Preimage {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    Preimage::from_bytes(bytes)
}

async fn pay(buyer: &Lnd, invoice: &CreatedInvoice) -> PaymentState {
    buyer.pay_invoice(order(invoice)).await.unwrap()
}

async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < give_up_at, "still not {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_invoice_is_made_paid_once_and_seen_as_settled() {
    let Some(stage) = shared() else { return };
    let (seller, buyer) = (stage.seller(), stage.buyer());
    let invoice = seller.create_invoice(asking(2345)).await.unwrap();
    let hash = invoice.payment_hash;
    let state = seller.lookup_invoice(hash).await.unwrap();
    assert_eq!(state, InvoiceState::Open);
    assert_eq!(
        buyer.payment_state(hash).await.unwrap(),
        PaymentState::Unheard
    );

    let paid = pay(&buyer, &invoice).await;
    let PaymentState::Succeeded { fee, preimage } = &paid else {
        panic!("{paid:?}")
    };
    assert!(preimage.as_ref().unwrap().opens(&hash));
    assert_eq!(*fee, msat(0), "a channel of one's own costs nothing");
    let received = Some(msat(2345));
    let state = seller.lookup_invoice(hash).await.unwrap();
    assert_eq!(state, InvoiceState::Settled { received });

    assert_eq!(
        pay(&buyer, &invoice).await,
        paid,
        "paid again, and not twice"
    );
    assert_eq!(buyer.payment_state(hash).await.unwrap(), paid);
    let state = seller.lookup_invoice(hash).await.unwrap();
    assert_eq!(state, InvoiceState::Settled { received });
}

#[tokio::test]
async fn an_unknown_invoice_is_unknown() {
    let Some(stage) = shared() else { return };
    let state = stage.seller().lookup_invoice(draw().payment_hash()).await;
    assert_eq!(state.unwrap(), InvoiceState::Unknown);
}

#[tokio::test]
async fn payments_that_fail_say_why_and_stay_failed() {
    let Some(stage) = shared() else { return };
    let buyer = stage.buyer();
    let canceled = stage.seller().create_invoice(asking(2000)).await.unwrap();
    stage
        .lab
        .alice()
        .cancel(&canceled.payment_hash.to_string())
        .unwrap();
    let refused = PaymentState::Failed(PaymentFailure::RefusedByPayee);
    assert_eq!(pay(&buyer, &canceled).await, refused);
    let state = buyer.payment_state(canceled.payment_hash).await.unwrap();
    assert_eq!(state, refused);
    let own = buyer.create_invoice(asking(2000)).await.unwrap();
    let failed = PaymentState::Failed(PaymentFailure::Other);
    assert_eq!(pay(&buyer, &own).await, failed, "to oneself");
    let state = buyer.payment_state(own.payment_hash).await.unwrap();
    assert_eq!(state, PaymentState::Unheard);
}

#[tokio::test]
async fn an_expired_invoice_is_refused_before_anything_is_sent() {
    let Some(stage) = shared() else { return };
    let soon = InvoiceRequest {
        expiry: Duration::from_secs(2),
        ..asking(2000)
    };
    let seller = stage.seller();
    let invoice = seller.create_invoice(soon).await.unwrap();
    let hash = invoice.payment_hash;
    until("expired", async || {
        let state = seller.lookup_invoice(hash).await.unwrap();
        (state == InvoiceState::Canceled).then_some(())
    })
    .await;
    let refused = PaymentState::Failed(PaymentFailure::RefusedByPayee);
    assert_eq!(pay(&stage.buyer(), &invoice).await, refused);
}

#[tokio::test]
async fn a_payment_longer_than_our_patience_stays_pending_until_its_outcome_is_known() {
    let Some(stage) = shared() else { return };
    let buyer = stage.buyer();
    let secret = draw();
    let hash = secret.payment_hash();
    let invoice = stage.holder().create_hold_invoice(hash, asking(3000)).await;
    let mut order = order(&invoice.unwrap());
    order.patience = Duration::from_secs(3);
    for _ in 0..2 {
        let outcome = buyer.pay_invoice(order.clone()).await.unwrap();
        assert_eq!(
            outcome,
            PaymentState::Pending,
            "asking again sends nothing again"
        );
    }
    assert_eq!(
        buyer.payment_state(hash).await.unwrap(),
        PaymentState::Pending
    );
    stage.holder().settle_invoice(secret).await.unwrap();
    let outcome = until("known", async || {
        match buyer.payment_state(hash).await.unwrap() {
            PaymentState::Pending => None,
            known => Some(known),
        }
    })
    .await;
    assert!(
        matches!(outcome, PaymentState::Succeeded { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_held_payment_is_taken_with_its_preimage() {
    let Some(stage) = shared() else { return };
    let (seller, buyer) = (stage.holder(), stage.buyer());
    let secret = draw();
    let hash = secret.payment_hash();
    let invoice = seller
        .create_hold_invoice(hash, asking(2000))
        .await
        .unwrap();
    assert_eq!(seller.hold_state(hash).await.unwrap(), HoldState::Open);
    let taking = async {
        let state = seller.wait_while_open(hash).await.unwrap();
        let HoldState::Accepted {
            received,
            blocks_left,
        } = state
        else {
            panic!("{state:?}")
        };
        assert_eq!(received, msat(2000));
        assert!((70..=90).contains(&blocks_left), "{blocks_left} blocks");
        let held = seller.lookup_invoice(hash).await.unwrap();
        assert_eq!(held, InvoiceState::Held);
        assert_eq!(
            buyer.payment_state(hash).await.unwrap(),
            PaymentState::Pending
        );
        seller.settle_invoice(secret.clone()).await.unwrap();
        seller.settle_invoice(secret.clone()).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(pay(&buyer, &invoice), taking);
    let PaymentState::Succeeded { preimage, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(preimage, Some(secret));
    let received = Some(msat(2000));
    let state = seller.hold_state(hash).await.unwrap();
    assert_eq!(state, HoldState::Settled { received });
    assert!(seller.cancel_invoice(hash).await.is_err(), "too late");
}

#[tokio::test]
async fn a_held_payment_that_is_canceled_goes_back() {
    let Some(stage) = shared() else { return };
    let (seller, buyer) = (stage.holder(), stage.buyer());
    let secret = draw();
    let hash = secret.payment_hash();
    let invoice = seller
        .create_hold_invoice(hash, asking(2000))
        .await
        .unwrap();
    let giving_back = async {
        let state = seller.wait_while_open(hash).await.unwrap();
        assert!(matches!(state, HoldState::Accepted { .. }), "{state:?}");
        seller.cancel_invoice(hash).await.unwrap();
        seller.cancel_invoice(hash).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(pay(&buyer, &invoice), giving_back);
    let refused = PaymentState::Failed(PaymentFailure::RefusedByPayee);
    assert_eq!(outcome, refused);
    assert_eq!(seller.hold_state(hash).await.unwrap(), HoldState::Canceled);
    assert!(seller.settle_invoice(secret).await.is_err(), "too late");
}

#[tokio::test]
async fn an_invoice_canceled_before_it_is_paid_ends_the_waiting() {
    let Some(stage) = shared() else { return };
    let seller = stage.holder();
    let hash = draw().payment_hash();
    seller
        .create_hold_invoice(hash, asking(2000))
        .await
        .unwrap();
    let canceling = async { seller.cancel_invoice(hash).await.unwrap() };
    let (state, ()) = tokio::join!(seller.wait_while_open(hash), canceling);
    assert_eq!(state.unwrap(), HoldState::Canceled);
    let unknown = seller.wait_while_open(draw().payment_hash()).await;
    assert_eq!(unknown.unwrap(), HoldState::Unknown);
}

#[tokio::test]
async fn a_settlement_that_happens_while_the_line_is_cut_is_heard_afterwards_and_once() {
    let Some(stage) = shared() else { return };
    let alice = stage.lab.alice();
    let wire = Wire::to(alice.rest.strip_prefix("https://").unwrap());
    let mut remote = options(alice, &invoice_macaroon(alice));
    remote.url = wire.url().parse().unwrap();
    let remote = Lnd::new(remote).unwrap();
    let (seller, buyer) = (stage.seller(), stage.buyer());
    let settlements = Settlements::new();
    let heard = Mutex::new(Vec::new());
    let on = |settlement: &Settlement| heard.lock().unwrap().push(settlement.payment_hash);
    let following = follow("alice", &remote, None, &settlements, &on);
    let selling = async {
        let listening = async |wanted| {
            until("listening", async || {
                let followed = settlements.followed();
                (followed.first()?.listening == wanted).then_some(())
            })
            .await;
        };
        let mut sold = Vec::new();
        listening(true).await;
        for turn in 0..3 {
            if turn == 1 {
                wire.cut();
                listening(false).await;
            }
            let invoice = seller.create_invoice(asking(2000 + turn)).await.unwrap();
            pay(&buyer, &invoice).await;
            if turn == 1 {
                assert_eq!(settlements.find(&invoice.payment_hash), None);
                wire.mend();
            }
            let settled = settlements.wait(invoice.payment_hash, WAIT_AT_MOST).await;
            assert_eq!(settled.unwrap().received, Some(invoice.amount));
            sold.push(invoice.payment_hash);
        }
        sold
    };
    let sold = tokio::select! {
        () = following => unreachable!("it never ends"),
        sold = selling => sold,
    };
    let heard = heard.into_inner().unwrap();
    for hash in sold {
        let times = heard.iter().filter(|other| **other == hash).count();
        assert_eq!(times, 1, "heard of {hash}");
    }
}

#[tokio::test]
async fn a_watcher_goes_on_from_any_place_in_the_count() {
    let Some(stage) = shared() else { return };
    let (seller, buyer) = (stage.seller(), stage.buyer());
    let mut sold = Vec::new();
    for amount in [2001, 2002] {
        let invoice = seller.create_invoice(asking(amount)).await.unwrap();
        pay(&buyer, &invoice).await;
        sold.push(invoice.payment_hash);
    }
    let first = stage
        .lab
        .alice()
        .find_invoice(&sold[0].to_string())
        .unwrap();
    let index: u64 = first["settle_index"].as_str().unwrap().parse().unwrap();
    for (after, expected) in [(index - 1, &sold[..]), (index, &sold[1..])] {
        let settlements = Settlements::new();
        let cursor = Some(SettlementCursor(after));
        let following = follow("alice", &seller, cursor, &settlements, &|_| ());
        let hearing = async {
            for hash in expected {
                assert!(settlements.wait(*hash, WAIT_AT_MOST).await.is_some());
            }
        };
        tokio::select! {
            () = following => unreachable!("it never ends"),
            () = hearing => {}
        }
        let heard_first = settlements.find(&sold[0]).is_some();
        assert_eq!(heard_first, expected.len() == 2);
    }
}

#[tokio::test]
async fn a_node_that_is_restarted_is_down_for_a_while_and_then_heard_again() {
    let Some(stage) = alone() else { return };
    let alice = stage.lab.alice();
    let (seller, buyer) = (stage.seller(), stage.buyer());
    let earlier = seller.create_invoice(asking(2000)).await.unwrap();
    let settlements = Settlements::new();
    let following = follow("alice", &seller, None, &settlements, &|_| ());
    let restarting = async {
        let listening = async || settlements.followed().first()?.listening.then_some(());
        until("listening", listening).await;
        alice.daemon.stop().unwrap();
        // Over the connection that was open and idle it breaks, and nobody knows how far it got.
        let error = seller.create_invoice(asking(2000)).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
        let error = seller.create_invoice(asking(2000)).await.unwrap_err();
        assert!(
            error.is_temporary() && error.is_certain_refusal(),
            "{error}"
        );
        let error = seller
            .lookup_invoice(earlier.payment_hash)
            .await
            .unwrap_err();
        assert!(
            matches!(error, NodeError::Call(CallError::NotConnected { .. })),
            "{error}"
        );
        stage.lab.start(alice).unwrap();
        let paid = until("a way to alice", async || {
            let invoice = seller.create_invoice(asking(2000)).await.unwrap();
            let outcome = pay(&buyer, &invoice).await;
            matches!(outcome, PaymentState::Succeeded { .. }).then_some(invoice)
        })
        .await;
        let settled = settlements.wait(paid.payment_hash, WAIT_AT_MOST).await;
        assert_eq!(settled.unwrap().received, Some(msat(2000)));
        let state = seller.lookup_invoice(earlier.payment_hash).await.unwrap();
        assert_eq!(state, InvoiceState::Open);
    };
    tokio::select! {
        () = following => unreachable!("it never ends"),
        () = restarting => {}
    }
}

#[tokio::test]
async fn the_node_and_its_macaroons_are_told_as_they_are() {
    let Some(stage) = shared() else { return };
    let alice = stage.lab.alice();
    let report = async |macaroon: &[u8], needs: Needs| {
        let mut options = options(alice, macaroon);
        options.needs = needs;
        Lnd::new(options).unwrap().check_access().await
    };
    let receiving = Needs::default();
    let all = Needs {
        pay: true,
        hold: true,
    };
    let invoice_only = report(&invoice_macaroon(alice), receiving).await.unwrap();
    assert!(invoice_only.missing.is_empty() && invoice_only.needless.is_empty());
    let invoice_only = report(&invoice_macaroon(alice), all).await.unwrap();
    let missing = ["info:read", "offchain:read", "offchain:write"];
    assert_eq!(invoice_only.missing, missing);

    let admin = report(&admin_macaroon(alice), all).await.unwrap();
    assert!(admin.missing.is_empty());
    let too_much = admin.needless.iter().any(|name| name == "onchain:write");
    assert!(too_much, "{:?}", admin.needless);
    assert!(
        admin.identity.contains("alice (regtest)"),
        "{}",
        admin.identity
    );

    let readonly = fs::read(&alice.macaroons.readonly).unwrap();
    let readonly = report(&readonly, receiving).await.unwrap();
    assert_eq!(readonly.missing, ["invoices:write"]);

    let of_bob = report(&invoice_macaroon(stage.lab.bob()), receiving).await;
    assert!(
        matches!(of_bob, Err(NodeError::Forbidden { .. })),
        "{of_bob:?}"
    );
}

#[tokio::test]
async fn a_macaroon_says_the_same_as_the_node_about_what_it_allows() {
    let Some(stage) = shared() else { return };
    let seller = Arc::new(stage.seller());
    let able = Backend::from(Arc::clone(&seller));
    assert!(able.pay.is_none() && able.hold.is_none());
    let invoice = stage.buyer().create_invoice(asking(2000)).await.unwrap();
    let error = seller.pay_invoice(order(&invoice)).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { .. }), "{error}");
    let state = stage
        .buyer()
        .lookup_invoice(invoice.payment_hash)
        .await
        .unwrap();
    assert_eq!(state, InvoiceState::Open);
}
