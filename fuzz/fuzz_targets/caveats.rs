//! Lines as caveats, alone or appended to a block of ours: refused, or within what was sold.

#![no_main]

use farebox_core::{Kind, Terms};
use farebox_wire::caveat::{Granted, print_terms, read_caveats};
use libfuzzer_sys::fuzz_target;

const BLOCKS: [&[&str]; 5] = [
    &[
        "amount_msat=5000",
        "kind=calls",
        "count=5",
        "route=r",
        "methods=any",
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ],
    &[
        "amount_msat=5000",
        "kind=single",
        "count=1",
        "route=r",
        "methods=read",
        "request=0303030303030303030303030303030303030303030303030303030303030303",
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ],
    &[
        "amount_msat=5000",
        "kind=pass",
        "route=r",
        "methods=write",
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ],
    &[],
    &[
        "amount_msat=5000",
        "kind=balance",
        "route=r",
        "r_capabilities=read,write",
        "methods=any",
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ],
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let block = BLOCKS[usize::from(choice) % BLOCKS.len()];
    let appended = text.split(|&byte| byte == b'\n');
    let caveats = block.iter().map(|caveat| caveat.as_bytes()).chain(appended);
    if let Ok(granted) = read_caveats(caveats) {
        check(&granted);
        if let Ok(sold) = read_caveats(block) {
            assert_eq!(granted.terms, sold.terms, "a holder changed what was sold");
            assert_eq!(granted.capabilities, sold.capabilities);
        }
    }
});

fn check(granted: &Granted) {
    let Granted { terms, holder, .. } = granted;
    if let Some(sold) = &granted.capabilities {
        let left = holder.capabilities.as_ref();
        assert!(left.is_some_and(|left| left.is_within(sold)));
    }
    let reread = read_caveats(print_terms(terms)).expect("our own block");
    assert_eq!(reread.terms, *terms);
    assert!(terms.methods.covers(holder.methods));
    assert!(
        holder
            .allowance
            .amount
            .is_none_or(|amount| amount <= terms.amount)
    );
    assert!(
        holder
            .allowance
            .calls
            .is_none_or(|calls| calls <= calls_sold(terms))
    );
}

fn calls_sold(terms: &Terms) -> u32 {
    match terms.kind {
        Kind::Single => 1,
        Kind::Calls(calls) => calls,
        Kind::Pass(_) | Kind::Balance => u32::MAX,
    }
}
