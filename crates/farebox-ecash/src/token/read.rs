//! Reading tokens. What informs only, such as a proof that a signature is good, may be odd; what is
//! money is read strictly.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cashu::nuts::{PublicKey, SecretKey};
use farebox_core::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::{KeysetName, MAX_PROOFS, MAX_SECRET, MAX_TOKEN, Token, TokenError, TokenProof};
use crate::proof::Dleq;
use crate::{MintUrl, Y};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The first form: JSON.
#[derive(Deserialize)]
struct FirstForm {
    token: Vec<FirstEntry>,
    unit: Option<String>,
}

#[derive(Deserialize)]
struct FirstEntry {
    mint: String,
    proofs: Vec<FirstProof>,
}

#[derive(Deserialize)]
struct FirstProof {
    id: String,
    amount: u64,
    secret: String,
    #[serde(rename = "C")]
    c: String,
    #[serde(default)]
    dleq: Value,
}

/// The second form: CBOR.
#[derive(Deserialize)]
struct SecondForm {
    m: String,
    u: String,
    t: Vec<SecondEntry>,
}

#[derive(Deserialize)]
struct SecondEntry {
    i: Vec<u8>,
    p: Vec<SecondProof>,
}

#[derive(Deserialize)]
struct SecondProof {
    a: u64,
    s: String,
    c: Vec<u8>,
    #[serde(default)]
    d: Option<ciborium::Value>,
}

pub(super) fn read(text: &str) -> Result<Token, TokenError> {
    if text.len() > MAX_TOKEN {
        return Err(TokenError::Long);
    }
    // Wrapped texts, and those of the other alphabet, mean the same bytes.
    let text: String = text
        .chars()
        .filter(|it| !it.is_ascii_whitespace())
        .map(|it| match it {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    let token = if let Some(rest) = text.strip_prefix("cashuA") {
        first(&decode(rest)?)?
    } else if let Some(rest) = text.strip_prefix("cashuB") {
        second(&decode(rest)?)?
    } else {
        return Err(TokenError::Prefix);
    };
    check(&token)?;
    Ok(token)
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64.decode(text).map_err(|_| TokenError::Base64)
}

fn first(bytes: &[u8]) -> Result<Token, TokenError> {
    let form: FirstForm = serde_json::from_slice(bytes).map_err(|_| TokenError::Content)?;
    let mut mints = form.token.iter().map(|entry| MintUrl::parse(&entry.mint));
    let mint = mints.next().ok_or(TokenError::Empty)?;
    let mint = mint.map_err(|_| TokenError::Mint)?;
    for other in mints {
        if other.map_err(|_| TokenError::Mint)? != mint {
            return Err(TokenError::Mints);
        }
    }
    let proofs = form.token.into_iter().flat_map(|entry| entry.proofs);
    Ok(Token {
        mint,
        unit: form.unit.map(|unit| unit.to_ascii_lowercase()),
        proofs: some(proofs, |proof| {
            let bytes = hex::decode(&proof.id);
            let keyset = bytes.map_or_else(
                |_| KeysetName::Unknown(proof.id.clone()),
                |bytes| KeysetName::from_bytes(&bytes),
            );
            let c = PublicKey::from_hex(&proof.c).map_err(|_| TokenError::Coin)?;
            let dleq = dleq(|name| scalar_of_hex(proof.dleq.get(name)?.as_str()?));
            coin(keyset, proof.amount, proof.secret, c, dleq)
        })?,
    })
}

fn second(mut bytes: &[u8]) -> Result<Token, TokenError> {
    let form: SecondForm = ciborium::from_reader(&mut bytes).map_err(|_| TokenError::Content)?;
    // Two texts of one token would otherwise not be one payment.
    if !bytes.is_empty() {
        return Err(TokenError::Content);
    }
    let entries = form.t.into_iter().flat_map(|entry| {
        let keyset = KeysetName::from_bytes(&entry.i);
        let proofs = entry.p.into_iter();
        proofs.map(move |proof| (keyset.clone(), proof))
    });
    Ok(Token {
        mint: MintUrl::parse(&form.m).map_err(|_| TokenError::Mint)?,
        unit: Some(form.u.to_ascii_lowercase()),
        proofs: some(entries, |(keyset, proof)| {
            let c = PublicKey::from_slice(&proof.c).map_err(|_| TokenError::Coin)?;
            let member = |name: &str| {
                let members = proof.d.as_ref()?.as_map()?;
                let mut members = members.iter();
                let (_, value) = members.find(|(key, _)| key.as_text() == Some(name))?;
                SecretKey::from_slice(value.as_bytes()?).ok()
            };
            coin(keyset, proof.a, proof.s, c, dleq(member))
        })?,
    })
}

/// Reads at most as many coins as a token may have: each costs a computation.
fn some<T>(
    proofs: impl Iterator<Item = T>,
    read: impl Fn(T) -> Result<TokenProof, TokenError>,
) -> Result<Vec<TokenProof>, TokenError> {
    let mut coins = Vec::new();
    for proof in proofs {
        if coins.len() == MAX_PROOFS {
            return Err(TokenError::Many);
        }
        coins.push(read(proof)?);
    }
    Ok(coins)
}

fn coin(
    keyset: KeysetName,
    amount: u64,
    secret: String,
    c: PublicKey,
    dleq: Option<Dleq>,
) -> Result<TokenProof, TokenError> {
    if amount == 0 || secret.is_empty() || secret.len() > MAX_SECRET {
        return Err(TokenError::Coin);
    }
    let y = Y::of(&secret).map_err(|_| TokenError::Coin)?;
    Ok(TokenProof {
        keyset,
        amount,
        secret: Secret::new(secret),
        y,
        c,
        dleq,
    })
}

/// All three numbers, or none.
fn dleq(member: impl Fn(&str) -> Option<SecretKey>) -> Option<Dleq> {
    Some(Dleq {
        e: member("e")?,
        s: member("s")?,
        r: member("r")?,
    })
}

fn scalar_of_hex(text: &str) -> Option<SecretKey> {
    SecretKey::from_hex(text).ok()
}

fn check(token: &Token) -> Result<(), TokenError> {
    if token.proofs.is_empty() {
        return Err(TokenError::Empty);
    }
    let mut seen = HashSet::with_capacity(token.proofs.len());
    if !token.proofs.iter().all(|proof| seen.insert(proof.y)) {
        return Err(TokenError::Twice);
    }
    token.face().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One satoshi of a mint that is no more, with an id of the old kind.
    const OLD: &str = "cashuAeyJ0b2tlbiI6W3sicHJvb2ZzIjpbeyJpZCI6IjBOSTNUVUFzMVNmeSIsImFtb3VudCI6MSwic2VjcmV0IjoiVE92cGVmZGxSZ0EzdlhMN05pM2MvRE1oY29URXNQdnV4eFc0Rys2dXVycz0iLCJDIjoiMDNiZThmMzQwOTMxYTI4ZTlkMGRmNGFmMWQwMWY1ZTcxNTFkMmQ1M2RiN2Y0ZDAyMWQzZGUwZmRiMDNjZGY4ZTlkIn1dLCJtaW50IjoiaHR0cHM6Ly9sZWdlbmQubG5iaXRzLmNvbS9jYXNodS9hcGkvdjEvNGdyOVhjbXozWEVrVU53aUJpUUdvQyJ9XX0";
    /// The example of NUT-00: two keysets, three coins.
    const SPEC: &str = "cashuBo2F0gqJhaUgA_9SLj17PgGFwgaNhYQFhc3hAYWNjMTI0MzVlN2I4NDg0YzNjZjE4NTAxNDkyMThhZjkwZjcxNmE1MmJmNGE1ZWQzNDdlNDhlY2MxM2Y3NzM4OGFjWCECRFODGd5IXVW-07KaZCvuWHk3WrnnpiDhHki6SCQh88-iYWlIAK0mjE0fWCZhcIKjYWECYXN4QDEzMjNkM2Q0NzA3YTU4YWQyZTIzYWRhNGU5ZjFmNDlmNWE1YjRhYzdiNzA4ZWIwZDYxZjczOGY0ODMwN2U4ZWVhY1ghAjRWqhENhLSsdHrr2Cw7AFrKUL9Ffr1XN6RBT6w659lNo2FhAWFzeEA1NmJjYmNiYjdjYzY0MDZiM2ZhNWQ1N2QyMTc0ZjRlZmY4YjQ0MDJiMTc2OTI2ZDNhNTdkM2MzZGNiYjU5ZDU3YWNYIQJzEpxXGeWZN5qXSmJjY8MzxWyvwObQGr5G1YCCgHicY2FtdWh0dHA6Ly9sb2NhbGhvc3Q6MzMzOGF1Y3NhdA";

    fn read_error(text: &str) -> TokenError {
        read(text).unwrap_err()
    }

    #[test]
    fn the_first_form_is_read_with_ids_of_the_old_kind_which_name_no_keyset() {
        let token = read(OLD).unwrap();
        let name = "https://legend.lnbits.com/cashu/api/v1/4gr9Xcmz3XEkUNwiBiQGoC";
        assert_eq!(token.mint.as_str(), name);
        assert_eq!((token.face(), token.unit), (Ok(1), None));
        let keyset = &token.proofs[0].keyset;
        assert!(*keyset == KeysetName::Unknown("0NI3TUAs1Sfy".to_owned()));
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let token = read(SPEC).unwrap();
        assert_eq!(token.mint.as_str(), "http://localhost:3338");
        assert_eq!(token.unit.as_deref(), Some("sat"));
        let coins: Vec<_> = token.proofs.iter().map(|it| it.amount).collect();
        assert_eq!(coins, [1, 2, 1]);
        let ids: Vec<_> = token
            .proofs
            .iter()
            .map(|it| it.keyset.to_string())
            .collect();
        let (one, two) = ("00ffd48b8f5ecf80", "00ad268c4d1f5826");
        assert_eq!(ids, [one, two, two]);
        assert_eq!(token.lock(), None);
    }

    #[test]
    fn white_space_padding_and_the_other_alphabet_change_nothing() {
        let names = |text: &str| -> Vec<Y> {
            let token = read(text).unwrap();
            token.proofs.iter().map(|proof| proof.y).collect()
        };
        let wrapped: Vec<_> = SPEC
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let other = format!("cashuB{}", SPEC[6..].replace('-', "+").replace('_', "/"));
        for text in [
            format!("{SPEC}="),
            format!("{SPEC}=="),
            format!(" {SPEC}\r\n"),
            wrapped.join("\n"),
            other,
        ] {
            assert_eq!(names(&text), names(SPEC), "{text}");
        }
        assert_eq!(names(&format!("{OLD}=")), names(OLD));
    }

    #[test]
    fn bytes_behind_a_token_are_refused() {
        let mut bytes = decode(&SPEC[6..]).unwrap();
        bytes.push(0);
        let text = format!("cashuB{}", BASE64.encode(&bytes));
        assert_eq!(read_error(&text), TokenError::Content);
        let mut bytes = decode(&OLD[6..]).unwrap();
        bytes.extend(b"{}");
        let text = format!("cashuA{}", BASE64.encode(&bytes));
        assert_eq!(read_error(&text), TokenError::Content);
    }

    /// A token of the first form with these coins of one mint each.
    fn first_form(entries: &[(&str, &str)]) -> String {
        let entries: Vec<_> = entries
            .iter()
            .map(|(mint, proofs)| format!(r#"{{"mint":"{mint}","proofs":[{proofs}]}}"#))
            .collect();
        let json = format!(r#"{{"token":[{}],"unit":"sat"}}"#, entries.join(","));
        format!("cashuA{}", BASE64.encode(json))
    }

    const MINT: &str = "https://mint.example.com";
    const C: &str = "02698c4e2b5f9534cd0687d87513c759790cf829aa5739184a3e3735471fbda904";

    fn coin(more: &str) -> String {
        format!(r#"{{"id":"009a1f293253e41e","amount":2,"secret":"s","C":"{C}"{more}}}"#)
    }

    #[test]
    fn the_same_coin_twice_is_refused_however_it_is_written() {
        let one = coin("");
        let upper = one.replace(C, &C.to_uppercase());
        let other_amount = one.replace(r#""amount":2"#, r#""amount":4"#);
        let witness = coin(r#","witness":"{}""#);
        for again in [&one, &upper, &other_amount, &witness] {
            let both = format!("{one},{again}");
            assert_eq!(read_error(&first_form(&[(MINT, &both)])), TokenError::Twice);
            let entries = [(MINT, one.as_str()), ("https://MINT.example.com/", again)];
            assert_eq!(read_error(&first_form(&entries)), TokenError::Twice);
        }
        assert!(read(&first_form(&[(MINT, &one)])).is_ok());
    }

    #[test]
    fn coins_of_several_mints_are_refused() {
        let entries = [(MINT, coin("")), ("https://other.example.com", coin(""))];
        let entries = entries
            .each_ref()
            .map(|(mint, coin)| (*mint, coin.as_str()));
        assert_eq!(read_error(&first_form(&entries)), TokenError::Mints);
    }

    #[test]
    fn half_a_dleq_is_none() {
        let half = "a".repeat(64);
        for dleq in [
            format!(r#"{{"e":"{half}","s":"{half}"}}"#),
            format!(r#"{{"e":"{half}","s":"{half}","r":""}}"#),
            format!(r#"{{"e":"{half}","s":"{half}","r":"{}"}}"#, "a".repeat(62)),
            format!(r#"{{"e":"no hex","s":"{half}","r":"{half}"}}"#),
            "null".to_owned(),
            "7".to_owned(),
        ] {
            let proof = coin(&format!(r#","dleq":{dleq}"#));
            let token = read(&first_form(&[(MINT, &proof)])).unwrap();
            assert!(token.proofs[0].dleq.is_none(), "{dleq}");
        }
        let whole = format!(r#","dleq":{{"e":"{half}","s":"{half}","r":"{half}"}}"#);
        let token = read(&first_form(&[(MINT, &coin(&whole))])).unwrap();
        assert!(token.proofs[0].dleq.is_some());
    }

    #[test]
    fn a_lock_is_a_well_formed_condition_and_nothing_else() {
        let lock = |secret: &str| {
            let text = serde_json::to_string(secret).unwrap();
            let proof = coin("").replace(r#""s""#, &text);
            read(&first_form(&[(MINT, &proof)])).unwrap().lock()
        };
        for kind in ["P2PK", "HTLC", "LATER"] {
            let secret = format!(r#"["{kind}",{{"nonce":"n","data":"d","tags":[]}}]"#);
            assert_eq!(lock(&secret).unwrap().kind, kind);
        }
        for plain in ["[", "[1,2]", r#"["P2PK"]"#, r#"["P2PK",{"nonce":1}]"#, "x"] {
            assert_eq!(lock(plain), None, "{plain}");
        }
    }

    #[test]
    fn damage_is_told_by_its_kind() {
        let many: Vec<_> = (0..=MAX_PROOFS)
            .map(|n| coin("").replace(r#""s""#, &format!(r#""{n}""#)))
            .collect();
        let nothing = coin("").replace(r#""amount":2"#, r#""amount":0"#);
        let all = coin("").replace(r#""amount":2"#, r#""amount":9223372036854775808"#);
        for (text, error) in [
            ("cashuC1234".to_owned(), TokenError::Prefix),
            ("lnbc1".to_owned(), TokenError::Prefix),
            ("cashuA!!".to_owned(), TokenError::Base64),
            ("cashuAe30".to_owned(), TokenError::Content),
            ("cashuB".to_owned(), TokenError::Content),
            (first_form(&[]), TokenError::Empty),
            (first_form(&[(MINT, "")]), TokenError::Empty),
            (first_form(&[("mint", "")]), TokenError::Mint),
            (first_form(&[(MINT, &many.join(","))]), TokenError::Many),
            (first_form(&[(MINT, &nothing)]), TokenError::Coin),
            (first_form(&[(MINT, &all)]), TokenError::Sum),
            ("cashuA".repeat(MAX_TOKEN), TokenError::Long),
        ] {
            assert_eq!(read_error(&text), error);
        }
    }
}
