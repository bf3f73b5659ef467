//! The shared vectors of `spec/vectors`, which other languages read too.

use farebox_ecash::{Token, digest};
use serde_json::Value;

const ECASH: &str = include_str!("../../../../spec/vectors/ecash.json");

#[test]
fn every_form_of_the_same_coins_is_the_same_account() {
    let vectors: Value = serde_json::from_str(ECASH).unwrap();
    for vector in vectors["accounts"].as_array().unwrap() {
        for text in vector["tokens"].as_array().unwrap() {
            let text = text.as_str().unwrap();
            let broken = format!("{}\n  {}", &text[..40], &text[40..]);
            for text in [text, text.trim_end_matches('='), &broken] {
                let token = Token::parse(text).unwrap();
                assert_eq!(token.mint.as_str(), vector["mint"]);
                let mut points: Vec<_> = token.proofs.iter().map(|proof| proof.y).collect();
                let account = hex::encode(digest(&token.mint, &points));
                assert_eq!(account, vector["account"], "{}", vector["name"]);
                points.sort_unstable();
                let points: Vec<_> = points.iter().map(|point| point.to_hex()).collect();
                assert_eq!(Value::from(points), vector["points"]);
            }
        }
    }
}
