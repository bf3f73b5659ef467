//! Price lists of others, made into a file that the configuration includes: what is sold by them, and
//! what a reload takes.

use std::process::Output;

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Call, Route, Setup, TestGateway, farebox, with_upstream};

/// A bitcoin for 100,000 dollars: a millionth of a dollar is one msat.
const RATE: &str = "[rates.fixed]\nusd = \"100000\"";

/// A folder with what somebody publishes and what is made of it.
struct Lists(TempDir);

impl Lists {
    /// The price list that the configuration includes.
    fn path(&self) -> String {
        self.0.path().join("prices.json").display().to_string()
    }

    /// Starts with this list, in OpenRouter's form; prices in millionths of a dollar a token.
    fn new(models: &[(&str, u64, u64)]) -> Self {
        let lists = Self(tempfile::tempdir().unwrap());
        assert!(lists.import(models, &[]).status.success());
        lists
    }

    fn import(&self, models: &[(&str, u64, u64)], more: &[&str]) -> Output {
        let models = models.iter().map(|(name, input, output)| {
            json!({ "id": name, "context_length": 10_000, "pricing": {
                "prompt": format!("0.{input:06}"), "completion": format!("0.{output:06}"),
            } })
        });
        let list = json!({ "data": models.collect::<Vec<_>>() }).to_string();
        let published = self.0.path().join("models.json");
        std::fs::write(&published, list).unwrap();
        let (published, path) = (published.display().to_string(), self.path());
        let arguments = ["prices", "import", "openrouter", &published, "-o", &path];
        farebox([&arguments, more].concat()).output().unwrap()
    }

    /// A route that sells by the list.
    fn setup(&self, upstream: &ScriptedUpstream) -> Setup {
        let path = self.path();
        let route = Route::at("/v1", upstream)
            .line(&format!(
                "price = {{ model_tokens = {{ prices = \"{path}\" }} }}"
            ))
            .line("balance = { sat = 1000 }");
        Setup::new().section(RATE).route(route)
    }
}

/// What a call with an answer of at most 50 tokens can cost, or the status of its refusal.
fn at_most(gateway: &TestGateway, model: &str) -> Result<u64, u16> {
    let body = json!({ "model": model, "max_tokens": 50,
        "messages": [{ "role": "user", "content": "hello" }] });
    let call = Call::post("/v1/chat/completions", body.to_string());
    let reply = gateway.send(&call.header("Content-Type", "application/json"));
    if reply.status != 402 {
        return Err(reply.status);
    }
    Ok(reply.json()["price_msat"].as_u64().unwrap())
}

fn reload(gateway: &mut TestGateway) {
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the configuration was read again");
}

#[test]
fn an_imported_list_is_sold_by_and_a_changed_one_after_a_reload_or_a_restart() {
    let lists = Lists::new(&[("small", 100, 600)]);
    let (_upstream, mut gateway) =
        with_upstream(|upstream| TestGateway::start(lists.setup(upstream)));
    let cost = at_most(&gateway, "small").unwrap();
    assert!(cost >= 50 * 600, "{cost}");
    assert_eq!(at_most(&gateway, "large"), Err(404));

    let two = [("small", 100, 720), ("large", 100, 900)];
    assert!(lists.import(&two, &["--accept"]).status.success());
    assert_eq!(at_most(&gateway, "small"), Ok(cost));
    reload(&mut gateway);
    let dearer = at_most(&gateway, "small").unwrap();
    assert_eq!(dearer, cost + 50 * 120);
    assert!(at_most(&gateway, "large").unwrap() >= 50 * 900);
    gateway.kill();
    gateway.start_again(&[]);
    assert_eq!(at_most(&gateway, "small"), Ok(dearer));
}

#[test]
fn a_leap_is_not_sold_by_before_the_seller_has_accepted_it() {
    let lists = Lists::new(&[("a", 100, 1000)]);
    let (_upstream, mut gateway) =
        with_upstream(|upstream| TestGateway::start(lists.setup(upstream)));
    let old = at_most(&gateway, "a").unwrap();
    let leap = [("a", 100, 10)];
    let before = std::fs::read(lists.path()).unwrap();
    let refused = lists.import(&leap, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stdout).unwrap();
    let line = "changed: a output: 0.001 -> 0.00001 (-99.0 %) steep";
    assert!(said.contains(line), "{said}");
    assert_eq!(std::fs::read(lists.path()).unwrap(), before);
    assert!(lists.import(&leap, &["--accept"]).status.success());
    reload(&mut gateway);
    assert!(at_most(&gateway, "a").unwrap() < old);
}

#[test]
fn a_reload_with_a_broken_list_keeps_the_old_prices_and_a_start_says_why_not() {
    let lists = Lists::new(&[("a", 100, 1000)]);
    let (_upstream, mut gateway) =
        with_upstream(|upstream| TestGateway::start(lists.setup(upstream)));
    gateway.expect_alarms();
    let old = at_most(&gateway, "a").unwrap();
    std::fs::write(lists.path(), "{\"vers").unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the old one stays");
    assert_eq!(at_most(&gateway, "a"), Ok(old));
    let checked = gateway.command(&["config", "check", "--insecure-test-money"]);
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        said.contains("route[0].price.model_tokens.prices"),
        "{said}"
    );
    assert!(said.contains("not a price list"), "{said}");
}

#[test]
fn the_configurations_own_price_wins() {
    let lists = Lists::new(&[("a", 100, 1000), ("b", 100, 1000)]);
    let own =
        "[[model]]\nname = \"a\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = 1\noutput = 7\n";
    let start = |upstream: &_| TestGateway::start(lists.setup(upstream).section(own));
    let (_upstream, gateway) = with_upstream(start);
    assert!(at_most(&gateway, "a").unwrap() < 50 * 1000);
    assert!(at_most(&gateway, "b").unwrap() >= 50 * 1000);
}
