//! Named behaviours of caveats: what is printed is what was sold, and holders only narrow.

use std::time::Duration;

use farebox_core::{Binding, Kind, Msat, RouteName, TermsEpoch, UnixMillis};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const DIGEST: &str = "0303030303030303030303030303030303030303030303030303030303030303";
const OTHER_DIGEST: &str = "0404040404040404040404040404040404040404040404040404040404040404";

fn terms(kind: Kind) -> Terms {
    Terms {
        amount: Msat::new(5000).unwrap(),
        kind,
        route: RouteName::parse("weather").unwrap(),
        methods: MethodClass::Any,
        binding: Binding::Route,
        epoch: TermsEpoch(0x2a),
        valid_for: Duration::from_secs(3600),
        claim_by: UnixMillis::from_secs(1_893_456_000),
    }
}

fn calls() -> Terms {
    terms(Kind::Calls(5))
}

fn appended(terms: &Terms, more: &[&str]) -> Result<Granted, CaveatError> {
    let mut caveats = print_terms(terms);
    caveats.extend(more.iter().map(|&caveat| caveat.to_owned()));
    read_caveats(caveats)
}

fn limits(terms: &Terms, more: &[&str]) -> HolderLimits {
    appended(terms, more).unwrap().holder
}

#[track_caller]
fn widened(terms: &Terms, more: &[&str], word: &'static str) {
    assert_eq!(
        appended(terms, more),
        Err(CaveatError::Widened { word }),
        "{more:?}"
    );
}

#[test]
fn the_block_of_a_bound_single_call_has_every_word_in_order() {
    let mut terms = terms(Kind::Single);
    terms.binding = Binding::Request(RequestDigest::from_bytes([3; 32]));
    terms.methods = MethodClass::Read;
    let request = format!("request={DIGEST}");
    let expected = [
        "amount_msat=5000",
        "kind=single",
        "count=1",
        "route=weather",
        "methods=read",
        &request,
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ];
    assert_eq!(print_terms(&terms), expected);
}

#[test]
fn a_pass_and_a_balance_have_no_count_and_a_pass_is_valid_for_its_span() {
    let pass = print_terms(&terms(Kind::Pass(Duration::from_secs(60))));
    assert_eq!(pass[1..3], ["kind=pass", "route=weather"]);
    assert_eq!(pass[5], "valid_for=60");
    let balance = print_terms(&terms(Kind::Balance));
    assert_eq!(balance[1..3], ["kind=balance", "route=weather"]);
}

#[test]
fn parts_of_a_second_are_rounded_in_the_buyers_favour() {
    let mut terms = calls();
    terms.valid_for = Duration::from_millis(1500);
    terms.claim_by = UnixMillis::new(1001);
    let read = read_caveats(print_terms(&terms)).unwrap().terms;
    assert_eq!(read.valid_for, Duration::from_secs(2));
    assert_eq!(read.claim_by, UnixMillis::from_secs(2));
}

#[test]
fn an_unattenuated_token_grants_its_terms_and_no_less() {
    let granted = appended(&calls(), &[]).unwrap();
    assert_eq!(granted.terms, calls());
    assert_eq!(granted.preimage, None);
    let all = HolderLimits {
        allowance: Allowance::default(),
        methods: MethodClass::Any,
        request: None,
        capabilities: None,
    };
    assert_eq!(granted.holder, all);
}

#[test]
fn a_block_that_lacks_any_word_is_refused() {
    let whole = print_terms(&calls());
    for missing in 0..whole.len() {
        let mut caveats = whole.clone();
        caveats.remove(missing);
        let error = read_caveats(&caveats).unwrap_err();
        assert!(
            matches!(error, CaveatError::Missing { .. }),
            "{}: {error}",
            whole[missing]
        );
    }
}

#[test]
fn a_block_in_another_order_is_refused() {
    for at in 1..print_terms(&calls()).len() {
        let mut caveats = print_terms(&calls());
        caveats.swap(at - 1, at);
        assert!(
            matches!(read_caveats(&caveats), Err(CaveatError::Missing { .. })),
            "{at}"
        );
    }
}

#[test]
fn values_that_the_gateway_never_prints_are_refused_in_its_block() {
    let bad = [
        ("amount_msat", "-1"),
        ("amount_msat", "+1"),
        ("amount_msat", "01"),
        ("amount_msat", ""),
        ("amount_msat", "2100000000000000001"),
        ("amount_msat", "99999999999999999999"),
        ("kind", "Calls"),
        ("kind", "forever"),
        ("count", "0"),
        ("count", "4294967296"),
        ("route", ""),
        ("route", "a/b"),
        ("methods", "ANY"),
        ("methods", "read,write"),
        ("terms", "2a"),
        ("terms", "0000002A"),
        ("terms", "+000002a"),
        ("valid_for", "1 "),
        ("valid_for", "1.5"),
        ("claim_by", "soon"),
    ];
    for (word, value) in bad {
        let caveats = print_terms(&calls()).into_iter().map(|caveat| {
            if caveat.starts_with(word) {
                format!("{word}={value}")
            } else {
                caveat
            }
        });
        assert_eq!(
            read_caveats(caveats),
            Err(CaveatError::Malformed { word }),
            "{value}"
        );
    }
}

#[test]
fn a_single_call_counts_one() {
    let caveats = print_terms(&terms(Kind::Single));
    let two = caveats
        .into_iter()
        .map(|caveat| caveat.replace("count=1", "count=2"));
    assert_eq!(
        read_caveats(two),
        Err(CaveatError::Malformed { word: "count" })
    );
}

#[test]
fn a_holder_caps_the_amount_and_cannot_raise_it() {
    let limited = limits(
        &calls(),
        &["amount_msat=4000", "amount_msat=3000", "amount_msat=3000"],
    );
    assert_eq!(limited.allowance.amount, Some(Msat::new(3000).unwrap()));
    widened(&calls(), &["amount_msat=5001"], "amount_msat");
    widened(
        &calls(),
        &["amount_msat=3000", "amount_msat=4000"],
        "amount_msat",
    );
}

#[test]
fn a_holder_caps_the_calls_and_cannot_raise_them() {
    assert_eq!(
        limits(&calls(), &["count=4", "count=2"]).allowance.calls,
        Some(2)
    );
    assert_eq!(limits(&calls(), &["count=0"]).allowance.calls, Some(0));
    widened(&calls(), &["count=6"], "count");
    widened(&calls(), &["count=2", "count=3"], "count");
    widened(&terms(Kind::Single), &["count=2"], "count");
    assert_eq!(
        limits(&terms(Kind::Balance), &["count=9"]).allowance.calls,
        Some(9)
    );
    widened(&terms(Kind::Balance), &["count=9", "count=10"], "count");
}

#[test]
fn a_holder_cannot_move_a_token_to_another_route() {
    assert!(appended(&calls(), &["route=weather"]).is_ok());
    widened(&calls(), &["route=openai"], "route");
    widened(&calls(), &["route="], "route");
}

#[test]
fn a_holder_leaves_fewer_methods_and_cannot_add_any() {
    assert_eq!(
        limits(&calls(), &["methods=any", "methods=read"]).methods,
        MethodClass::Read
    );
    widened(&calls(), &["methods=read", "methods=write"], "methods");
    widened(&calls(), &["methods=read", "methods=any"], "methods");
    let mut reading = calls();
    reading.methods = MethodClass::Read;
    widened(&reading, &["methods=any"], "methods");
    widened(&reading, &["methods=write"], "methods");
}

#[test]
fn a_holder_ties_a_token_to_one_request_and_cannot_loosen_it() {
    let tie = format!("request={DIGEST}");
    let other = format!("request={OTHER_DIGEST}");
    let digest = Some(RequestDigest::from_bytes([3; 32]));
    assert_eq!(limits(&calls(), &[&tie]).request, digest);
    widened(&calls(), &[&tie, &other], "request");
    let mut bound = calls();
    bound.binding = Binding::Request(RequestDigest::from_bytes([3; 32]));
    assert_eq!(limits(&bound, &[]).request, digest);
    assert_eq!(limits(&bound, &[&tie]).request, digest);
    widened(&bound, &[&other], "request");
}

#[test]
fn a_holder_ends_a_token_earlier_and_never_later() {
    let limited = limits(&calls(), &["valid_until=200", "valid_until=100"]);
    assert_eq!(
        limited.allowance.expires_at,
        Some(UnixMillis::from_secs(100))
    );
    widened(
        &calls(),
        &["valid_until=100", "valid_until=101"],
        "valid_until",
    );
}

#[test]
fn kind_and_terms_may_be_repeated_but_not_changed() {
    assert!(appended(&calls(), &["kind=calls", "terms=0000002a"]).is_ok());
    widened(&calls(), &["kind=pass"], "kind");
    widened(&calls(), &["kind=balance"], "kind");
    widened(&calls(), &["kind=single"], "kind");
    widened(&calls(), &["terms=0000002b"], "terms");
}

#[test]
fn the_span_of_a_token_is_neither_widened_nor_narrowed() {
    assert!(appended(&calls(), &["valid_for=3600", "claim_by=1893456000"]).is_ok());
    widened(&calls(), &["valid_for=3601"], "valid_for");
    widened(&calls(), &["claim_by=1893456001"], "claim_by");
    let fixed = |word| Err(CaveatError::Fixed { word });
    assert_eq!(appended(&calls(), &["valid_for=3599"]), fixed("valid_for"));
    assert_eq!(
        appended(&calls(), &["claim_by=1893455999"]),
        fixed("claim_by")
    );
}

#[test]
fn a_limit_that_nobody_counts_on_a_pass_is_refused_rather_than_ignored() {
    let pass = terms(Kind::Pass(Duration::from_secs(60)));
    let fixed = |word| Err(CaveatError::Fixed { word });
    assert_eq!(appended(&pass, &["count=3"]), fixed("count"));
    assert_eq!(appended(&pass, &["amount_msat=4999"]), fixed("amount_msat"));
    assert!(appended(&pass, &["amount_msat=5000", "valid_until=9"]).is_ok());
    widened(&pass, &["amount_msat=5001"], "amount_msat");
}

#[test]
fn capabilities_stand_inside_the_block_and_are_read_back() {
    let sold = Capabilities::new(["write", "read"]).unwrap();
    let block = print_block(&calls(), Some(&sold));
    assert_eq!(
        block[3..6],
        [
            "route=weather",
            "weather_capabilities=read,write",
            "methods=any"
        ]
    );
    let granted = read_caveats(&block).unwrap();
    assert_eq!(granted.terms, calls());
    assert_eq!(granted.capabilities.as_ref(), Some(&sold));
    assert_eq!(granted.holder.capabilities, Some(sold));
    assert_eq!(limits(&calls(), &[]).capabilities, None);
}

#[test]
fn a_holder_leaves_fewer_capabilities_and_cannot_add_any() {
    let sold = Capabilities::new(["read", "write"]).unwrap();
    let narrowed = |more: &[&str]| {
        let mut block = print_block(&calls(), Some(&sold));
        block.extend(more.iter().map(|&caveat| caveat.to_owned()));
        read_caveats(block).map(|granted| granted.holder.capabilities)
    };
    let left = narrowed(&["weather_capabilities=read"]).unwrap().unwrap();
    assert!(left.contains("read") && !left.contains("write"));
    let word = "capabilities";
    for wider in [
        &["weather_capabilities=admin"][..],
        &["weather_capabilities=read,admin"],
        &[
            "weather_capabilities=read",
            "weather_capabilities=read,write",
        ],
    ] {
        assert_eq!(
            narrowed(wider),
            Err(CaveatError::Widened { word }),
            "{wider:?}"
        );
    }
    for bad in ["weather_capabilities=", "weather_capabilities=read,read"] {
        assert_eq!(
            narrowed(&[bad]),
            Err(CaveatError::Malformed { word }),
            "{bad}"
        );
    }
    let other = narrowed(&["other_capabilities=read"]);
    assert_eq!(other, Err(CaveatError::Unknown));
}

#[test]
fn a_token_sold_without_capabilities_may_be_narrowed_to_some() {
    let left = limits(&calls(), &["weather_capabilities=read"]).capabilities;
    assert_eq!(left, Capabilities::new(["read"]).ok());
    assert_eq!(
        appended(&calls(), &["weather_capabilities=read"])
            .unwrap()
            .capabilities,
        None
    );
    widened(
        &calls(),
        &["weather_capabilities=read", "weather_capabilities=write"],
        "capabilities",
    );
}

#[test]
fn unknown_words_refuse_the_token() {
    for caveat in [
        "services=weather:0",
        "weather_valid_until=9",
        "Count=1",
        " count=1",
        "=1",
        "x=",
    ] {
        assert_eq!(
            appended(&calls(), &[caveat]),
            Err(CaveatError::Unknown),
            "{caveat:?}"
        );
    }
}

#[test]
fn text_that_is_no_condition_refuses_the_token() {
    for caveat in ["", "count", "count 1"] {
        assert_eq!(
            appended(&calls(), &[caveat]),
            Err(CaveatError::NotACondition),
            "{caveat:?}"
        );
    }
    let mut caveats: Vec<Vec<u8>> = print_terms(&calls()).into_iter().map(Into::into).collect();
    caveats.push(b"route=weather\xff".to_vec());
    assert_eq!(read_caveats(&caveats), Err(CaveatError::NotACondition));
}

#[test]
fn malformed_values_of_a_holder_refuse_the_token() {
    for word in [
        "amount_msat",
        "count",
        "methods",
        "request",
        "valid_until",
        "valid_for",
        "claim_by",
        "kind",
        "terms",
        "preimage",
    ] {
        let malformed = Err(CaveatError::Malformed { word });
        for value in ["", "?", "-1", "0x10", "1,2", "1\n"] {
            assert_eq!(
                appended(&calls(), &[&format!("{word}={value}")]),
                malformed,
                "{value:?}"
            );
        }
    }
}

#[test]
fn a_carried_preimage_is_a_proof_and_restricts_nothing() {
    let preimage = format!("preimage={DIGEST}");
    let granted = appended(&calls(), &[&preimage, &preimage]).unwrap();
    assert!(
        granted
            .preimage
            .is_some_and(|preimage| preimage.reveal() == &[3; 32])
    );
    assert_eq!(granted.holder, limits(&calls(), &[]));
    let other = format!("preimage={OTHER_DIGEST}");
    assert_eq!(
        appended(&calls(), &[&preimage, &other]),
        Err(CaveatError::DifferentPreimages)
    );
}

#[test]
fn number_and_length_of_caveats_are_bounded() {
    let own = print_terms(&calls()).len();
    let many = vec!["count=1"; MAX_CAVEATS - own];
    assert!(appended(&calls(), &many).is_ok());
    assert_eq!(
        appended(&calls(), &[&many[..], &["count=1"]].concat()),
        Err(CaveatError::TooMany)
    );
    let long = "x".repeat(MAX_CAVEAT_LENGTH + 1);
    assert_eq!(appended(&calls(), &[&long]), Err(CaveatError::TooLong));
    assert_eq!(
        appended(&calls(), &[&long[1..]]),
        Err(CaveatError::NotACondition)
    );
}

#[test]
fn errors_never_repeat_what_the_holder_wrote() {
    for caveat in [
        "secret-word=1",
        "count=secret-word",
        "secret-word",
        "kind=secret-word",
    ] {
        let error = appended(&calls(), &[caveat]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret-word"));
    }
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let kind = prop_oneof![
        Just(Kind::Single),
        (1..=u32::MAX).prop_map(Kind::Calls),
        any::<u32>().prop_map(|span| Kind::Pass(Duration::from_secs(span.into()))),
        Just(Kind::Balance),
    ];
    let binding = prop_oneof![
        Just(Binding::Route),
        any::<[u8; 32]>().prop_map(|digest| Binding::Request(RequestDigest::from_bytes(digest))),
    ];
    let times = (any::<u64>(), any::<u64>());
    (
        0..=Msat::MAX.get(),
        kind,
        "[A-Za-z0-9_-]{1,64}",
        any_class(),
        binding,
        any::<u32>(),
        times,
    )
        .prop_map(
            |(amount, kind, route, methods, binding, epoch, (span, end))| Terms {
                amount: Msat::new(amount).unwrap(),
                kind,
                route: RouteName::parse(&route).unwrap(),
                methods,
                binding,
                epoch: TermsEpoch(epoch),
                valid_for: if let Kind::Pass(span) = kind {
                    span
                } else {
                    Duration::from_secs(span)
                },
                claim_by: UnixMillis::from_secs(UnixMillis::from_secs(end).as_secs()),
            },
        )
}

fn any_class() -> impl Strategy<Value = MethodClass> {
    prop_oneof![
        Just(MethodClass::Read),
        Just(MethodClass::Write),
        Just(MethodClass::Any)
    ]
}

fn holder_caveat() -> impl Strategy<Value = String> {
    prop_oneof![
        (4980_u64..5010).prop_map(|msat| format!("amount_msat={msat}")),
        (0_u32..7).prop_map(|calls| format!("count={calls}")),
        any_class().prop_map(|class| format!("methods={class}")),
        prop_oneof![Just(DIGEST), Just(OTHER_DIGEST)].prop_map(|hex| format!("request={hex}")),
        (100_u64..110).prop_map(|end| format!("valid_until={end}")),
        (3599_u64..3602).prop_map(|span| format!("valid_for={span}")),
        Just("route=weather".to_owned()),
        prop_oneof![Just("a"), Just("b"), Just("a,b")]
            .prop_map(|names| format!("weather_capabilities={names}")),
    ]
}

/// Whether everything that `after` allows was allowed by `before`.
fn within(after: &HolderLimits, before: &HolderLimits) -> bool {
    fn capped<T: PartialOrd>(after: Option<T>, before: Option<T>) -> bool {
        before.is_none_or(|before| after.is_some_and(|after| after <= before))
    }
    let request = before.request.is_none() || after.request == before.request;
    capped(after.allowance.calls, before.allowance.calls)
        && capped(after.allowance.amount, before.allowance.amount)
        && capped(after.allowance.expires_at, before.allowance.expires_at)
        && before.methods.covers(after.methods)
        && request
        && before.capabilities.as_ref().is_none_or(|before| {
            let after = after.capabilities.as_ref();
            after.is_some_and(|after| after.is_within(before))
        })
}

proptest! {
    #[test]
    fn terms_are_read_back_as_they_were_printed(terms in any_terms()) {
        prop_assert_eq!(read_caveats(print_terms(&terms)).unwrap().terms, terms);
    }

    #[test]
    fn attenuation_never_widens(more in vec(holder_caveat(), 0..8), single: bool) {
        let terms = if single { terms(Kind::Single) } else { calls() };
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        for end in 1..=more.len() {
            let Ok(after) = appended(&terms, &more[..end]) else { break };
            let before = appended(&terms, &more[..end - 1]).unwrap();
            prop_assert_eq!(&after.terms, &before.terms);
            prop_assert!(within(&after.holder, &before.holder), "{:?}", more);
        }
    }

    #[test]
    fn a_refused_token_stays_refused_whatever_is_appended(
        bad in holder_caveat(),
        more in vec(holder_caveat(), 0..4),
    ) {
        if appended(&calls(), &[&bad]).is_err() {
            let mut all = vec![bad.as_str()];
            all.extend(more.iter().map(String::as_str));
            prop_assert!(appended(&calls(), &all).is_err());
        }
    }

    #[test]
    fn arbitrary_caveats_never_panic(
        whole: bool,
        more in vec(prop_oneof![
            vec(any::<u8>(), 0..80),
            "[a-z_]{1,12}=[0-9a-f]{0,20}".prop_map(String::into_bytes),
        ], 0..12),
    ) {
        let own = if whole { print_terms(&calls()) } else { Vec::new() };
        let _ = read_caveats(own.into_iter().map(String::into_bytes).chain(more));
    }
}
