//! Tokens of ecash in either form: refused, or coins that each stand in them once and sum to their face.

#![no_main]

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox_ecash::{MAX_PROOFS, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else {
        return;
    };
    let text = match choice % 3 {
        0 => String::from_utf8_lossy(content).into_owned(),
        1 => format!("cashuA{}", URL_SAFE_NO_PAD.encode(content)),
        _ => format!("cashuB{}", URL_SAFE_NO_PAD.encode(content)),
    };
    let Ok(token) = Token::parse(&text) else {
        return;
    };
    let names: HashSet<_> = token.proofs.iter().map(|proof| proof.y).collect();
    assert_eq!(names.len(), token.proofs.len(), "a coin twice");
    assert!((1..=MAX_PROOFS).contains(&token.proofs.len()));
    let sum: u64 = token.proofs.iter().map(|proof| proof.amount).sum();
    assert_eq!(token.face(), Ok(sum));
    let _ = token.lock();
});
