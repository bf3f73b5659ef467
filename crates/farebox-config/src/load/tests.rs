use super::*;

fn mistakes(text: &str) -> Vec<String> {
    load(text)
        .mistakes
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_file_is_all_defaults() {
    let loaded = load("");
    assert!(loaded.mistakes.is_empty());
    assert!(loaded.file == ConfigFile::default());
}

#[test]
fn every_mistake_is_reported_with_line_key_value_and_reason() {
    let text = "[server]\nlisten = \"nowhere\"\nthreads = -1\nlisten_on = 3\n\n\
        [[route]]\nname = \"a\"\nprice = { msat = \"many\" }\ntimeout = 10\n\n\
        [[route]]\nmax_body = \"8 apples\"\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 6, "{found:#?}");
    let expected = [
        "line 2: server.listen = \"nowhere\": ",
        "line 3: server.threads = -1: ",
        "line 4: server.listen_on: unknown key",
        "line 8: route[0].price.msat = \"many\": ",
        "line 9: route[0].timeout = 10: ",
        "line 12: route[1].max_body = \"8 apples\": not a size",
    ];
    for start in expected {
        assert!(
            found.iter().any(|line| line.starts_with(start)),
            "{start} in {found:#?}"
        );
    }
}

#[test]
fn a_price_in_two_units_or_none_is_refused() {
    for price in ["{}", "{ msat = 1, sat = 1 }"] {
        let found = mistakes(&format!("[[route]]\nprice = {price}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("exactly one"), "{found:?}");
    }
}

#[test]
fn a_price_that_comes_later_says_so_once() {
    let found = mistakes("[[route]]\nprice = { mint = \"http://x\" }\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("comes with a later version"), "{found:?}");
}

#[test]
fn the_value_of_a_header_is_never_shown() {
    let found = mistakes("[[route]]\nheaders = { Authorization = 12345678 }\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("route[0].headers.Authorization"),
        "{found:?}"
    );
    assert!(!found[0].contains("= 12345678:"), "{found:?}");
}

#[test]
fn all_syntax_errors_are_reported_with_their_lines() {
    let found = mistakes("[server\nlisten = \n[[route]]\nname = 'a'\nname = 'b'\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(
        found.iter().all(|line| line.contains("not TOML")),
        "{found:?}"
    );
}

#[test]
fn every_form_of_every_choice_is_read() {
    let text = r#"
        [[route]]
        path = "/v1"
        price = "free"
        headers = { A = "x", B = { env = "B" }, C = { file = "c", prefix = "p" } }
        replay = false
        cors = { origins = "*" }
        [[route]]
        path = { exact = "/x" }
        price = { sat = 2 }
        replay = { ttl = "1h" }
        cors = { origins = ["https://a.example"] }
        [[route]]
        path = { regex = "/v[12]" }
        balance = { msat = 100000 }
    "#;
    assert_eq!(mistakes(text), Vec::<String>::new());
}
