//! Tokens that nobody sold: wrong proofs, foreign keys, damaged bytes, terms that were never agreed.

use farebox_core::KeyEpoch;
use farebox_testkit::ScriptedUpstream;
use farebox_wire::identifier::TokenIdentifier;
use farebox_wire::macaroon::{Macaroon, RootKey};

use super::{assert_refused, caveats, edited, shop};
use crate::harness::{Call, Token, with_upstream};

#[test]
fn the_preimage_of_another_payment_proves_nothing() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let (one, other) = (gateway.buy(&call), gateway.buy(&call));
    let mixed = Token {
        macaroon: one.macaroon.clone(),
        preimage: other.preimage,
    };
    assert_refused(&gateway, &upstream, &call.clone().with(&mixed), 401);
    gateway.send(&call.with(&one)).expect(200);
}

#[test]
fn a_preimage_that_is_not_64_hex_digits_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let whole = token.preimage.clone();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for preimage in [
        "",
        &whole[1..],
        &format!("{whole}0"),
        &format!("0x{}", &whole[2..]),
        &format!("{}zz", &whole[2..]),
        &format!("{whole}:{whole}"),
        base64,
    ] {
        let preimage = preimage.to_owned();
        let broken = Token {
            preimage,
            ..token.clone()
        };
        assert_refused(&gateway, &upstream, &call.clone().with(&broken), 401);
    }
}

#[test]
fn a_macaroon_signed_with_another_key_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let sold = token.macaroon();
    for key in [
        [0; 32],
        [0xff; 32],
        sold.identifier()[2..34].try_into().unwrap(),
    ] {
        let key = RootKey::from_bytes(key);
        let forged = Macaroon::issue(&key, "lsat", sold.identifier(), caveats(&sold));
        let forged = Token {
            macaroon: forged.to_base64(),
            ..token.clone()
        };
        assert_refused(&gateway, &upstream, &call.clone().with(&forged), 401);
    }
}

#[test]
fn a_key_epoch_that_never_was_is_challenged_anew() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let sold = token.macaroon();
    let identifier = TokenIdentifier::parse(sold.identifier()).unwrap();
    let hash = identifier.payment_hash;
    for epoch in [0, u32::MAX] {
        let elsewhere = TokenIdentifier::new(hash, KeyEpoch(epoch), [7; 28]).to_bytes();
        let key = RootKey::from_bytes([0; 32]);
        let forged = Macaroon::issue(&key, "lsat", &elsewhere, caveats(&sold));
        let forged = Token {
            macaroon: forged.to_base64(),
            ..token.clone()
        };
        assert_refused(&gateway, &upstream, &call.clone().with(&forged), 402);
    }
}

#[test]
fn a_macaroon_cut_short_anywhere_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let length = token.macaroon().to_bytes().len();
    for cut in (0..length).step_by(3) {
        let broken = edited(&token, |bytes| bytes.truncate(cut));
        assert_refused(&gateway, &upstream, &call.clone().with(&broken), 401);
    }
    let longer = edited(&token, |bytes| bytes.push(0));
    assert_refused(&gateway, &upstream, &call.clone().with(&longer), 401);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_macaroon_with_any_bit_flipped_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let length = token.macaroon().to_bytes().len();
    // The location, in bytes 3 to 6, is nobody's promise and not signed.
    for at in (0..length).filter(|at| !(3..7).contains(at)) {
        let broken = edited(&token, |bytes| bytes[at] ^= 1 << (at % 8));
        let reply = gateway.send(&call.clone().with(&broken));
        // A flip in the key epoch names a key that never was, which is 402.
        let in_epoch = reply.status == 402 && reply.json()["reason"] == "unknown_key";
        assert!(
            reply.status == 401 || in_epoch,
            "byte {at}: {}",
            reply.text()
        );
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn the_location_is_not_signed_and_buys_nothing_more() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let moved = edited(&token, |bytes| bytes[3] = b'L');
    let reply = gateway.send(&call.clone().with(&moved));
    assert!([200, 401].contains(&reply.status), "{}", reply.text());
    gateway.send(&call.with(&token));
    assert_eq!(upstream.total(), 1);
}

/// `token` with a caveat of the gateway's own block replaced, and the old signature.
fn rewritten(token: &Token, old: &str, new: &str) -> Token {
    edited(token, |bytes| {
        let at = bytes
            .windows(old.len())
            .position(|window| window == old.as_bytes())
            .unwrap();
        assert_eq!(usize::from(bytes[at - 1]), old.len());
        bytes[at - 1] = new.len().try_into().unwrap();
        bytes.splice(at..at + old.len(), new.bytes());
    })
}

#[test]
fn a_holder_cannot_rewrite_any_word_of_the_terms() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let request = format!("request={}", "ab".repeat(32));
    for caveat in caveats(&token.macaroon()) {
        let word = caveat.split('=').next().unwrap().to_owned();
        let new = match word.as_str() {
            "amount_msat" => "amount_msat=9000000",
            "kind" => "kind=balance",
            "count" => "count=1000",
            "route" => "route=vault",
            "methods" => "methods=any",
            "request" => &request,
            "terms" => "terms=00000000",
            "valid_for" => "valid_for=99999999999",
            "claim_by" => "claim_by=99999999999",
            other => panic!("nobody tried to rewrite {other}"),
        };
        let widened = rewritten(&token, &caveat, new);
        assert_refused(&gateway, &upstream, &call.clone().with(&widened), 401);
        let elsewhere = Call::get("/vault/a").with(&widened);
        assert_refused(&gateway, &upstream, &elsewhere, 401);
    }
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_holder_cannot_take_a_caveat_away() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    for caveat in caveats(&token.macaroon()) {
        let without = edited(&token, |bytes| {
            let find = |window: &[u8]| window == caveat.as_bytes();
            let at = bytes.windows(caveat.len()).position(find).unwrap();
            // The field's type and length stand in front, the end of the section behind.
            bytes.drain(at - 2..=at + caveat.len());
        });
        assert_refused(&gateway, &upstream, &call.clone().with(&without), 401);
    }
}

#[test]
fn a_holder_cannot_widen_a_word_by_saying_it_again() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    for wider in [
        "amount_msat=10001",
        "count=6",
        "methods=any",
        "methods=write",
        "route=vault",
        "kind=balance",
        "kind=pass",
        "terms=00000000",
        "valid_for=99999999999",
        "valid_for=1",
        "claim_by=99999999999",
        "claim_by=1",
    ] {
        let widened = token.attenuated(wider);
        assert_refused(&gateway, &upstream, &call.clone().with(&widened), 401);
    }
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_later_caveat_cannot_widen_what_an_earlier_holder_narrowed() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    let digest = |byte: &str| format!("request={}", byte.repeat(32));
    for (narrow, wide) in [
        ("amount_msat=4000", "amount_msat=4001"),
        ("count=2", "count=3"),
        ("valid_until=4000000000", "valid_until=4000000001"),
        (&*digest("ab"), &*digest("cd")),
    ] {
        let widened = token.attenuated(narrow).attenuated(wide);
        assert_refused(&gateway, &upstream, &call.clone().with(&widened), 401);
    }
}

#[test]
fn a_bound_token_cannot_be_bound_to_another_request() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::get("/paid/a"));
    let other = gateway.buy(&Call::get("/paid/b"));
    let theirs = caveats(&other.macaroon());
    let theirs = theirs.iter().find(|c| c.starts_with("request=")).unwrap();
    let moved = token.attenuated(theirs);
    assert_refused(&gateway, &upstream, &Call::get("/paid/b").with(&moved), 401);
}

#[test]
fn a_caveat_that_is_not_understood_refuses_the_token() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    for unknown in [
        "ip=127.0.0.1",
        "services=calls:0",
        "calls_valid_until=4000000000",
        "expires = 2099-01-01",
        "Count=2",
        "count=02",
        "count=-1",
        "count=+2",
        "count=2 ",
        "count=4294967296",
        "amount_msat=",
        "methods=GET",
        "valid_until=tomorrow",
        "valid_until=1e99",
        "preimage=00",
        "no condition",
        "=",
        "",
    ] {
        let narrowed = token.attenuated(unknown);
        assert_refused(&gateway, &upstream, &call.clone().with(&narrowed), 401);
    }
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_token_with_more_caveats_than_are_read_is_refused() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    let mut macaroon = token.macaroon();
    (0..80).for_each(|_| macaroon.attenuate("count=5"));
    let many = Token {
        macaroon: macaroon.to_base64(),
        ..token.clone()
    };
    assert_refused(&gateway, &upstream, &call.clone().with(&many), 401);
    let long = token.attenuated(&format!("request={}", "a".repeat(1000)));
    assert_refused(&gateway, &upstream, &call.clone().with(&long), 401);
    let few = (0..20).fold(token, |token, _| token.attenuated("count=5"));
    gateway.send(&call.with(&few)).expect(200);
}

#[test]
fn a_token_of_another_gateway_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (ours, theirs) = (shop(&upstream), shop(&upstream));
    let call = Call::get("/paid/a");
    let token = theirs.buy(&call);
    assert_refused(&ours, &upstream, &call.clone().with(&token), 401);
    theirs.send(&call.with(&token)).expect(200);
}
