//! The page in Chromium: the code can be scanned, and the answer comes in its place by itself.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::chromium::Buyer;
use super::{PRICE, invoices, start};
use crate::harness::{Route, TestGateway};
use crate::parts::{self, Server};
use crate::rules::{Books, books_when};

/// The picture in the documentation; written anew with `BLESS=1`.
const PICTURE: &str = "docs/images/payment-page.png";

/// An upstream with answers of every kind behind a gateway that sells them.
fn shop() -> Option<(Server, TestGateway)> {
    let pages = Server::announced(&mut parts::node("pages.cjs")?);
    let route = Route::to("/paid", &pages.url()).msat(PRICE);
    let gateway = start(route.line("description = \"Tomorrow's weather in Ulm\""));
    Some((pages, gateway))
}

/// Goes to the address in Chromium, pays as somebody else would, and waits for the answer.
fn buys(gateway: &TestGateway, wish: &Value) -> Option<(Value, Value)> {
    let buyer = Buyer::goes(wish)?;
    gateway.pay(buyer.invoice());
    let shown = buyer.shown.clone();
    Some((shown, buyer.sees_the_answer("paid")))
}

fn picture() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let blessed = std::env::var_os("BLESS").is_some();
    blessed.then(|| workspace.join(PICTURE))
}

#[test]
fn the_answer_takes_the_place_of_the_code_without_a_reload() {
    let Some((_pages, gateway)) = shop() else {
        return;
    };
    let wish = json!({
        "url": gateway.url("/paid/json"),
        "wait_for": "bought",
        "screenshot": picture(),
        "then_reload": true,
    });
    let Some((shown, end)) = buys(&gateway, &wish) else {
        return;
    };
    let invoice = shown["invoice"].as_str().unwrap();
    let code = format!("LIGHTNING:{}", invoice.to_uppercase());
    assert_eq!(shown["qr"], code, "{shown}");
    assert_eq!(
        shown["scripts_see"], "",
        "the claim is out of reach of scripts"
    );
    assert_eq!(end["status"], 402);
    assert_eq!(
        (&end["navigations"], &end["not_reloaded"]),
        (&json!(0), &json!(true))
    );
    assert!(
        end["text"].as_str().unwrap().contains("\"bought\""),
        "{end}"
    );
    assert_eq!(
        (&end["elsewhere"], &end["complaints"]),
        (&json!([]), &json!([]))
    );
    let reloaded = json!({ "status": 200, "replayed": true });
    assert_eq!(end["reloaded"], reloaded);
    books_when(&gateway, &Books::settled(2000, 2000));
    assert_eq!(invoices(&gateway), 1);
}

#[test]
fn without_scripts_the_page_refreshes_itself_until_the_answer_is_there() {
    let Some((_pages, gateway)) = shop() else {
        return;
    };
    let wish = json!({
        "url": gateway.url("/paid/text"),
        "wait_for": "bought text",
        "javascript": false,
    });
    let Some((shown, end)) = buys(&gateway, &wish) else {
        return;
    };
    let invoice = shown["invoice"].as_str().unwrap();
    assert_eq!(shown["qr"], format!("LIGHTNING:{}", invoice.to_uppercase()));
    assert!(end["navigations"].as_u64() > Some(0), "{end}");
    books_when(&gateway, &Books::settled(2000, 2000));
    assert_eq!(invoices(&gateway), 1);
}

#[test]
fn every_kind_of_answer_is_shown_in_its_own_way() {
    let Some((_pages, gateway)) = shop() else {
        return;
    };
    let look = |path: &str, wait_for: &str, more: Value| {
        let mut wish = json!({ "url": gateway.url(path), "wait_for": wait_for });
        wish.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (_, end) = buys(&gateway, &wish)?;
        assert_eq!(end["not_reloaded"], true, "{path}: {end}");
        Some(end)
    };
    let Some(html) = look("/paid/html", "the bought page", json!({})) else {
        return;
    };
    assert_eq!(html["title"], "Bought");
    assert_eq!(
        html["color"], "rgb(1, 2, 3)",
        "the answer's own style: {html}"
    );
    assert_eq!(html["script_ran"], false, "{html}");
    assert!(
        html["text"]
            .as_str()
            .unwrap()
            .contains("Open the whole page"),
        "{html}"
    );

    let text = look("/paid/text", "bought text", json!({})).unwrap();
    assert_eq!(text["text"], "bought text, not <b>markup</b>");
    let stream = look("/paid/stream", "data: last", json!({})).unwrap();
    assert!(
        stream["text"].as_str().unwrap().starts_with("data: first"),
        "{stream}"
    );
    let image = look("/paid/image", "", json!({ "element": "img" })).unwrap();
    assert_eq!(image["image"], 1, "{image}");
    let file = look("/paid/file", "Save file", json!({ "save": true })).unwrap();
    assert_eq!(
        file["saved"],
        json!({ "name": "file", "text": "bought bytes" })
    );
    books_when(&gateway, &Books::settled(10_000, 10_000));
}

#[test]
fn a_link_from_another_site_leads_to_one_invoice() {
    let Some((pages, gateway)) = shop() else {
        return;
    };
    // Another name of this machine is another site.
    let target = gateway.url("/paid/json");
    let from = format!("http://localhost:{}/link?to={target}", pages.address.port());
    let wish = json!({ "url": target, "wait_for": "bought", "from": from });
    let Some((_, end)) = buys(&gateway, &wish) else {
        return;
    };
    assert_eq!(end["not_reloaded"], true, "{end}");
    assert_eq!(invoices(&gateway), 1);
}

#[test]
fn a_wallet_in_the_browser_is_asked_for_this_invoice() {
    let Some((_pages, gateway)) = shop() else {
        return;
    };
    let wish = json!({ "url": gateway.url("/paid/json"), "wait_for": "bought", "webln": true });
    let Some((shown, end)) = buys(&gateway, &wish) else {
        return;
    };
    assert_eq!(end["wallet_was_asked"], shown["invoice"], "{end}");
    assert_eq!(end["not_reloaded"], true, "{end}");
    books_when(&gateway, &Books::settled(2000, 2000));
}
