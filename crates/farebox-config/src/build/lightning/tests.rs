//! Mistakes in `[lightning]`, `[refunds]`, `[held]` and in what routes ask of them; and what the
//! rest means in words.

use std::sync::Arc;

use crate::build::{Built, BuiltNode, Context, Lookups, Money, build_text};
use crate::show;
use farebox_testkit::ManualClock;

/// What LND 0.20.1 writes as `invoice.macaroon`, with another signature.
const INVOICE_MACAROON: &str = concat!(
    "0201036c6e640258030a10c233dcbf13498e462599e5789955a8e51201301a160a076164647265737312",
    "0472656164120577726974651a170a08696e766f69636573120472656164120577726974651a0f0a076f",
    "6e636861696e12047265616400000620000000000000000000000000000000000000000000000000000000",
    "0000000000",
);

const LND: &str = "backend = \"lnd\"\nurl = \"https://127.0.0.1:8080\"\n";
const PRICED: &str = "price = { msat = 2000 }";

fn context(lookups: Lookups) -> Context {
    Context {
        clock: Arc::new(ManualClock::default()),
        money: Money::Test,
        lookups,
        node: None,
    }
}

fn text(lightning: &str, sections: &str, route: &str) -> String {
    format!(
        "[server]\nthreads = 1\n[lightning]\n{lightning}\n{sections}\n\
         [[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"http://127.0.0.1:9000\"\n{route}\n"
    )
}

#[track_caller]
fn build_unread(lightning: &str, sections: &str, route: &str) -> Built {
    let text = text(lightning, sections, route);
    build_text(&text, &context(Lookups::Skipped)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[track_caller]
fn refuses(lightning: &str, sections: &str, route: &str, expected: &[&str]) {
    let text = text(lightning, sections, route);
    let Err(mistakes) = build_text(&text, &context(Lookups::Skipped)) else {
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

/// The file with a macaroon that is really there.
fn with_macaroon(folder: &std::path::Path, content: impl AsRef<[u8]>) -> String {
    let file = folder.join("invoice.macaroon");
    std::fs::write(&file, content).unwrap();
    format!("{LND}macaroon = {{ file = {file:?} }}")
}

#[test]
fn every_backend_is_written_with_its_own_keys() {
    for lightning in [
        &format!(
            "{LND}macaroon = {{ file = \"m\" }}\ntls_cert = \"tls.cert\"\nprivate_hints = true"
        ),
        "backend = \"cln\"\nurl = \"https://127.0.0.1:3010\"\nrune = { env = \"RUNE\" }",
        "backend = \"phoenixd\"\nurl = \"http://127.0.0.1:9740\"\npassword = { env = \"P\" }",
        "backend = \"lnbits\"\nurl = \"http://127.0.0.1:5000\"\nkey = { env = \"K\" }",
        "backend = \"nwc\"\nuri = { env = \"NWC_URI\" }",
        "backend = \"lightning-address\"\naddress = \"me@example.com\"\ncomment = false",
        "backend = \"mock\"\nmin_amount = { sat = 1 }",
    ] {
        build_unread(lightning, "", PRICED);
    }
}

#[test]
fn what_a_backend_lacks_and_what_it_does_not_know_are_mistakes_all_at_once() {
    refuses(
        "backend = \"lnd\"\nrune = { env = \"R\" }\naddress = \"me@example.com\"\ncomment = true",
        "",
        PRICED,
        &[
            "lightning.url: is missing",
            "lightning.macaroon: is missing",
            "lightning.rune: unknown key with this `backend`; it belongs to `cln`",
            "lightning.address = \"me@example.com\": unknown key with this `backend`; it belongs to `lightning-address`",
            "lightning.comment = true: unknown key with this `backend`",
        ],
    );
    refuses(
        "backend = \"mock\"\nwebhook_secret = { env = \"W\" }",
        "",
        PRICED,
        &["lightning.webhook_secret: unknown key with this `backend`; it belongs to `phoenixd`"],
    );
    refuses(
        "backend = \"mock\"\nallow_hosts = [\"a:1\"]\ntls_cert = \"x\"",
        "",
        PRICED,
        &["lightning.allow_hosts", "lightning.tls_cert"],
    );
    refuses(
        "backend = \"nwc\"\nurl = \"https://a.example\"",
        "",
        PRICED,
        &[
            "lightning.url = \"https://a.example\": unknown key with this `backend`; it belongs to `lnd`, `cln`, `phoenixd`, `lnbits`",
            "lightning.uri: is missing",
        ],
    );
}

#[test]
fn secrets_are_never_written_in_the_file_and_never_shown() {
    for (key, backend) in [("macaroon", "lnd"), ("rune", "cln"), ("uri", "nwc")] {
        let lines = format!("backend = \"{backend}\"\n{key} = \"hush-hush\"");
        let Err(mistakes) = build_text(&text(&lines, "", PRICED), &context(Lookups::Skipped))
        else {
            panic!("built")
        };
        let shown = mistakes.to_string();
        assert!(shown.contains("a secret is not written here"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }
    let folder = tempfile::tempdir().unwrap();
    let lines = with_macaroon(folder.path(), INVOICE_MACAROON);
    let built = build_text(&text(&lines, "", PRICED), &context(Lookups::Real));
    let file = built.unwrap_or_else(|mistakes| panic!("{mistakes}")).file;
    let shown = toml::to_string(&show::for_people(&file, true).unwrap()).unwrap();
    assert!(
        shown.contains("sha256") && !shown.contains(INVOICE_MACAROON),
        "{shown}"
    );
}

#[test]
fn credentials_that_cannot_be_read_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let lines = with_macaroon(folder.path(), "not a macaroon");
    let lines = format!("{lines}\ntls_cert = \"/nowhere/tls.cert\"");
    let Err(mistakes) = build_text(&text(&lines, "", PRICED), &context(Lookups::Real)) else {
        panic!("built")
    };
    let shown = mistakes.to_string();
    assert!(
        shown.contains("lightning.macaroon: no macaroon in"),
        "{shown}"
    );
    assert!(shown.contains("lightning.tls_cert"), "{shown}");
    assert!(!shown.contains("not a macaroon"), "{shown}");
}

#[test]
fn plain_http_stays_on_this_machine_unless_the_host_is_named() {
    let lnd = |url: &str, more: &str| {
        format!("backend = \"lnd\"\nurl = \"{url}\"\nmacaroon = {{ env = \"M\" }}\n{more}")
    };
    build_unread(&lnd("http://127.0.0.1:8080", ""), "", PRICED);
    let listed = "allow_hosts = [\"http://10.0.0.5:8080\"]";
    build_unread(&lnd("http://10.0.0.5:8080", listed), "", PRICED);
    refuses(
        &lnd("http://10.0.0.5:8080", ""),
        "",
        PRICED,
        &["lightning.url = \"http://10.0.0.5:8080\": plain http to 10.0.0.5"],
    );
    refuses(
        &lnd("https://me:hush@10.0.0.5:8080", ""),
        "",
        PRICED,
        &["lightning.url: the URL holds a user name"],
    );
    refuses(
        &lnd("http://127.0.0.1:8080", "tls_cert = \"x\""),
        "",
        PRICED,
        &["lightning.tls_cert = \"x\": makes no sense"],
    );
}

#[test]
fn fallbacks_have_names_of_their_own_and_no_fallbacks() {
    let mock = "backend = \"mock\"\n";
    let two = format!("{mock}[[lightning.fallback]]\n{mock}name = \"second\"\n");
    let node = build_unread(&two, "", PRICED).node.unwrap();
    let names: Vec<_> = node.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["mock", "second"]);
    refuses(
        &format!("{mock}[[lightning.fallback]]\n{mock}"),
        "",
        PRICED,
        &["lightning.fallback[0].name: another backend is called \"mock\""],
    );
    refuses(
        &format!("{mock}name = \"a b\""),
        "",
        PRICED,
        &["lightning.name = \"a b\""],
    );
    refuses(
        &format!(
            "{two}strict = true\nnetwork = \"regtest\"\n[[lightning.fallback.fallback]]\n{mock}"
        ),
        "",
        PRICED,
        &[
            "lightning.fallback[0].strict",
            "lightning.fallback[0].network",
            "lightning.fallback[0].fallback",
        ],
    );
}

#[test]
fn what_a_backend_cannot_do_is_refused_where_it_is_asked_for() {
    let address = "backend = \"lightning-address\"\naddress = \"me@example.com\"\n";
    refuses(
        &format!("{address}strict = true"),
        "[refunds]\nenabled = true",
        &format!("{PRICED}\non_failure = \"cancel\""),
        &[
            "lightning.strict = true: backend \"lightning-address\" does not tell",
            "refunds.enabled = true: no backend can pay",
            "route[0].on_failure = \"cancel\": no backend can hold a payment; `lnd` can",
        ],
    );
}

#[test]
fn a_payment_is_held_only_for_one_call_that_is_bound_to_its_request() {
    let lnd = format!("{LND}macaroon = {{ env = \"M\" }}");
    let cancel = |lines: &str| format!("{lines}\non_failure = \"cancel\"");
    build_unread(&lnd, "", &cancel(PRICED));
    for (lines, expected) in [
        (
            "price = { msat = 2000 }\ncalls = 5",
            "only for a single call",
        ),
        (
            "price = { msat = 2000 }\npass = \"1h\"",
            "only for a single call",
        ),
        (
            "price = { msat = 2000 }\nbind = \"route\"",
            "only with bind = \"request\"",
        ),
        (
            "price = { msat = 2000 }\nprotocol = \"http2\"",
            "not for gRPC",
        ),
        (
            "price = \"free\"",
            "makes no sense on a route whose price is \"free\"",
        ),
    ] {
        refuses(&lnd, "", &cancel(lines), &[expected]);
    }
    refuses(
        &lnd,
        "",
        &cancel("price = { msat = 200 }"),
        &["route[0].price = { msat = 200 }: backend \"lnd\" takes 1000 msat at least"],
    );
}

#[test]
fn a_pass_is_not_sold_below_the_least_amount_and_nothing_above_the_largest() {
    let lnd = format!("{LND}macaroon = {{ env = \"M\" }}");
    refuses(
        &lnd,
        "",
        "price = { msat = 200 }\npass = \"1h\"",
        &["a pass has one price"],
    );
    let phoenixd = "backend = \"phoenixd\"\nurl = \"http://127.0.0.1:9740\"\n\
                    password = { env = \"P\" }";
    refuses(
        phoenixd,
        "",
        "price = { msat = 1500 }\npass = \"1h\"",
        &["only multiples of 1000 msat"],
    );
}

#[test]
fn limits_of_refunds_and_held_calls_make_sense() {
    refuses(
        "backend = \"mock\"",
        "[refunds]\nleast = { msat = 0 }\nper_token_per_day = 0\nmax_open = 0\n\
         max_fee = { percent = 101 }\nallow_hosts = [\"http://a/b\"]\n\
         [held]\nmax_calls = 0\nmax_answer = \"16MiB\"",
        PRICED,
        &[
            "refunds.least = { msat = 0 }",
            "refunds.per_token_per_day = 0",
            "refunds.max_open = 0",
            "refunds.max_fee.percent = 101",
            "refunds.allow_hosts[0]",
            "held.max_calls = 0",
            "held.max_answer = \"16MiB\": at most 15MiB",
        ],
    );
    refuses(
        "backend = \"mock\"",
        "[refunds]\nleast = { sat = 10 }\ndaily_total = { sat = 9 }",
        PRICED,
        &["refunds.daily_total = { sat = 9 }: less than refunds.least (10000 msat)"],
    );
}

#[test]
fn slips_in_the_new_sections_are_answered_with_what_was_meant() {
    refuses(
        "backend = \"mock\"\nmacaron = { env = \"M\" }",
        "[refund]\nenabled = true",
        PRICED,
        &["did you mean `macaroon`?", "did you mean `refunds`?"],
    );
}

#[test]
fn the_words_say_what_is_on_and_what_is_impossible_and_why() {
    let words = |lightning: &str, sections: &str, route: &str| {
        build_unread(lightning, sections, route)
            .describe()
            .join("\n")
    };
    let lnd = format!("{LND}macaroon = {{ env = \"M\" }}\nstrict = true");
    let said = words(&lnd, "", &format!("{PRICED}\non_failure = \"cancel\""));
    for part in [
        "\"lnd\" (lnd) can make invoices, look them up, pay, hold payments, tell of settlements",
        "least amount 1000 msat",
        "refunds: on: holders may ask at /.farebox/refund, and \"lnd\" pays",
        "strict: a token counts only when the node says",
        "\"lnd\" holds them for a",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let address = "backend = \"lightning-address\"\naddress = \"me@example.com\"";
    let said = words(address, "", PRICED);
    for part in [
        "it cannot pay, hold payments, tell of settlements",
        "refunds: impossible over Lightning: no backend can pay",
        "held payments: impossible",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let off = words(&lnd, "[refunds]\nenabled = false", PRICED);
    assert!(off.contains("refunds: off for holders"), "{off}");
}

#[test]
fn the_words_give_the_numbers_of_bundles() {
    let lnd = format!("{LND}macaroon = {{ env = \"M\" }}");
    let said = build_unread(&lnd, "", "price = { msat = 200 }")
        .describe()
        .join("\n");
    let bundle = "one payment asks for 200 msat, and \"lnd\" takes 1000 msat for that: a payment \
                  becomes a balance of 1000 msat, good for 5 calls at 200 msat";
    assert!(said.contains(bundle), "{said}");
    let phoenixd = "backend = \"phoenixd\"\nurl = \"http://127.0.0.1:9740\"\n\
                    password = { env = \"P\" }";
    let said = build_unread(phoenixd, "", "price = { msat = 1500 }")
        .describe()
        .join("\n");
    assert!(said.contains("takes 2000 msat for that"), "{said}");
}

#[test]
fn a_macaroon_for_invoices_alone_turns_refunds_off_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let lines = with_macaroon(folder.path(), hex::decode(INVOICE_MACAROON).unwrap());
    let built = build_text(&text(&lines, "", PRICED), &context(Lookups::Real));
    let built = built.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(!built.refunds.enabled);
    let text = text(&lines, "[refunds]\nenabled = true", PRICED);
    let Err(mistakes) = build_text(&text, &context(Lookups::Real)) else {
        panic!("built")
    };
    assert!(
        mistakes.to_string().contains("no backend can pay"),
        "{mistakes}"
    );
}

#[test]
fn a_webhook_is_heard_with_a_secret_that_cannot_be_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let build = |secret: &str| {
        let file = folder.path().join("secret");
        std::fs::write(&file, secret).unwrap();
        let lightning = format!(
            "backend = \"phoenixd\"\nurl = \"http://127.0.0.1:9740\"\n\
             password = {{ file = {file:?} }}\nwebhook_secret = {{ file = {file:?} }}"
        );
        build_text(&text(&lightning, "", PRICED), &context(Lookups::Real))
    };
    let built = build("ef72d3b96324106d").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(built.node.unwrap().backends.webhooks().count(), 1);
    let Err(mistakes) = build("ef72d3b96324106") else {
        panic!("built")
    };
    let said = mistakes.to_string();
    assert!(
        said.contains("lightning.webhook_secret: is too short"),
        "{said}"
    );
    assert!(!said.contains("ef72d3b9"), "{said}");
}

fn nodes(node: &BuiltNode) -> Vec<*const farebox_lightning::Backend> {
    let address = |node: &Arc<farebox_lightning::Backend>| Arc::as_ptr(node);
    node.iter().map(|backend| address(&backend.node)).collect()
}

#[test]
fn a_reload_keeps_each_backend_whose_settings_and_credentials_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lnd = with_macaroon(folder.path(), INVOICE_MACAROON);
    let mock = "[[lightning.fallback]]\nbackend = \"mock\"\n";
    let before_text = text(&format!("{lnd}\n{mock}"), "", PRICED);
    let build = |text: &str, node: Option<BuiltNode>| {
        let context = Context {
            node,
            ..context(Lookups::Real)
        };
        let built = build_text(text, &context);
        built
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .node
            .unwrap()
    };
    let before = build(&before_text, None);
    let same = build(
        &before_text.replace("msat = 2000", "msat = 3000"),
        Some(before.clone()),
    );
    assert_eq!(nodes(&same), nodes(&before));
    assert!(Arc::ptr_eq(&same.backends, &before.backends));

    let other_mock = before_text.replace("\"mock\"\n", "\"mock\"\nmin_amount = { sat = 1 }\n");
    let changed = build(&other_mock, Some(before.clone()));
    assert_eq!(nodes(&changed)[0], nodes(&before)[0]);
    assert_ne!(nodes(&changed)[1], nodes(&before)[1]);

    // Another macaroon in the same place.
    with_macaroon(
        folder.path(),
        INVOICE_MACAROON.replace("c233dcbf", "c233dcbe"),
    );
    let changed = build(&before_text, Some(before.clone()));
    assert_ne!(nodes(&changed)[0], nodes(&before)[0]);
    assert_eq!(nodes(&changed)[1], nodes(&before)[1]);
}
