use proptest::prelude::*;

use super::*;

const WALLET: &str = "b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4";
const SECRET: &str = "71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c";

fn read(text: &str) -> Result<Connection, NwcUriError> {
    parse(&Secret::new(text.to_owned()))
}

fn with_query(query: &str) -> Result<Connection, NwcUriError> {
    read(&format!("nostr+walletconnect://{WALLET}?{query}"))
}

fn with_relay(relay: &str) -> Result<Connection, NwcUriError> {
    with_query(&format!("secret={SECRET}&relay={relay}"))
}

/// NIP-47's own example, and what wallets make of it.
#[test]
fn a_wallets_uri_is_read() {
    for text in [
        format!("nostr+walletconnect://{WALLET}?relay=wss%3A%2F%2Frelay.damus.io&secret={SECRET}"),
        format!("nostr+walletconnect:{WALLET}?secret={SECRET}&relay=wss://relay.damus.io"),
        format!("nostr+walletconnect://{WALLET}/?relay=wss://relay.damus.io&secret={SECRET}\n"),
        format!(
            "nostr+walletconnect://{WALLET}?lud16=me%40example.com&relay=wss://relay.damus.io\
             &secret={SECRET}&name=caf%C3%A9&x"
        ),
    ] {
        let read = read(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.wallet.to_hex(), WALLET);
        assert_eq!(read.keys.secret_key().to_secret_hex(), SECRET);
        let relay = &read.relays[0];
        assert_eq!(relay.host, "relay.damus.io");
        assert_eq!((relay.port, relay.tls), (443, true));
    }
}

#[test]
fn several_relays_are_each_taken_once() {
    let query = format!(
        "secret={SECRET}&relay=wss://a.example/x&relay=wss://b.example:8443&relay=wss://a.example/x"
    );
    let relays = with_query(&query)
        .unwrap_or_else(|error| panic!("{error}"))
        .relays;
    let hosts: Vec<_> = relays.iter().map(|relay| relay.host.as_str()).collect();
    assert_eq!(hosts, ["a.example", "b.example:8443"]);
    let many: String = (0..9)
        .map(|n| format!("&relay=wss://r{n}.example"))
        .collect();
    let refused = with_query(&format!("secret={SECRET}{many}"));
    assert_eq!(refused.err(), Some(NwcUriError::TooManyRelays));
}

#[test]
fn plain_ws_stays_on_this_machine_unless_allowed() {
    for here in ["ws://127.0.0.1:7000", "ws://localhost", "ws://[::1]:7000/x"] {
        assert!(with_relay(here).is_ok(), "{here}");
    }
    for elsewhere in [
        "ws://10.0.0.1",
        "ws://relay.local:80",
        "ws://localhost.example",
    ] {
        let refused = with_relay(elsewhere).err();
        assert!(
            matches!(refused, Some(NwcUriError::PlainWs { .. })),
            "{elsewhere}"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    let other = WALLET.replace('b', "g");
    for (text, fault) in [
        (
            format!("nostrwalletconnect://{WALLET}"),
            NwcUriError::Scheme,
        ),
        (
            format!("nostr+walletconnect://{other}"),
            NwcUriError::Wallet,
        ),
        (
            "nostr+walletconnect://b889?".to_owned(),
            NwcUriError::Wallet,
        ),
        // A string of 32 bytes that is no point of the curve.
        (
            format!("nostr+walletconnect://{}", "f".repeat(64)),
            NwcUriError::Wallet,
        ),
        (
            format!("nostr+walletconnect://{WALLET}{}", "a".repeat(4096)),
            NwcUriError::TooLong,
        ),
    ] {
        assert_eq!(read(&text).err(), Some(fault), "{text}");
    }
    for (query, fault) in [
        ("relay=wss://a.example".to_owned(), NwcUriError::Secret),
        (format!("secret={SECRET}"), NwcUriError::NoRelay),
        (
            format!("secret={SECRET}&secret={SECRET}"),
            NwcUriError::Repeated("secret"),
        ),
        (
            format!("secret={}&relay=wss://a.example", "0".repeat(64)),
            NwcUriError::Secret,
        ),
        (
            format!("secret={SECRET}&relay=%FF"),
            NwcUriError::Encoding("relay"),
        ),
    ] {
        assert_eq!(with_query(&query).err(), Some(fault), "{query}");
    }
    for relay in [
        "",
        "a.example",
        "https://a.example",
        "wss://me@a.example",
        "wss://a.example:x",
        "wss://a.example%23x",
        "wss:///x",
    ] {
        assert_eq!(with_relay(relay).err(), Some(NwcUriError::Relay), "{relay}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", key in "[0-9a-f]{64}", query in "[a-z=&%:/.0-9]{0,120}") {
        let _ = read(&text);
        let _ = read(&format!("nostr+walletconnect://{key}?{query}"));
    }
}
