use farebox_paywall::sale::{Offer, Pricing, Sale};

use super::super::tests::{built, refuses_route, sale};

fn priced(price: &str) -> Sale {
    sale(&format!("price = {{ {price} }}"))
}

fn sells_balance(sale: &Sale) -> bool {
    let Offer::Metered { pricing, .. } = &sale.offer else {
        return false;
    };
    matches!(pricing, Pricing::Webhook(_))
}

#[track_caller]
fn refuses(price: &str, expected: &str) {
    refuses_route(&format!("price = {{ {price} }}"), expected);
}

#[test]
fn a_price_by_use_is_paid_from_a_balance() {
    for price in [
        "upstream_header = \"X-Cost\", unit = \"msat\", at_most = { sat = 5 }",
        "upstream_json = \"/usage/cost\", each = { msat = \"0.5\" }, at_most = { sat = 5 }",
        "per_byte = { msat = \"0.01\" }, of = \"both\", at_most = { sat = 5 }",
        "per_kib = { msat = 1 }, least = { msat = 5 }, at_most = { sat = 5 }",
        "per_mib = { sat = 1 }, at_most = { sat = 5 }",
        "per_second = { msat = 50 }, broken_off = \"nothing\", at_most = { sat = 5 }",
    ] {
        let sale = priced(price);
        assert!(sale.offer.by_use().is_some(), "{price}");
    }
}

#[test]
fn other_prices_are_other_terms() {
    let epoch = |most: &str| {
        let price = format!("per_second = {{ msat = 50 }}, at_most = {{ sat = {most} }}");
        priced(&price).epoch
    };
    assert_eq!(epoch("5"), epoch("5"));
    assert_ne!(epoch("5"), epoch("6"));
}

#[test]
fn a_price_by_use_says_who_tells_it_in_what_and_the_most_that_it_can_be() {
    let most = "at_most = { sat = 5 }";
    let header = "upstream_header = \"x-cost\"";
    refuses(&format!("{header}, unit = \"msat\""), "at_most");
    refuses(&format!("{header}, {most}"), "price.unit");
    refuses(&format!("{header}, unit = \"msats\", {most}"), "price.unit");
    refuses(&format!("{header}, unit = \"usd\", {most}"), "rates");
    refuses(
        &format!("{header}, unit = \"msat\", each = {{ msat = 1 }}, {most}"),
        "not both",
    );
    refuses(
        &format!("{header}, each = {{ msat = 0 }}, {most}"),
        "costs nothing",
    );
    refuses(
        &format!("upstream_header = \"a b\", unit = \"msat\", {most}"),
        "price.upstream_header",
    );
    refuses(
        &format!("upstream_header = \"Content-Length\", unit = \"msat\", {most}"),
        "something else",
    );
    refuses(
        &format!("upstream_json = \"cost\", unit = \"msat\", {most}"),
        "JSON pointer",
    );
    refuses(&format!("unit = \"msat\", {most}"), "exactly one of");
    refuses(
        &format!("per_byte = {{ msat = 1 }}, per_second = {{ msat = 1 }}, {most}"),
        "exactly one of",
    );
    refuses(
        "per_byte = { msat = 1 }, at_most = { msat = 5 }, least = { msat = 6 }",
        "more than at_most",
    );
}

#[test]
fn keys_of_another_kind_of_price_are_refused_where_they_stand() {
    let bytes = "per_byte = { msat = 1 }, at_most = { sat = 5 }";
    refuses(&format!("{bytes}, missing = \"hold\""), "price.missing");
    refuses(&format!("{bytes}, drain = \"1m\""), "price.drain");
    refuses(&format!("{bytes}, show = true"), "price.show");
    let seconds = "per_second = { msat = 1 }, at_most = { sat = 5 }";
    refuses(&format!("{seconds}, of = \"both\""), "price.of");
    refuses(&format!("{bytes}, compressed = true"), "price.compressed");
    let takes = |of: &str| {
        let sale = priced(&format!("{bytes}, of = \"{of}\", compressed = true"));
        sale.offer.by_use().unwrap().takes_compressed
    };
    assert!(takes("request") && takes("both"));
    refuses(
        "msat = 5, at_most = { sat = 5 }",
        "price.at_most = { sat = 5 }: does not go",
    );
    refuses("msat = 5, missing = \"hold\"", "missing");
    refuses(&format!("{bytes}, webhook = \"http://a\""), "webhook");
    refuses_route(&format!("price = {{ {bytes} }}\ncalls = 2"), "calls");
    refuses_route(&format!("price = {{ {bytes} }}\npass = \"1h\""), "pass");
}

#[test]
fn a_webhook_sells_balances_or_the_very_request_that_it_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    let price = format!(
        "price = {{ webhook = \"http://127.0.0.1:9100/price\", secret = {{ file = {secret:?} }} }}"
    );
    let balance = sale(&price);
    assert!(sells_balance(&balance));
    let single = sale(&format!("{price}\ncalls = 1"));
    assert!(matches!(single.offer, Offer::Quoted(_)));
    refuses_route(&format!("{price}\ncalls = 2"), "calls");
    refuses_route(&format!("{price}\ncalls = 1\nbind = \"route\""), "bind");
    let told = price.replace(" } }", " }, tell = [\"accept\"] }");
    assert!(sells_balance(&sale(&told)));
    refuses_route(&format!("{told}\ncalls = 1"), "other headers");
    let hook = "webhook = \"http://127.0.0.1:9100/price\"";
    refuses(hook, "price.secret");
    refuses(
        &format!("{hook}, secret = \"0123456789abcdef\""),
        "price.secret",
    );
    std::fs::write(&secret, "short").unwrap();
    refuses_route(&price, "guessed");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    let file = format!("secret = {{ file = {secret:?} }}");
    refuses(&format!("webhook = \"ftp://a\", {file}"), "price.webhook");
    refuses(&format!("{hook}, {file}, attempts = 0"), "price.attempts");
    refuses(&format!("{hook}, {file}, tell = [\"a b\"]"), "price.tell");
    let cookie = format!("{hook}, {file}, tell = [\"Cookie\"]");
    refuses(&cookie, "holds a credential");
}

#[test]
fn a_check_says_in_words_what_a_call_will_cost() {
    let route = "price = { upstream_header = \"x-cost\", unit = \"msat\", at_most = { sat = 5 } }";
    let words = built(route).describe();
    let said = "route a: a call is charged by what the upstream says in x-cost; 5 sat at most";
    assert!(words.iter().any(|line| line.contains(said)), "{words:#?}");
}
