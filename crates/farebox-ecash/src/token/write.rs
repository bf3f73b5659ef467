//! Writing tokens, in the second form (NUT-00 V4).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use ciborium::Value;

use crate::keyset::KeysetId;
use crate::proof::Proof;
use crate::{MintUrl, Unit};

/// Whether a token shows that its signatures are good: half of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithDleq {
    /// Whoever gets it need not ask the mint.
    Shown,
    /// It has to fit into a header.
    LeftOut,
}

/// The text of a token of these coins, as `cashuB`, with the padding that some wallets insist on.
#[must_use]
pub fn write(mint: &MintUrl, unit: Unit, proofs: &[Proof], dleq: WithDleq) -> String {
    let mut by_keyset: BTreeMap<KeysetId, Vec<Value>> = BTreeMap::new();
    for proof in proofs {
        let coins = by_keyset.entry(proof.keyset).or_default();
        coins.push(coin(proof, dleq));
    }
    let entries = by_keyset.into_iter().map(|(keyset, coins)| {
        let short = keyset.to_bytes().into_iter().take(8).collect();
        map([("i", Value::Bytes(short)), ("p", Value::Array(coins))])
    });
    let token = map([
        ("m", text(mint.as_str())),
        ("u", text(unit.as_str())),
        ("t", Value::Array(entries.collect())),
    ]);
    let mut bytes = Vec::new();
    // A vector takes whatever is written to it.
    let _ = ciborium::into_writer(&token, &mut bytes);
    format!("cashuB{}", URL_SAFE.encode(bytes))
}

fn coin(proof: &Proof, dleq: WithDleq) -> Value {
    let mut members = vec![
        ("a", Value::from(proof.amount)),
        ("s", text(proof.secret.reveal())),
        ("c", Value::Bytes(proof.c.to_bytes().to_vec())),
    ];
    if let (WithDleq::Shown, Some(dleq)) = (dleq, &proof.dleq) {
        let [e, s, r] = [&dleq.e, &dleq.s, &dleq.r]
            .map(|number| Value::Bytes(number.to_secret_bytes().to_vec()));
        members.push(("d", map([("e", e), ("s", s), ("r", r)])));
    }
    map(members)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let members = members.into_iter();
    Value::Map(members.map(|(key, value)| (text(key), value)).collect())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use cashu::nuts::SecretKey;
    use farebox_core::Secret;

    use super::*;
    use crate::Token;
    use crate::proof::Dleq;
    use crate::token::KeysetName;

    fn proofs() -> Vec<Proof> {
        let ids = [
            "009a1f293253e41e",
            "01adc013fa9d85171586660abab27579888611659d357bc86bc09cb26eee8bc035",
        ];
        let key = SecretKey::generate();
        let dleq = Dleq {
            e: key.clone(),
            s: key.clone(),
            r: key.clone(),
        };
        let coins = [(0, 1), (1, 2), (0, 4)].into_iter().enumerate();
        coins
            .map(|(place, (keyset, amount))| Proof {
                keyset: KeysetId::from_str(ids[keyset]).unwrap(),
                amount,
                secret: Secret::new(format!("secret {place}")),
                c: key.public_key(),
                dleq: Some(dleq.clone()),
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_read_by_us_and_by_the_crate_of_the_specification() {
        let mint = MintUrl::parse("https://mint.example.com/Bitcoin").unwrap();
        for with in [WithDleq::Shown, WithDleq::LeftOut] {
            let text = write(&mint, Unit::Msat, &proofs(), with);
            let token = Token::parse(&text).unwrap();
            assert_eq!((token.mint.clone(), token.face()), (mint.clone(), Ok(7)));
            assert_eq!(token.unit.as_deref(), Some("msat"));
            let shown = |it: &crate::token::TokenProof| it.dleq.is_some();
            assert!(
                token
                    .proofs
                    .iter()
                    .all(|it| shown(it) == (with == WithDleq::Shown))
            );
            let last = &token.proofs[2].keyset;
            assert!(matches!(last, KeysetName::Short(short) if short.len() == 8));

            let theirs = cashu::nuts::Token::from_str(&text).unwrap();
            assert_eq!(theirs.value().unwrap(), 7.into());
            assert_eq!(theirs.mint_url().unwrap().to_string(), mint.as_str());
            let Ok(again) = Token::parse(&theirs.to_string()) else {
                panic!("theirs is not read");
            };
            let names = |token: &Token| {
                let mut names: Vec<_> = token.proofs.iter().map(|it| it.y).collect();
                names.sort_unstable();
                names
            };
            assert_eq!(names(&again), names(&token));
        }
    }
}
