use farebox_meter::{Currency, Exchange};
use http::HeaderValue;

use super::*;
use crate::by_use::Rated;
use crate::gauge::Billing;
use crate::rates::Rates;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn rated(amount: &str) -> Rated {
    Rated {
        currency: Currency::Msat,
        amount: decimal(amount),
    }
}

/// At most 1000 msat a call, at least 10, half a msat each.
fn said(teller: Teller, billing: Billing) -> Said {
    let sale = ByUse {
        teller,
        each: rated("0.5"),
        at_most: rated("1000"),
        least: Some(rated("10")),
        rates: Arc::new(Rates::new(Duration::ZERO, 0)),
        markup: 0,
        billing,
    };
    let tariff = Tariff {
        each: decimal("0.5"),
        exchange: Exchange::fixed(Currency::Msat).unwrap(),
        at_most: msat(1000),
        least: msat(10),
        rate: None,
    };
    Said::new(Arc::new(sale), tariff)
}

fn header() -> Teller {
    Teller::Header {
        name: HeaderName::from_static("x-cost"),
        shown: false,
    }
}

fn billing(usage_missing: Unsaid, broken_off: Unsaid) -> Billing {
    Billing {
        usage_missing,
        broken_off,
        on_disconnect: OnDisconnect::Drain(Duration::from_secs(1)),
    }
}

fn lenient() -> Billing {
    billing(Unsaid::Nothing, Unsaid::Observed)
}

fn fields(lines: &[&'static str]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append("x-cost", HeaderValue::from_static(line));
    }
    fields
}

/// What is charged for an answer whose header says this, and how it ended.
fn heard(lines: &[&'static str], billing: Billing, ending: Ending) -> (u64, &'static str) {
    let mut said = said(header(), billing);
    let mut fields = fields(lines);
    said.hear(&mut fields);
    assert!(fields.is_empty(), "the client sees it");
    let bill = said.bill(ending);
    (bill.used.get(), bill.end.as_str())
}

#[test]
fn what_the_upstream_says_is_charged_rounded_up_and_never_below_the_least() {
    let complete = |line| heard(&[line], lenient(), Ending::Complete);
    assert_eq!(complete("301"), (151, "complete"));
    assert_eq!(complete(" 300.000001 "), (151, "complete"));
    assert_eq!(complete("2"), (10, "complete"));
    assert_eq!(complete("0"), (10, "complete"));
    // More than the hold: the ledger charges the hold, and the rest is the seller's loss.
    assert_eq!(complete("9000"), (4500, "complete"));
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
        assert_eq!(generous, (0, "cost_missing"), "{lines:?}");
        let strict = billing(Unsaid::Hold, Unsaid::Observed);
        let strict = heard(lines, strict, Ending::Complete);
        assert_eq!(strict, (1000, "cost_missing"), "{lines:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_costs_what_the_seller_chose() {
    let broken = |lines: &[&'static str], unsaid| {
        let billing = billing(Unsaid::Nothing, unsaid);
        heard(lines, billing, Ending::CutByUpstream).0
    };
    assert_eq!(broken(&["300"], Unsaid::Observed), 150);
    assert_eq!(broken(&["300"], Unsaid::Nothing), 0);
    assert_eq!(broken(&["300"], Unsaid::Hold), 1000);
    assert_eq!(broken(&[], Unsaid::Observed), 0);
}

#[test]
fn who_leaves_before_the_cost_is_told_gains_nothing_by_it() {
    let left = |lines: &[&'static str]| heard(lines, lenient(), Ending::CutByClient);
    assert_eq!(left(&["300"]), (150, "cut_by_client"));
    assert_eq!(left(&[]), (1000, "cut_by_client"));
}

#[test]
fn an_upstream_that_may_still_tell_is_listened_to_and_no_other() {
    let mut said = said(header(), lenient());
    assert_eq!(said.drains(), Some(Duration::from_secs(1)));
    said.hear(&mut fields(&["3"]));
    assert_eq!(said.drains(), None);
}

#[test]
fn a_trailer_counts_where_the_head_said_nothing() {
    let mut said = said(header(), lenient());
    said.hear(&mut fields(&[]));
    said.hear(&mut fields(&["400"]));
    said.hear(&mut fields(&["800"]));
    assert_eq!(said.bill(Ending::Complete).used, msat(200));
}

#[test]
fn bytes_are_counted_on_the_side_that_is_sold() {
    let charged = |of| {
        let mut said = said(Teller::Bytes { of, per: 1 }, lenient());
        if let Some(counted) = said.forwarded() {
            counted.store(100, Ordering::Relaxed);
        }
        said.saw(&Bytes::from_static(&[0; 60]));
        said.saw(&Bytes::from_static(&[0; 1]));
        said.bill(Ending::CutByClient).used.get()
    };
    assert_eq!(charged(Of::Answer), 31);
    assert_eq!(charged(Of::Request), 50);
    assert_eq!(charged(Of::Both), 81);
}

#[test]
fn time_runs_from_forwarding_on() {
    let mut said = said(Teller::Seconds, lenient());
    said.forwarded();
    let bill = said.bill(Ending::Complete);
    assert!(bill.quantity.is_some_and(|seconds| !seconds.is_zero()));
    assert_eq!(bill.used, msat(10));
}

#[test]
fn a_json_pointer_tells_in_a_whole_answer_and_in_a_stream() {
    let teller = || Teller::Json("/usage/tokens".parse().unwrap());
    let mut whole = said(teller(), lenient());
    whole.take(whole.reader()(br#"{"usage": {"tokens": "300"}}"#));
    assert_eq!(whole.bill(Ending::Complete).used, msat(150));
    for garbled in ["{}", "{\"usage\": {\"tokens\": -1}}", "not json", ""] {
        let mut said = said(teller(), lenient());
        said.take(said.reader()(garbled.as_bytes()));
        assert_eq!(said.bill(Ending::Complete).end, End::CostMissing);
    }
    let mut stream = said(teller(), lenient());
    stream.begin_stream();
    stream.saw(&Bytes::from_static(
        b"data: {\"usage\": {\"tokens\": 100}}\n\n",
    ));
    assert_eq!(stream.first_progress(), msat(50));
    stream.saw(&Bytes::from_static(b"data: {\"usage\": {\"tokens\": 120}}"));
    assert_eq!(stream.bill(Ending::Complete).used, msat(60));
}
