use std::sync::Arc;
use std::time::Duration;

use farebox_core::Msat;
use farebox_gateway::plan::Route;
use farebox_meter::Unit;
use farebox_paywall::sale::{Bind, Buys, FlatPrice, Offer, OnFailure, Sale};

use super::*;
use farebox_testkit::ManualClock;

fn context() -> Context {
    Context {
        clock: Arc::new(ManualClock::default()),
        money: Money::Test,
        lookups: Lookups::Real,
        node: None,
    }
}

fn with_route(lines: &str) -> String {
    format!(
        "[server]\nthreads = 1\n[lightning]\nbackend = \"mock\"\n\
         [[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"http://127.0.0.1:9000\"\n{lines}\n"
    )
}

pub(super) fn built(lines: &str) -> Built {
    build_text(&with_route(lines), &context()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn route(lines: &str) -> Arc<Route> {
    Arc::clone(built(lines).plan.routes.iter().next().unwrap())
}

pub(super) fn sale(lines: &str) -> Sale {
    route(lines).sale.clone().unwrap()
}

/// The price in msat of a route whose requests all have the same, and what a payment buys there.
#[track_caller]
fn flat(lines: &str) -> (u64, Buys) {
    match sale(lines).offer {
        Offer::Flat {
            price: FlatPrice::Msat(price),
            buys,
        } => (price.get(), buys),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn refuses(text: &str, expected: &[&str]) {
    let Err(mistakes) = build_text(text, &context()) else {
        panic!("built: {text}")
    };
    let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for part in expected {
        assert!(
            found.iter().any(|line| line.contains(part)),
            "{part} in {found:#?}"
        );
    }
}

#[track_caller]
pub(super) fn refuses_route(lines: &str, expected: &str) {
    refuses(&with_route(lines), &[expected]);
}

#[test]
fn no_header_asks_for_an_answer_otherwise_than_it_is_read() {
    let most = "at_most = { sat = 5 }";
    let read = [
        format!("price = {{ upstream_json = \"/cost\", unit = \"msat\", {most} }}"),
        "price = { model_tokens = {} }\n[[model]]\nname = \"m\"\ncurrency = \"msat\"\ninput = 1"
            .to_owned(),
        "price = { msat = 5 }\nresponse = { fields = \"answer\" }".to_owned(),
    ];
    for lines in read {
        for header in ["Accept-Encoding", "range", "If-None-Match"] {
            let injected = format!("headers = {{ {header} = \"x\" }}\n{lines}");
            refuses_route(&injected, "asked for whole and in the clear");
        }
        built(&format!(
            "headers = {{ Accept = \"application/json\" }}\n{lines}"
        ));
    }
    let told = format!("price = {{ upstream_header = \"x-cost\", unit = \"msat\", {most} }}");
    built(&format!("headers = {{ Accept-Encoding = \"br\" }}\n{told}"));
}

#[test]
fn a_single_call_is_bound_to_its_request_and_costs_the_price() {
    let single = Buys::Single(Bind::Request(OnFailure::Void));
    assert_eq!(flat("price = { msat = 2000 }"), (2_000, single));
}

#[test]
fn calls_are_paid_together_and_bound_to_the_route() {
    let five = flat("price = { msat = 2000 }\ncalls = 5");
    assert_eq!(five, (2_000, Buys::Calls(5)));
}

#[test]
fn a_pass_costs_its_price_and_a_balance_its_deposit() {
    let pass = flat("price = { sat = 5 }\npass = \"24h\"");
    assert_eq!(pass, (5_000, Buys::Pass(Duration::from_secs(86_400))));
    let balance = flat("price = { msat = 50 }\nbalance = { sat = 100 }");
    assert_eq!(balance, (50, Buys::Balance(Msat::new(100_000).unwrap())));
}

#[test]
fn the_terms_epoch_changes_with_the_conditions_and_only_with_them() {
    let epoch = |lines: &str| sale(lines).epoch;
    let first = epoch("price = { msat = 2000 }");
    assert_eq!(
        first,
        epoch("price = { sat = 2 }\ndescription = \"other words\"")
    );
    assert_ne!(first, epoch("price = { msat = 2001 }"));
    assert_ne!(first, epoch("price = { msat = 2000 }\nvalid_for = \"1d\""));
    assert_ne!(first, epoch("price = { msat = 2000 }\nbind = \"route\""));
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    for (lines, expected) in [
        ("price = \"free\"\ncalls = 5", "calls = 5: makes no sense"),
        (
            "price = \"free\"\nbind = \"route\"",
            "bind = \"route\": makes no sense",
        ),
        ("price = { msat = 0 }", "written price = \"free\""),
        (
            "price = { msat = 1 }\ncalls = 5\npass = \"1h\"",
            "one thing",
        ),
        ("price = { msat = 1 }\ncalls = 0", "at least one call"),
        (
            "price = { msat = 1 }\ncalls = 5\nbind = \"request\"",
            "cannot be bound to one",
        ),
        (
            "price = { msat = 1 }\npass = \"1h\"\nbind = \"request\"",
            "cannot be bound to one",
        ),
        (
            "price = { msat = 5 }\nbalance = { msat = 4 }",
            "less than the price",
        ),
        (
            "price = { msat = 5 }\nvalid_for = \"1m\"",
            "shorter than server.invoice_expiry",
        ),
        ("price = { msat = 5 }\nmethods = []", "a way to be paid"),
        (
            "price = { msat = 5 }\nmax_concurrent = 0",
            "no request could run",
        ),
        (
            "price = { msat = 5 }\nmax_body = \"1GiB\"",
            "server.body_budget",
        ),
        (
            "price = { msat = 5 }\nreplay = { max_bytes = \"1GiB\" }",
            "server.replay_budget",
        ),
        (
            "price = { msat = 5 }\nca_file = \"/nowhere/ca.pem\"",
            "ca_file",
        ),
        (
            "price = { msat = 5 }\ncors = { origins = \"*\", allow_credentials = true }",
            "listed origins",
        ),
        (
            "price = { msat = 5 }\nhttp_methods = [\"get\"]",
            "write \"GET\"",
        ),
        (
            "price = { msat = 5 }\nheaders = { Host = \"x\" }",
            "itself writes",
        ),
        (
            "price = { msat = 5 }\nheaders = { A = { env = \"FAREBOX_NO_SUCH\" } }",
            "is not set",
        ),
        ("", "price: is missing"),
    ] {
        refuses_route(lines, expected);
    }
}

#[test]
fn an_act_is_sold_at_a_fixed_price_that_is_not_given_back() {
    let act = "charge_on = \"forwarded\"";
    let held = format!("price = {{ msat = 5 }}\non_failure = \"cancel\"\n{act}");
    refuses_route(&held, "only where the answer is what is sold");
    let used =
        format!("price = {{ per_second = {{ msat = 5 }}, at_most = {{ msat = 50 }} }}\n{act}");
    refuses_route(&used, "one payment buys a balance");
}

#[test]
fn an_upstream_that_is_ourselves_is_refused() {
    for upstream in [
        "http://127.0.0.1:8402",
        "http://localhost:8402/base",
        "http://127.0.0.1:8403",
        "https://api.example.com",
    ] {
        let text = format!(
            "[server]\npublic_url = \"https://api.example.com\"\n\
             [[route]]\nname = \"a\"\npath = \"/\"\nprice = \"free\"\nupstream = \"{upstream}\"\n"
        );
        refuses(&text, &["requests would come back here"]);
    }
}

#[test]
fn an_upstream_is_a_plain_http_url() {
    for (upstream, expected) in [
        ("ftp://a.example", "http:// or https://"),
        ("a.example", "not a URL"),
        ("https://me:secret@a.example", "no user"),
        ("https://a.example/?key=1", "no query"),
        ("", "is missing"),
    ] {
        let text = format!(
            "[[route]]\nname = \"a\"\npath = \"/\"\nprice = \"free\"\nupstream = \"{upstream}\"\n"
        );
        refuses(&text, &[expected]);
    }
}

#[test]
fn two_routes_never_share_a_name_or_a_place() {
    let route = |name: &str, path: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nprice = \"free\"\n\
             upstream = \"http://a.example\"\n"
        )
    };
    refuses(
        &(route("a", "/a") + &route("a", "/b")),
        &["the same name as route[0]"],
    );
    refuses(
        &(route("a", "/a") + &route("b", "/a")),
        &["the same host and path as route \"a\""],
    );
    refuses(&route("a", "/a/../b"), &["canonical"]);
}

#[test]
fn test_money_is_refused_unless_it_was_asked_for() {
    let strict = Context {
        money: Money::Real,
        ..context()
    };
    let Err(mistakes) = build_text(&with_route("price = { msat = 1 }"), &strict) else {
        panic!("built with test money")
    };
    assert!(
        mistakes.to_string().contains("--insecure-test-money"),
        "{mistakes}"
    );
}

#[test]
fn a_price_needs_somebody_to_be_paid() {
    let text = "[[route]]\nname = \"a\"\npath = \"/\"\nprice = { msat = 1 }\n\
                upstream = \"http://a.example\"\n";
    refuses(text, &["lightning: is missing"]);
    let address =
        |lines: &str| format!("[lightning]\nbackend = \"lightning-address\"\n{lines}\n{text}");
    refuses(&address(""), &["lightning.address: is missing"]);
    refuses(
        &address("address = \"not an address\""),
        &["lightning.address"],
    );
    assert!(build_text(&address("address = \"me@example.com\""), &context()).is_ok());
}

#[test]
fn mistakes_of_reading_and_of_building_come_together_with_their_lines() {
    let text =
        "[server]\nlisten = \"nowhere\"\nbad_credential = 403\n\n[[route]]\nname = \"a b\"\n";
    refuses(
        text,
        &[
            "line 2: server.listen",
            "line 3: server.bad_credential = 403: either 401 or 402",
            "line 6: route[0].name",
            "line 5: route[0].path: is missing",
            "line 5: route[0].upstream",
            "line 5: route[0].price: is missing",
        ],
    );
}

#[test]
fn secrets_come_from_files_and_never_show() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-1\n").unwrap();
    let lines = format!(
        "price = \"free\"\nheaders = {{ Authorization = {{ file = {file:?}, prefix = \"Bearer \" }} }}"
    );
    let headers = &route(&lines).upstream.headers;
    assert_eq!(headers[0].1.to_str().unwrap(), "Bearer sk-1");
    assert!(!format!("{headers:?}").contains("sk-1"));
}

#[test]
fn a_file_can_be_checked_where_its_secrets_are_not_at_hand() {
    let skipping = Context {
        lookups: Lookups::Skipped,
        ..context()
    };
    let text = with_route("price = \"free\"\nheaders = { A = { env = \"FAREBOX_NO_SUCH\" } }")
        .replace(
            "threads = 1",
            "tls = { cert = \"no.pem\", key = \"no.key\" }",
        );
    assert!(build_text(&text, &skipping).is_ok());
    refuses(
        &text,
        &["server.tls.cert", "server.tls.key", "FAREBOX_NO_SUCH"],
    );
}

#[test]
fn a_reload_keeps_the_node_whose_settings_are_the_same() {
    let before = built("price = { msat = 1 }");
    let again = Context {
        node: before.node.clone(),
        ..context()
    };
    let after =
        build_text(&with_route("price = { msat = 2 }"), &again).unwrap_or_else(|_| panic!());
    let mock = |built: &Built| Arc::clone(built.node.as_ref().unwrap().mock().unwrap());
    assert!(Arc::ptr_eq(&mock(&before), &mock(&after)));
}

#[test]
fn prefixes_are_taken_off_and_bases_put_in_front() {
    let lines = "price = \"free\"\nstrip_prefix = true";
    let text = with_route(lines).replace(":9000", ":9000/base/");
    let built = build_text(&text, &context()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let route = built.plan.routes.iter().next().unwrap();
    assert_eq!(route.upstream.mapping.strip_prefix, "/a");
    assert_eq!(route.upstream.mapping.base_path, "/base");
}

#[test]
fn a_body_is_read_within_8_mib_and_streamed_within_1_gib() {
    let bound = route("price = { msat = 1 }");
    assert_eq!(
        (bound.max_read_bytes, bound.max_body_bytes),
        (8 << 20, 8 << 20)
    );
    let streamed = route("price = { msat = 1 }\ncalls = 2");
    assert_eq!(
        (streamed.max_read_bytes, streamed.max_body_bytes),
        (8 << 20, 1 << 30)
    );
}

#[test]
fn a_file_that_is_not_toml_is_not_blamed_for_what_it_lacks() {
    refuses("[server\n", &["not TOML"]);
}

const MODEL: &str =
    "[[model]]\nname = \"small\"\ncurrency = \"usd\"\ninput = \"0.15\"\noutput = \"0.60\"\n";
const RATE: &str = "[rates.fixed]\nusd = \"100000\"\n";

fn with_models(price: &str, sections: &str) -> String {
    format!("{}\n{sections}", with_route(price))
}

#[test]
fn a_route_of_models_sells_balances() {
    let text = with_models("price = { model_tokens = {} }", &[MODEL, RATE].concat());
    let built = build_text(&text, &context()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let route = built.plan.routes.iter().next().unwrap();
    let sale = route.sale.as_ref().unwrap();
    let Offer::Metered { deposit, .. } = sale.offer else {
        panic!("{}", sale.offer)
    };
    assert_eq!(deposit, Msat::new(100_000).unwrap());
    assert!(sale.offer.models().is_some());
}

#[test]
fn models_need_prices_and_prices_in_fiat_need_a_rate() {
    let sells = "price = { model_tokens = {} }";
    refuses(&with_models(sells, RATE), &["no model has a price"]);
    let built = build_text(&with_models(sells, &[MODEL, RATE].concat()), &context());
    let words = built
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .describe();
    assert!(
        words
            .iter()
            .any(|line| line.contains("models with a price: 1")),
        "{words:?}"
    );
    refuses(&with_models(sells, MODEL), &["rates.fixed.usd"]);
    refuses(
        &with_models("price = { usd = \"0.002\" }", ""),
        &["rates.fixed.usd"],
    );
    let nothing = "[[model]]\nname = \"gift\"\ncurrency = \"sat\"\ninput = 0\n";
    refuses(&with_models(sells, nothing), &["free = true"]);
    let twice = [MODEL, MODEL, RATE].concat();
    refuses(&with_models(sells, &twice), &["has a price already"]);
}

#[test]
fn a_route_sells_by_a_price_list_and_what_the_configuration_prices_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.json").display().to_string();
    let sells = format!("price = {{ model_tokens = {{ prices = \"{path}\" }} }}");
    refuses(&with_models(&sells, RATE), &["cannot be read"]);
    let model = |name: &str| {
        let rows = r#"{"input": "0.000001", "output": "0.000002"}"#;
        format!(r#""{name}": {{"currency": "usd", "rows": {rows}}}"#)
    };
    let list = [model("small"), model("large")].join(",");
    let list = format!(r#"{{"version": 1, "models": {{{list}}}}}"#);
    std::fs::write(&path, list).unwrap();
    refuses(&with_models(&sells, ""), &["rates.fixed.usd"]);
    let built = build_text(&with_models(&sells, &[MODEL, RATE].concat()), &context());
    let built = built.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let route = built.plan.routes.iter().next().unwrap();
    let prices = &route.sale.as_ref().unwrap().offer.models().unwrap().prices;
    assert_eq!(prices.len(), 2);
    let output = |model: &str| prices.find(model).unwrap().row(Unit::Output).unwrap();
    assert_eq!(output("small").to_string(), "0.0000006");
    assert_eq!(output("large").to_string(), "0.000002");
}

#[test]
fn what_is_charged_by_use_buys_no_calls_passes_or_single_requests() {
    let sections = [MODEL, RATE].concat();
    for line in ["calls = 5", "pass = \"1h\"", "bind = \"request\""] {
        let route = format!("price = {{ model_tokens = {{}} }}\n{line}");
        refuses(
            &with_models(&route, &sections),
            &["makes no sense with a price by use"],
        );
    }
}

#[test]
fn one_price_is_written_in_one_way() {
    for price in ["{ usd = \"1\", eur = \"1\" }", "{}"] {
        refuses_route(&format!("price = {price}"), "exactly one");
    }
    refuses_route(
        "price = { msat = 1, usd = \"1\" }",
        "price.usd = \"1\": does not go",
    );
    refuses(&with_models("price = { usd = \"0\" }", RATE), &["free"]);
    refuses(
        &with_models("price = { dollars = \"1\" }", ""),
        &["unknown kind of price"],
    );
}

#[test]
fn a_currency_is_live_or_fixed_or_cannot_be_sold_in() {
    let fiat = "price = { usd = \"0.002\" }";
    let live = |lines: &str| with_models(fiat, &format!("[rates]\n{lines}"));
    let built = build_text(&live("live = [\"usd\"]"), &context());
    let built = built.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(built.market.live.currencies, ["usd".parse().unwrap()]);
    assert_eq!(built.market.live.sources.len(), 5);
    let both = live("live = [\"usd\"]\nfixed = { usd = 1 }");
    let built = build_text(&both, &context()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(built.market.live.currencies.is_empty());
    refuses(
        &live("live = [\"eur\"]"),
        &["to rates.live, or set rates.fixed.usd"],
    );
    refuses(
        &live("live = [\"sat\", \"usd\"]"),
        &["bitcoin needs no rate"],
    );
    refuses(&live("live = [\"usd\"]\nquorum = 6"), &["rates.quorum"]);
    refuses(
        &live("live = [\"usd\"]\nevery = \"1h\""),
        &["longer than rates.max_age"],
    );
}

#[test]
fn a_rate_source_is_a_known_name_or_a_url_with_a_pointer() {
    let fiat = "price = { usd = \"0.002\" }";
    let source = |lines: &str| {
        let rates = "[rates]\nlive = [\"usd\", \"eur\"]\nquorum = 1\n[[rates.source]]\n";
        with_models(fiat, &format!("{rates}{lines}"))
    };
    let built = build_text(&source("name = \"kraken\""), &context());
    assert_eq!(
        built.unwrap_or_else(|_| panic!()).market.live.sources.len(),
        1
    );
    refuses(&source("name = \"mine\""), &["url: is missing"]);
    let blind = "name = \"mine\"\nurl = \"https://a.example/x\"\npointer = \"/x\"";
    refuses(&source(blind), &["same for every currency"]);
    let bad = "name = \"mine\"\nurl = \"https://a.example/{currency}\"\npointer = \"x\"";
    refuses(&source(bad), &["JSON pointer"]);
    let twice = "name = \"kraken\"\n[[rates.source]]\nname = \"kraken\"";
    refuses(&source(twice), &["written twice"]);
}

#[test]
fn a_template_and_a_field_of_the_answer_shape_a_route() {
    let shaped = route(
        "price = { msat = 5 }\ncalls = 2\nresponse = { fields = [\"a.0\", \"/b\"] }\n\
         [route.request]\nbody = '{\"m\":1,\"c\":[{\"t\":\"\"}]}'\n\
         pass_fields = { p = { type = \"string\", to = \"/c/0/t\" }, n = \"int\", x = \"any\" }",
    );
    assert_eq!(shaped.max_read_bytes, 1 << 20);
    let shape = shaped.shape.as_ref().unwrap();
    assert_eq!(shape.request.as_ref().unwrap().method(), http::Method::POST);
    assert_eq!(shape.response.as_ref().unwrap().paths.len(), 2);
    assert!(route("price = { msat = 5 }").shape.is_none());
}

#[test]
fn a_template_that_cannot_be_filled_is_refused_with_its_place() {
    let request = |lines: &str| format!("price = {{ msat = 5 }}\n[route.request]\n{lines}");
    for (lines, expected) in [
        (
            "body = '[]'",
            "route[0].request.body = '[]': the body is not a JSON object",
        ),
        ("body = '{\"a\":1,\"a\":2}'", "names \"a\" twice"),
        ("method = \"GET\"", "a method that sends a body"),
        (
            "pass_fields = { a = \"date\" }",
            "expected \"string\", \"int\"",
        ),
        (
            "pass_fields = { a = { type = \"int\", to = \"/x/y\" } }",
            "\"a\" has no place in the body",
        ),
        (
            "pass_fields = { a = { type = \"int\", to = \"x\" } }",
            "expected a JSON pointer",
        ),
    ] {
        refuses_route(&request(lines), expected);
    }
    refuses_route(
        "price = { msat = 5 }\nresponse = { fields = [] }",
        "expected 1 to 16 paths",
    );
    refuses_route(
        "price = { msat = 5 }\nresponse = { fields = \"a..b\" }",
        "such as choices.0.text",
    );
}

#[test]
fn a_shape_does_not_go_together_with_a_price_by_use() {
    let models = "price = { model_tokens = {} }\n[route.request]\nbody = '{}'";
    let models = with_models(models, &[MODEL, RATE].concat());
    refuses(&models, &["makes no sense with model_tokens"]);
}

#[test]
fn capabilities_are_names_that_fit_into_a_token() {
    let named = |lines: &str| format!("price = {{ msat = 5 }}\n{lines}");
    let ruled = route(&named(
        "capabilities = { read = { http_methods = [\"GET\"] }, files = { paths = [\"/a/f\"] } }",
    ));
    let capabilities = ruled.sale.as_ref().unwrap().capabilities.as_ref().unwrap();
    assert_eq!(capabilities.sold.to_string(), "files,read");
    for (lines, expected) in [
        ("capabilities = []", "expected 1 to 16 different names"),
        ("capabilities = [\"a b\"]", "different names"),
        (
            "capabilities = { a = { paths = [\"x\"] } }",
            "paths begin with a slash",
        ),
        (
            "capabilities = { a = { http_methods = [] } }",
            "no request would need it",
        ),
    ] {
        refuses_route(&named(lines), expected);
    }
    refuses_route(
        "price = \"free\"\ncapabilities = [\"a\"]",
        "nobody brings a token",
    );
}

#[test]
fn what_only_an_invoice_buys_is_not_sold_for_ecash_alone() {
    let mint = "[[mint]]\nurl = \"https://mint.example.com\"";
    let with = |methods: &str, line: &str| {
        format!("price = {{ msat = 1000 }}\nmethods = {methods}\n{line}\n{mint}")
    };
    for line in ["calls = 5", "balance = { sat = 5 }"] {
        let alone = with("[\"cashu\"]", line);
        refuses(&with_route(&alone), &["`cashu` alone makes none"]);
        built(&with("[\"l402\", \"cashu\"]", line));
    }
    built(&with("[\"cashu\"]", "calls = 1"));
    let pass = with("[\"l402\", \"cashu\"]", "pass = \"1h\"");
    refuses(&with_route(&pass), &["a pass is for a time"]);
}
