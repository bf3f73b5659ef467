use super::*;
use crate::gauge::bill::{Bill, End};
use crate::gauge::tariff::tests::{billing, lenient, msat, tariff};
use crate::gauge::{Billing, Unsaid};

fn in_header(billing: Billing) -> Report {
    Report::in_header(HeaderName::from_static("x-cost"), tariff(billing))
}

fn in_json() -> Report {
    Report::in_json("/usage/tokens".parse().unwrap(), tariff(lenient()))
}

fn fields(lines: &[&'static str]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append("x-cost", HeaderValue::from_static(line));
    }
    fields
}

fn of_type(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
}

fn known(billed: Billed) -> Bill {
    match billed {
        Billed::Known(bill) => bill,
        Billed::Open { .. } => panic!("there is nobody to ask"),
    }
}

fn billed(report: Report, ending: Ending) -> Bill {
    known(Box::new(report).bill(ending))
}

/// What is charged for an answer whose header says this, and how it ended. A void costs nothing.
fn heard(lines: &[&'static str], billing: Billing, ending: Ending) -> (Option<u64>, &'static str) {
    let mut report = in_header(billing);
    report.head(StatusCode::OK, &mut fields(lines));
    let bill = billed(report, ending);
    (bill.used.map(Msat::get), bill.end.as_str())
}

#[test]
fn what_the_upstream_says_is_charged_rounded_up_and_never_below_the_least() {
    let complete = |line| heard(&[line], lenient(), Ending::Complete);
    assert_eq!(complete("301"), (Some(151), "complete"));
    assert_eq!(complete(" 300.000001 "), (Some(151), "complete"));
    assert_eq!(complete("2"), (Some(10), "complete"));
    assert_eq!(complete("0"), (Some(10), "complete"));
    // More than the hold: the ledger charges the hold, and the rest is the seller's loss.
    assert_eq!(complete("9000"), (Some(4500), "complete"));
}

#[test]
fn what_is_no_single_number_is_missing_and_costs_what_the_seller_chose() {
    let garbled: [&[&str]; 8] = [
        &[],
        &[""],
        &["-5"],
        &["free"],
        &["NaN"],
        &["1,5"],
        &["7", "7"],
        &["99999999999999999999999999"],
    ];
    for lines in garbled {
        let generous = heard(lines, lenient(), Ending::Complete);
        assert_eq!(generous, (Some(0), "cost_missing"), "{lines:?}");
        let strict = billing(Unsaid::Hold, Unsaid::Observed);
        let strict = heard(lines, strict, Ending::Complete);
        assert_eq!(strict, (Some(1000), "cost_missing"), "{lines:?}");
    }
}

#[test]
fn the_seller_is_told_why_a_cost_is_missing_and_only_then() {
    let complaint = |lines: &[&'static str], ending| {
        let mut report = in_header(lenient());
        report.head(StatusCode::OK, &mut fields(lines));
        billed(report, ending).complaint
    };
    let complete = |lines: &[&'static str]| complaint(lines, Ending::Complete);
    assert_eq!(complete(&[]), Some(Reported::Missing.complaint()));
    assert_eq!(complete(&["free"]), Some(Reported::Garbled.complaint()));
    let absurd = Reported::Number(Decimal::ZERO).complaint();
    assert_eq!(complete(&["99999999999999999999999999"]), Some(absurd));
    assert_eq!(complete(&["7"]), None);
    assert_eq!(complaint(&[], Ending::CutByClient), None);
    assert_eq!(complaint(&[], Ending::CutByUpstream), None);
}

#[test]
fn an_answer_that_breaks_off_costs_what_the_seller_chose() {
    let broken = |lines: &[&'static str], unsaid| {
        let billing = billing(Unsaid::Nothing, unsaid);
        heard(lines, billing, Ending::CutByUpstream).0
    };
    assert_eq!(broken(&["300"], Unsaid::Observed), Some(150));
    assert_eq!(broken(&["300"], Unsaid::Nothing), None);
    assert_eq!(broken(&["300"], Unsaid::Hold), Some(1000));
    assert_eq!(broken(&[], Unsaid::Observed), None);
}

#[test]
fn who_leaves_before_the_cost_is_told_gains_nothing_by_it() {
    let left = |lines: &[&'static str]| heard(lines, lenient(), Ending::CutByClient);
    assert_eq!(left(&["300"]), (Some(150), "cut_by_client"));
    assert_eq!(left(&[]), (Some(1000), "cut_by_client"));
}

#[test]
fn an_upstream_that_may_still_tell_is_listened_to_and_no_other() {
    let mut report = in_header(lenient());
    assert_eq!(report.drains(), Some(Duration::from_secs(1)));
    report.head(StatusCode::OK, &mut fields(&["3"]));
    assert_eq!(report.drains(), None);
}

#[test]
fn a_cost_in_the_head_is_known_before_the_answer_passes() {
    let form =
        |lines: &[&'static str]| in_header(lenient()).head(StatusCode::OK, &mut fields(lines));
    let cost = Some(msat(150));
    assert_eq!(form(&["300"]), Form::AsSent { cost });
    assert_eq!(form(&[]), Form::AsSent { cost: None });
}

#[test]
fn a_trailer_counts_where_the_head_said_nothing() {
    let mut report = in_header(lenient());
    report.head(StatusCode::OK, &mut fields(&[]));
    report.trailers(&fields(&["400"]));
    report.trailers(&fields(&["800"]));
    assert_eq!(billed(report, Ending::Complete).used, Some(msat(200)));
}

#[test]
fn a_json_pointer_tells_in_a_whole_answer_and_in_a_stream() {
    let whole = |body: &str| {
        let report = Box::new(in_json());
        known(report.whole(body.as_bytes(), msat(1000)).billed)
    };
    let bill = whole(r#"{"usage": {"tokens": "300"}}"#);
    assert_eq!(bill.used, Some(msat(150)));
    for garbled in ["{}", "{\"usage\": {\"tokens\": -1}}", "not json", ""] {
        assert_eq!(whole(garbled).end, End::CostMissing);
    }
    let mut stream = in_json();
    let form = stream.head(StatusCode::OK, &mut of_type("text/event-stream"));
    assert_eq!(form, Form::Stream);
    stream.frame(Bytes::from_static(
        b"data: {\"usage\": {\"tokens\": 100}}\n\n",
    ));
    assert_eq!(stream.progress(), Some(msat(50)));
    stream.frame(Bytes::from_static(b"data: {\"usage\": {\"tokens\": 120}}"));
    assert_eq!(billed(stream, Ending::Complete).used, Some(msat(60)));
}

#[test]
fn an_answer_that_is_no_success_and_of_which_nothing_was_used_costs_not_even_the_least() {
    let told = |status, line| {
        let mut report = in_header(lenient());
        let form = report.head(status, &mut fields(&[line]));
        let used = billed(report, Ending::Complete).used;
        assert_eq!(form, Form::AsSent { cost: used });
        used.unwrap().get()
    };
    assert_eq!(told(StatusCode::NOT_MODIFIED, "0"), 0);
    assert_eq!(told(StatusCode::SEE_OTHER, "0.0"), 0);
    assert_eq!(told(StatusCode::SEE_OTHER, "300"), 150);
    assert_eq!(told(StatusCode::OK, "0"), 10);
}

#[test]
fn what_was_too_long_to_be_looked_into_costs_the_hold_whatever_the_seller_says_of_missing_costs() {
    let number = b"data: {\"usage\": {\"tokens\": 100}}\n\n".as_slice();
    let long = [b"data: ".as_slice(), &[b'x'; 5 << 20], b"\n\n"].concat();
    let bill = |status, events: &[&[u8]], ending| {
        let mut stream = in_json();
        stream.head(status, &mut of_type("text/event-stream"));
        for event in events {
            stream.frame(Bytes::copy_from_slice(event));
        }
        billed(stream, ending)
    };
    let ok = StatusCode::OK;
    for events in [&[long.as_slice()][..], &[number, &long]] {
        let missing = bill(ok, events, Ending::Complete);
        assert_eq!(
            (missing.used, missing.end),
            (Some(msat(1000)), End::CostMissing)
        );
        assert_eq!(missing.complaint, Some(Reported::Overlooked.complaint()));
        assert_eq!(bill(ok, events, Ending::CutByClient).used, Some(msat(1000)));
    }
    let told_later = bill(ok, &[&long, number], Ending::Complete);
    assert_eq!(
        (told_later.used, told_later.end),
        (Some(msat(50)), End::Complete)
    );
    // No client makes an upstream break off, or answer with another status.
    let broken = bill(ok, &[number, &long], Ending::CutByUpstream);
    assert_eq!(broken.used, Some(msat(50)));
    let elsewhere = bill(StatusCode::SEE_OTHER, &[&long], Ending::Complete);
    assert_eq!(elsewhere.used, Some(Msat::ZERO));
}

#[test]
fn only_whole_json_is_read_before_it_passes() {
    let form = |mut headers| in_json().head(StatusCode::OK, &mut headers);
    for json in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.api+json",
    ] {
        assert_eq!(form(of_type(json)), Form::Whole, "{json}");
    }
    for other in ["text/event-stream", "application/jsonl", "text/plain", ""] {
        assert_eq!(form(of_type(other)), Form::Stream, "{other}");
    }
    assert_eq!(form(HeaderMap::new()), Form::Stream);
}

#[test]
fn an_event_that_is_too_long_to_be_looked_into_is_not_free() {
    let told = |length: usize, more: &str| {
        let mut report = in_json();
        report.head(StatusCode::OK, &mut of_type("text/csv"));
        report.frame(Bytes::from("a".repeat(length)));
        report.frame(Bytes::copy_from_slice(more.as_bytes()));
        billed(report, Ending::Complete).used.map(Msat::get)
    };
    assert_eq!(
        told(100, ""),
        Some(0),
        "the seller forgives what is not told"
    );
    assert_eq!(told(5 * 1024 * 1024, ""), Some(1_000), "all that was held");
    let report = "\n\ndata: {\"usage\":{\"tokens\":300}}\n\n";
    assert_eq!(
        told(5 * 1024 * 1024, report),
        Some(150),
        "it was told after all"
    );
}
