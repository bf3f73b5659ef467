//! Everything at once: attackers take their share of each limit, and whoever is honest is served.

use std::fs;

use farebox_testkit::ScriptedUpstream;

use super::bodies::{MODEL, chat, held_back};
use super::shares::{bearer, from, funded};
use crate::harness::{Call, Connection, Route, Setup, TestGateway};
use crate::rules::MANY_CHALLENGES;

const PRICE: u64 = 2_000;
/// Bytes that request bodies may take together.
const BODIES: i64 = 8 << 20;
/// What the process may take in all while it is flooded, in KiB: a build without optimisation, its
/// database, and all budgets of this configuration.
const MEMORY_KIB: u64 = 256 << 10;
/// A prompt that one stranger may have in memory, and a payer twice.
const LONG: usize = 600_000;
const NETWORKS: usize = 8;

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let models = Route::to("/v1", &upstream.url())
        .line("price = { model_tokens = {} }")
        .line("balance = { msat = 10000000 }");
    let held = Route::at("/held", upstream).msat(PRICE);
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .section(MODEL)
        .server(&format!("body_budget = {BODIES}"))
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .route(models)
        .route(
            held.line("on_failure = \"cancel\"")
                .line("max_body = \"1MiB\""),
        )
        .route(Route::at("/calls", upstream).msat(PRICE).calls(100));
    TestGateway::start(setup)
}

/// The address of an attacker; each has a network of his own.
fn attacker(network: usize) -> String {
    format!("203.0.{network}.1")
}

/// What attackers do, in the order in which it is begun; what they got stays theirs to the end.
struct Flood {
    bodies: Vec<Connection>,
    idle: Vec<Connection>,
    waiting: Vec<Connection>,
}

impl Flood {
    fn begin(gateway: &TestGateway) -> Self {
        let mut flood = Self {
            bodies: Vec::new(),
            idle: Vec::new(),
            waiting: Vec::new(),
        };
        for network in 0..NETWORKS {
            let address = attacker(network);
            let send = |call: Call| gateway.send(&from(call, &address)).status;
            for _ in 0..4 {
                let (body, _) = held_back(gateway, &from(chat(LONG), &address));
                flood.bodies.push(body);
                flood.idle.push(Connection::open(gateway.address).unwrap());
                flood.waiting.extend(wait_for_payment(gateway, &address));
            }
            for count in 0..40 {
                send(Call::get(&format!("/held/{count}")));
                send(bearer(chat(1), &format!("sk-farebox-{count:064x}")));
                send(Call::get("/v1/models"));
                let order = Call::post("/.farebox/keys", "{\"amount_msat\":1000000}");
                send(order.header("Content-Type", "application/json"));
                let key = format!("sk-farebox-{count:064x}");
                send(bearer(Call::get("/.farebox/keys/self"), &key));
            }
        }
        flood
    }
}

/// A question for a payment that never comes.
fn wait_for_payment(gateway: &TestGateway, address: &str) -> Option<Connection> {
    let call = from(Call::get("/calls/a"), address);
    let claim = gateway.send(&call).find("farebox-claim")?.to_owned();
    let question = call
        .header("Farebox-Claim", &claim)
        .header("Farebox-Claim-Status", "wait");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&question).unwrap();
    Some(connection)
}

fn resident_kib(gateway: &TestGateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

#[test]
fn in_a_flood_every_payer_is_served_and_every_stranger_can_become_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let (key, token) = (
        funded(&gateway, 50_000_000),
        gateway.buy(&Call::get("/calls/a")),
    );
    let prompt = chat(LONG).with(&gateway.buy(&chat(1)));
    let flood = Flood::begin(&gateway);
    for _ in 0..10 {
        gateway
            .send(&Call::get("/calls/a").with(&token))
            .expect(200);
        gateway
            .send(&bearer(Call::get("/calls/a"), &key.key))
            .expect(200);
        gateway
            .send(&bearer(Call::get("/v1/models"), &key.key))
            .expect(200);
    }
    gateway.send(&bearer(chat(LONG), &key.key)).expect(200);
    gateway.send(&prompt).expect(200);
    for path in ["self", "children"] {
        let call = Call::get(&format!("/.farebox/keys/{path}"));
        gateway.send(&bearer(call, &key.key)).expect(200);
    }
    // Somebody new buys, too.
    let address = "198.51.100.1";
    let held = from(Call::get("/held/honest"), address);
    let challenge = gateway.challenge(&held);
    let preimage = gateway.pay(&challenge.invoice);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"paid\""], 1);
    gateway
        .send(&held.with(&challenge.paid_with(preimage)))
        .expect(200);
    let new = from(Call::get("/calls/new"), address);
    let bought = gateway.buy(&new);
    gateway.send(&new.with(&bought)).expect(200);
    let in_use = |what: &str| gateway.metric("farebox_shared_in_use", &[what]).unwrap();
    let bodies = in_use("what=\"request_body_bytes\"");
    assert!((1..=BODIES / 2).contains(&bodies), "{bodies}");
    let held = in_use("what=\"held_calls\"");
    assert!((20..=64).contains(&held), "{held}");
    let resident = resident_kib(&gateway);
    assert!(resident < MEMORY_KIB, "{resident} KiB");
    drop(flood);
}
