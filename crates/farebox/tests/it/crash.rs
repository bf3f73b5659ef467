//! The process is killed at every named point between hold and settlement, and by hand in the
//! middle of everything. The next start loses nobody's money: what was not delivered can be used
//! again, what was delivered is charged once, and no one who paid is asked to pay again.

use std::os::unix::process::ExitStatusExt;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway, Token};
use crate::rules::account_when;

const SIGKILL: i32 = 9;
const PRICE: u64 = 2000;
/// An answer in several pieces, so that all points lie on its way; too long to be kept for a retry.
const IN_PIECES: &str = "/paid/large/300000";

/// What is sold.
#[derive(Clone, Copy, Debug)]
enum Sold {
    Single,
    Calls,
    Balance,
}

impl Sold {
    fn route(self, upstream: &ScriptedUpstream) -> Route {
        let route = Route::at("/paid", upstream).msat(PRICE);
        match self {
            Self::Single => route,
            Self::Calls => route.calls(3),
            Self::Balance => route.line("balance = { msat = 6000 }"),
        }
    }

    /// A call that can be repeated.
    fn call(self, target: &str) -> Call {
        match self {
            Self::Single => Call::get(target),
            Self::Calls | Self::Balance => Call::get(target).header("Idempotency-Key", "once"),
        }
    }
}

/// A gateway that died in the middle of one call, and was started again.
struct Survivor {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    token: Token,
    call: Call,
}

impl Survivor {
    /// Sells one call to `target` and dies at `point`.
    fn of(point: &str, sold: Sold, target: &str) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let setup = Setup::new().route(sold.route(&upstream));
        let mut gateway = TestGateway::start_with(setup, &[("FAREBOX_CRASH_AT", point)]);
        let call = sold.call(target);
        let token = gateway.buy(&call);
        let call = call.with(&token);
        // It may arrive, in part or not at all: what counts is what the next start finds.
        drop(call.try_send(gateway.address));
        let status = gateway.wait_for_exit();
        assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
        gateway.start_again(&[]);
        Self {
            upstream,
            gateway,
            token,
            call,
        }
    }

    fn retry(&self) -> Reply {
        self.gateway.send(&self.call)
    }

    /// Whether the call was charged; the price of exactly one, or nothing.
    #[track_caller]
    fn was_charged(&self) -> bool {
        let charged = self.gateway.charged(&self.token);
        assert!([0, PRICE].contains(&charged), "{charged}");
        let account = self.gateway.find_account(&self.token);
        let held = account.map_or(0, |account| account["held_msat"].as_u64().unwrap());
        assert_eq!(held, 0, "a hold outlived its process");
        charged == PRICE
    }
}

/// Served and charged earlier: gone, with the receipt.
#[track_caller]
fn assert_receipt(reply: Reply) {
    let problem = reply.expect(410).json();
    assert_eq!(problem["charged_msat"], PRICE);
    assert!(problem["receipt"].is_string(), "{problem}");
}

fn all_points() -> impl Iterator<Item = &'static str> {
    let gateway = farebox_gateway::CRASH_POINTS.into_iter();
    gateway.chain(farebox_ledger::CRASH_POINTS)
}

/// At every point: the books are sound (seen when the gateway is dropped), a retry is served or
/// gets the receipt, and the token pays once.
fn survives_every_point(sold: Sold) {
    for point in all_points() {
        let survivor = Survivor::of(point, sold, IN_PIECES);
        let reached = survivor.upstream.count(IN_PIECES);
        let again = survivor.was_charged();
        let reply = survivor.retry();
        if again {
            assert_receipt(reply);
            assert_eq!(survivor.upstream.count(IN_PIECES), reached, "at {point}");
        } else {
            assert_eq!(reply.status, 200, "at {point}: {}", reply.text());
            assert_eq!(reply.body.len(), 300_000, "at {point}");
        }
        assert_receipt(survivor.retry());
        assert!(survivor.was_charged(), "at {point}");
        let sound = &survivor.gateway.trial_balance()["sound"];
        assert_eq!(*sound, true, "at {point}");
    }
}

#[test]
fn a_single_use_token_survives_a_kill_at_every_point() {
    survives_every_point(Sold::Single);
}

#[test]
fn a_token_of_calls_survives_a_kill_at_every_point() {
    survives_every_point(Sold::Calls);
}

#[test]
fn a_balance_survives_a_kill_at_every_point() {
    survives_every_point(Sold::Balance);
}

#[test]
fn a_call_that_was_not_forwarded_is_released() {
    for point in [
        "hold-before-commit",
        "hold-after-commit",
        "forward-before-send",
    ] {
        let survivor = Survivor::of(point, Sold::Single, "/paid/a");
        assert_eq!(survivor.upstream.total(), 0, "at {point}");
        assert!(!survivor.was_charged(), "at {point}");
        assert_eq!(survivor.retry().status, 200, "at {point}");
        assert_eq!(survivor.upstream.total(), 1, "at {point}");
        assert!(survivor.was_charged(), "at {point}");
    }
}

#[test]
fn a_call_at_a_fixed_price_that_was_forwarded_without_a_first_byte_is_released() {
    for point in ["forward-headers-received", "settle-before-commit"] {
        let survivor = Survivor::of(point, Sold::Single, "/paid/a");
        assert_eq!(survivor.upstream.total(), 1, "at {point}");
        assert!(!survivor.was_charged(), "at {point}");
        assert_eq!(survivor.retry().status, 200, "at {point}");
        assert!(survivor.was_charged(), "at {point}");
    }
}

#[test]
fn a_settlement_that_was_written_stays() {
    let survivor = Survivor::of("settle-after-commit", Sold::Single, "/paid/a");
    assert!(survivor.was_charged());
    assert_receipt(survivor.retry());
    assert_eq!(survivor.upstream.total(), 1);
}

/// A stream whose first piece has arrived, and of which the ledger knows.
struct Streaming {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    stream: farebox_testkit::StreamControl,
    buyer: Connection,
    call: Call,
    token: Token,
}

impl Streaming {
    fn begin(environment: &[(&str, &str)]) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let stream = upstream.stream("one");
        let setup = Setup::new().route(Sold::Single.route(&upstream));
        let gateway = TestGateway::start_with(setup, environment);
        let call = Call::get("/paid/stream/one");
        let token = gateway.buy(&call);
        let call = call.with(&token);
        let mut buyer = Connection::open(gateway.address).unwrap();
        buyer.send(&call).unwrap();
        buyer.read_head().unwrap().expect(200);
        assert!(stream.send("data: 1\n\n"));
        buyer.read_chunk().unwrap().unwrap();
        // The ledger writes in order: what was told before another call's hold is written with it.
        let other = Call::get("/paid/a");
        let paid = other.clone().with(&gateway.buy(&other));
        gateway.send(&paid).expect(200);
        Self {
            upstream,
            gateway,
            stream,
            buyer,
            call,
            token,
        }
    }

    #[track_caller]
    fn assert_charged_once(&mut self) {
        self.gateway.start_again(&[]);
        assert_eq!(self.gateway.charged(&self.token), PRICE);
        assert_receipt(self.gateway.send(&self.call));
        assert_eq!(self.upstream.count("/paid/stream/one"), 1);
        assert_eq!(self.gateway.charged(&self.token), PRICE);
    }
}

#[test]
fn an_answer_whose_first_byte_was_recorded_is_charged_after_a_kill() {
    let mut streaming = Streaming::begin(&[]);
    streaming.gateway.kill();
    streaming.assert_charged_once();
}

#[test]
fn an_answer_that_dies_at_its_second_piece_is_charged() {
    let point = [
        ("FAREBOX_CRASH_AT", "first-byte-recorded"),
        ("FAREBOX_CRASH_AFTER", "2"),
    ];
    let mut streaming = Streaming::begin(&point);
    streaming.stream.send("data: 2\n\n");
    let status = streaming.gateway.wait_for_exit();
    assert_eq!(status.signal(), Some(SIGKILL));
    assert!(streaming.buyer.is_at_end());
    streaming.assert_charged_once();
}

#[test]
fn a_stream_that_nobody_finished_is_not_charged_twice_by_a_second_kill() {
    let mut streaming = Streaming::begin(&[]);
    for _ in 0..2 {
        streaming.gateway.kill();
        streaming.assert_charged_once();
    }
}

/// Sends a request and leaves its connection open.
fn send_and_hold(gateway: &TestGateway, call: &Call) -> Connection {
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(call).unwrap();
    connection
}

#[test]
fn twenty_open_holds_are_released_by_a_kill_and_all_calls_can_be_made_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .route(Route::at("/paid", &upstream).msat(PRICE))
        .route(Route::at("/ten", &upstream).msat(333).calls(10));
    let mut gateway = TestGateway::start(setup);
    let singles: Vec<_> = (0..10)
        .map(|number| {
            let call = Call::get(&format!("/paid/gate/all?{number}"));
            let token = gateway.buy(&call);
            (call.with(&token), token)
        })
        .collect();
    let ten = Call::get("/ten/gate/all");
    let calls = gateway.buy(&ten);
    let ten = ten.with(&calls);
    let open: Vec<_> = singles
        .iter()
        .map(|(call, _)| call)
        .chain(std::iter::repeat_n(&ten, 10))
        .map(|call| send_and_hold(&gateway, call))
        .collect();
    upstream.wait_for("/paid/gate/all", 10);
    upstream.wait_for("/ten/gate/all", 10);
    assert_eq!(gateway.trial_balance()["open_holds"], 20);
    gateway.kill();
    drop(open);

    upstream.open_gate("all");
    gateway.start_again(&[]);
    assert_eq!(gateway.trial_balance()["open_holds"], 0);
    for (call, token) in &singles {
        assert_eq!(gateway.charged(token), 0);
        gateway.send(call).expect(200);
        assert_eq!(gateway.charged(token), PRICE);
    }
    for used in 1..=10 {
        gateway.send(&ten).expect(200);
        assert_eq!(gateway.charged(&calls), 333 * used);
    }
    assert_eq!(gateway.send(&ten).status, 402, "an eleventh call");
    assert_eq!(gateway.trial_balance()["payers_msat"], 0);
}

#[test]
fn kills_right_after_each_start_change_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(Sold::Single.route(&upstream));
    let mut gateway = TestGateway::start(setup);
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let open = send_and_hold(&gateway, &call);
    upstream.wait_for("/paid/gate/one", 1);
    gateway.kill();
    drop(open);
    for _ in 0..3 {
        gateway.start_again(&[]);
        gateway.kill();
    }
    gateway.start_again(&[]);
    upstream.open_gate("one");
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_pass_that_died_at_its_first_use_is_sold_once() {
    for point in ["forward-before-send", "forward-headers-received"] {
        let upstream = ScriptedUpstream::start().unwrap();
        let route = Route::at("/paid", &upstream)
            .msat(PRICE)
            .line("pass = \"1h\"");
        let setup = Setup::new().route(route);
        let mut gateway = TestGateway::start_with(setup, &[("FAREBOX_CRASH_AT", point)]);
        let call = Call::get("/paid/a");
        let token = gateway.buy(&call);
        let call = call.with(&token);
        assert!(call.try_send(gateway.address).is_err(), "at {point}");
        gateway.wait_for_exit();
        gateway.start_again(&[]);
        let died = gateway.find_account(&token);
        let died = died.expect("claimed before it died");
        assert_eq!(died["balance_msat"], PRICE, "at {point}: it has not begun");
        let first = gateway.send(&call).expect(200);
        let begun = account_when(&gateway, &token, |account| account["balance_msat"] == 0);
        assert_ne!(begun["expires_at"], died["expires_at"], "at {point}");
        let second = gateway.send(&call).expect(200);
        let expires = |reply: &Reply| reply.find("farebox-expires").unwrap().to_owned();
        assert_eq!(expires(&second), expires(&first), "at {point}");
        let later = gateway.find_account(&token).unwrap();
        assert_eq!(later["expires_at"], begun["expires_at"], "at {point}");
        assert_eq!(gateway.charged(&token), PRICE, "at {point}");
    }
}

/// A buyer of thirty calls who makes one after the other until the gateway is gone.
fn spend_until_gone(address: std::net::SocketAddr, call: &Call) -> u64 {
    let mut sent = 0;
    while let Ok(reply) = call.try_send(address) {
        assert!([200, 402].contains(&reply.status), "{}", reply.text());
        sent += 1;
    }
    sent + 1
}

#[test]
fn a_kill_under_load_leaves_every_buyer_with_what_was_not_used() {
    const CALLS: u64 = 30;
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(30);
    let mut gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a");
    let tokens: Vec<_> = (0..8).map(|_| gateway.buy(&call)).collect();
    let address = gateway.address;
    let buyers: Vec<_> = tokens
        .iter()
        .map(|token| call.clone().with(token))
        .map(|call| std::thread::spawn(move || spend_until_gone(address, &call)))
        .collect();
    upstream.wait_for("/paid/a", 60);
    gateway.kill();
    let sent: Vec<u64> = buyers
        .into_iter()
        .map(|buyer| buyer.join().unwrap())
        .collect();

    gateway.start_again(&[]);
    for (token, sent) in tokens.iter().zip(sent) {
        let charged = gateway.charged(token);
        assert_eq!(charged % PRICE, 0);
        let used = charged / PRICE;
        assert!(used <= sent, "{used} charged, {sent} asked for");
        let paid = call.clone().with(token);
        for _ in used..CALLS {
            gateway.send(&paid).expect(200);
        }
        assert_eq!(gateway.send(&paid).status, 402);
        assert_eq!(gateway.charged(token), CALLS * PRICE);
    }
}
