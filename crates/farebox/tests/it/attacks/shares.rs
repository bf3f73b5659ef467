//! Limits that all share, taken by one: others find their share left.

use std::net::Ipv4Addr;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Connection, Route, Setup, TestGateway};
use crate::keys::{Bought, balance, buy};
use crate::rules::{MANY_CHALLENGES, eventually};

const PRICE: u64 = 2_000;

fn setup() -> Setup {
    Setup::new()
        .section(MANY_CHALLENGES)
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
}

pub(super) fn from(call: Call, address: &str) -> Call {
    call.header("X-Forwarded-For", address)
}

pub(super) fn bearer(call: Call, key: &str) -> Call {
    call.header("Authorization", &format!("Bearer {key}"))
}

/// A key with money on it.
pub(super) fn funded(gateway: &TestGateway, msat: u64) -> Bought {
    let bought = buy(gateway, msat);
    eventually(|| balance(gateway, &bought.key), |balance| *balance == msat);
    bought
}

fn child(gateway: &TestGateway, parent: &Bought, limits: &Value) -> Value {
    let call = Call::post("/.farebox/keys/children", limits.to_string());
    let call = call.header("Content-Type", "application/json");
    gateway.send(&bearer(call, &parent.key)).expect(201).json()
}

#[test]
fn calls_that_wait_for_their_payment_leave_room_for_other_addresses() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(setup().route(route.line("on_failure = \"cancel\"")));
    let offered = |address: &str| {
        let call = |count| from(Call::get(&format!("/paid/{count}")), address);
        let replies = (0..130).map(|count| gateway.send(&call(count)));
        let statuses: Vec<_> = replies.map(|reply| reply.status).collect();
        assert!(statuses.iter().all(|status| [402, 503].contains(status)));
        statuses.iter().filter(|status| **status == 402).count()
    };
    let first = offered("192.0.2.1");
    assert!((10..=16).contains(&first), "{first}");
    // A dozen greedy networks later the next one is still offered his call.
    for network in 0..12 {
        assert!(offered(&format!("203.0.{network}.1")) > 0, "{network}");
    }
    let honest = from(Call::get("/paid/honest"), "198.51.100.1");
    let challenge = gateway.challenge(&honest);
    let preimage = gateway.pay(&challenge.invoice);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"paid\""], 1);
    let paid = challenge.paid_with(preimage);
    gateway.send(&honest.with(&paid)).expect(200);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn connections_of_one_network_leave_room_for_others() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().server("max_connections = 40");
    let gateway = TestGateway::start(setup.route(Route::at("/free", &upstream).free()));
    let served = |network: u8| {
        let address = Ipv4Addr::new(127, 0, network, 1);
        let mut connection = Connection::open_from(address, gateway.address).unwrap();
        connection.send(&Call::get("/free/a")).ok()?;
        let reply = connection.read_reply("GET").ok()?;
        (reply.status == 200).then_some(connection)
    };
    let greedy: Vec<_> = (0..45).filter_map(|_| served(1)).collect();
    assert!((8..=10).contains(&greedy.len()), "{}", greedy.len());
    assert!(served(2).is_some());
    drop(greedy);
    eventually(|| served(1), Option::is_some).expect("the places are given on");
}

#[test]
fn requests_that_wait_for_their_payment_share_the_bytes_that_are_kept() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let setup = setup().section("[held]\nmax_bytes = \"1MiB\"");
    let gateway = TestGateway::start(setup.route(route.line("on_failure = \"cancel\"")));
    let large = |address: &str| {
        let call = Call::post("/paid/large", vec![b'x'; 100_000]);
        gateway.send(&from(call, address)).status
    };
    let first = (0..10).filter(|_| large("192.0.2.1") == 402).count();
    assert!((1..=2).contains(&first), "{first}");
    assert_eq!(large("198.51.100.1"), 402);
}

#[test]
fn lists_of_models_are_asked_for_in_shares() {
    let upstream = ScriptedUpstream::start().unwrap();
    let model = "[[model]]\nname = \"small\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = 1\n\
                 output = 1\ncontext_tokens = 1000\nmax_output_tokens = 20";
    let route = Route::to("/v1", &upstream.url()).line("price = { model_tokens = {} }");
    let gateway = TestGateway::start(setup().section(model).route(route));
    let list = |address: &str| gateway.send(&from(Call::get("/v1/models"), address));
    let refused = (0..100).map(|_| list("192.0.2.1"));
    let refused = refused.into_iter().find(|reply| reply.status != 200);
    let refused = refused.expect("lists are limited").expect(429);
    assert!(refused.find("retry-after").is_some());
    list("198.51.100.1").expect(200);
    let key = funded(&gateway, 100_000);
    let paying = from(Call::get("/v1/models"), "192.0.2.1");
    gateway.send(&bearer(paying, &key.key)).expect(200);
}

#[test]
fn a_family_of_keys_has_the_share_of_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(setup().route(route.line("max_concurrent = 2")));
    let (parent, other) = (funded(&gateway, 100_000), funded(&gateway, 100_000));
    let children: Vec<_> = (0..3)
        .map(|_| child(&gateway, &parent, &json!({})))
        .collect();
    let open = |key: &Value| {
        let mut connection = Connection::open(gateway.address).unwrap();
        let call = bearer(Call::get("/paid/gate/g"), key.as_str().unwrap());
        connection.send(&call).unwrap();
        connection
    };
    let mut running = [open(&children[0]["key"]), open(&children[1]["key"])];
    upstream.wait_for("/paid/gate/g", 2);
    let third = bearer(Call::get("/paid/a"), children[2]["key"].as_str().unwrap());
    gateway.send(&third).expect(429);
    let elsewhere = bearer(Call::get("/paid/a"), &other.key);
    gateway.send(&elsewhere).expect(200);
    upstream.open_gate("g");
    for connection in &mut running {
        connection.read_reply("GET").unwrap().expect(200);
    }
}

#[test]
fn children_are_listed_page_by_page_and_their_limits_are_short() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(setup().route(route));
    let parent = funded(&gateway, 100_000);
    let made: Vec<_> = (0..5)
        .map(|_| child(&gateway, &parent, &json!({}))["id"].clone())
        .collect();
    let page = |query: &str| {
        let call = Call::get(&format!("/.farebox/keys/children{query}"));
        gateway.send(&bearer(call, &parent.key))
    };
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let listed = page(&query).expect(200).json();
        let children = listed["children"].as_array().unwrap();
        assert!(children.len() <= 2);
        seen.extend(children.iter().map(|child| child["id"].clone()));
        let Some(next) = listed["next"].as_u64() else {
            break;
        };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(seen, made);
    for wrong in ["?limit=0", "?after=-1", "?before=1", "?limit"] {
        page(wrong).expect(400);
    }
    let names: Vec<_> = (0..64).map(|number| format!("{number:0>100}")).collect();
    let long = json!({ "models": names }).to_string();
    let call = Call::post("/.farebox/keys/children", long);
    let call = call.header("Content-Type", "application/json");
    gateway.send(&bearer(call, &parent.key)).expect(400);
}

#[test]
fn who_guesses_keys_locks_out_no_key_that_was_not_used_since_the_start() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let mut gateway = TestGateway::start(setup().route(route));
    let key = funded(&gateway, 100_000);
    gateway.restart();
    let buy = |key: &str, address: &str| {
        let call = from(Call::get("/paid/a"), address);
        gateway.send(&bearer(call, key)).status
    };
    let guesses = (0..150).map(|count| buy(&format!("sk-farebox-{count:064x}"), "192.0.2.1"));
    let refused = guesses.filter(|status| *status == 429).count();
    assert!(refused > 0, "no more are looked for");
    assert_eq!(buy(&key.key, "192.0.2.2"), 200, "of the same network");
    assert_eq!(buy(&format!("sk-farebox-{:064x}", 777), "192.0.2.2"), 429);
}

#[test]
fn strangers_who_ask_without_end_do_not_keep_holders_from_their_keys() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(setup().route(route));
    let key = funded(&gateway, 100_000);
    let ask = |key: &str, path: &str, address: &str| {
        let call = from(Call::get(path), address);
        gateway.send(&bearer(call, key)).status
    };
    let own = ["/.farebox/keys/self", "/.farebox/keys/children"];
    assert_eq!(ask(&key.key, own[0], "192.0.2.2"), 200);
    // From the holder's own network, too, where his key is known since it was used.
    for count in 0..150 {
        let invented = format!("sk-farebox-{count:064x}");
        let status = ask(&invented, "/.farebox/keys/refund", "192.0.2.1");
        assert!([401, 429].contains(&status), "{status}");
    }
    for path in own {
        assert_eq!(ask(&key.key, path, "192.0.2.2"), 200, "{path}");
    }
}
