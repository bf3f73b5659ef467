//! Answers as providers write them, each with what it used, how it ended and what it costs beside
//! it. A stream says the same however it is cut into pieces, and what passes on is what came.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use farebox_core::Msat;
use farebox_meter::price::{Currency, Exchange};
use farebox_meter::stream::Cost;
use farebox_meter::{Endpoint, ModelPrice, Observed, StreamEnd, StreamMeter, Unit, Usage, answer};
use serde::Deserialize;

/// What one unit of each class costs, and how long the request was, in bytes.
#[derive(Deserialize)]
struct Prices {
    msat_per_unit: BTreeMap<Unit, u64>,
    request_bytes: u64,
}

/// What is said beside an answer.
#[derive(Deserialize)]
struct Expected {
    about: String,
    endpoint: String,
    usage: Option<BTreeMap<Unit, u64>>,
    output_bytes: u64,
    #[serde(default)]
    end: String,
    #[serde(default)]
    removed_if_not_asked_for: Vec<usize>,
    cost_msat: u64,
}

struct Sample {
    name: String,
    bytes: Vec<u8>,
    endpoint: Endpoint,
    expected: Expected,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// All answers with this ending, and never none.
fn samples(ending: &str) -> Vec<Sample> {
    let files = fs::read_dir(corpus()).unwrap().map(|file| file.unwrap());
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let names = names.filter(|name| !name.ends_with(".expected.json") && name != "prices.json");
    let mut names: Vec<_> = names
        .filter_map(|name| name.strip_suffix(ending).map(ToOwned::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    names.into_iter().map(|name| read(name, ending)).collect()
}

fn read(name: String, ending: &str) -> Sample {
    let bytes = fs::read(corpus().join(format!("{name}{ending}"))).unwrap();
    let expected = fs::read(corpus().join(format!("{name}.expected.json"))).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let endpoint = Endpoint::of("POST", &expected.endpoint).unwrap();
    Sample {
        name,
        bytes,
        endpoint,
        expected,
    }
}

fn prices() -> Prices {
    serde_json::from_slice(&fs::read(corpus().join("prices.json")).unwrap()).unwrap()
}

/// The money for a usage, and for what was seen where there is no usage.
fn cost(usage: Option<Usage>, output_bytes: u64) -> u64 {
    let prices = prices();
    let rows = prices.msat_per_unit.iter();
    let price = ModelPrice {
        currency: Currency::Msat,
        rows: rows
            .map(|(unit, price)| (*unit, price.to_string().parse().unwrap()))
            .collect(),
        images: BTreeMap::new(),
        context_tokens: None,
        max_output_tokens: None,
        is_free: false,
    };
    let seen = Usage::of_request()
        .with(Unit::Input, prices.request_bytes.div_ceil(4))
        .with(Unit::Output, output_bytes.div_ceil(4));
    let exchange = Exchange::fixed(Currency::Msat).unwrap();
    let cost = price.cost(&usage.unwrap_or(seen), &exchange);
    cost.unwrap().get()
}

fn usage_of(counts: &BTreeMap<Unit, u64>) -> Usage {
    let counts = counts.iter();
    counts.fold(Usage::NONE, |usage, (unit, count)| {
        usage.with(*unit, *count)
    })
}

fn end_of(end: StreamEnd) -> &'static str {
    match end {
        StreamEnd::Open => "open",
        StreamEnd::Finished => "finished",
        StreamEnd::Complete => "complete",
        StreamEnd::Incomplete => "incomplete",
        StreamEnd::Failed => "failed",
    }
}

fn no_cost() -> Cost {
    Box::new(|_| None)
}

/// What passes on of these pieces, and what was seen in them.
fn play<'a>(
    sample: &Sample,
    strip: bool,
    cost: Cost,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Observed) {
    let mut meter = StreamMeter::new(sample.endpoint, strip, cost);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&meter.pass(piece));
    }
    meter.finish(&mut out);
    (out, *meter.observed())
}

fn play_whole(sample: &Sample, strip: bool, cost: Cost) -> (Vec<u8>, Observed) {
    play(
        sample,
        strip,
        cost,
        std::iter::once(sample.bytes.as_slice()),
    )
}

/// The stream as a client gets it who did not ask for the usage.
fn without_usage(sample: &Sample) -> Vec<u8> {
    let text = str::from_utf8(&sample.bytes).unwrap();
    let ends = ["\r\n\r\n", "\n\n", "\r\r"].into_iter();
    let end = ends.clone().find(|end| text.contains(end)).unwrap();
    let events = text.split_inclusive(end).enumerate();
    let removed = &sample.expected.removed_if_not_asked_for;
    let kept = events.filter(|(at, _)| !removed.contains(at));
    kept.flat_map(|(_, event)| event.bytes()).collect()
}

#[test]
fn each_stream_tells_what_it_used_and_costs() {
    for sample in samples(".sse") {
        let Sample { name, expected, .. } = &sample;
        let (_, observed) = play_whole(&sample, false, no_cost());
        let usage = expected.usage.as_ref().map(usage_of);
        let about = format!("{name}: {}", expected.about);
        assert_eq!(observed.usage(), usage, "{about}");
        assert_eq!(observed.output_bytes, expected.output_bytes, "{about}");
        assert_eq!(end_of(observed.end), expected.end, "{about}");
        let charged = cost(observed.usage(), observed.output_bytes);
        assert_eq!(charged, expected.cost_msat, "{about}");
    }
}

#[test]
fn each_stream_passes_on_byte_for_byte_but_for_usage_that_nobody_asked_for() {
    for sample in samples(".sse") {
        let name = &sample.name;
        let (asked, _) = play_whole(&sample, false, no_cost());
        assert!(asked == sample.bytes, "{name}");
        let (quiet, _) = play_whole(&sample, true, no_cost());
        let (quiet, wanted) = (
            String::from_utf8_lossy(&quiet).into_owned(),
            without_usage(&sample),
        );
        assert_eq!(quiet, String::from_utf8_lossy(&wanted), "{name}");
    }
}

#[test]
fn each_stream_says_the_same_wherever_it_is_split() {
    for sample in samples(".sse") {
        let whole = play_whole(&sample, true, no_cost());
        for at in 0..=sample.bytes.len() {
            let (first, second) = sample.bytes.split_at(at);
            let split = play(&sample, true, no_cost(), [first, second].into_iter());
            assert!(split == whole, "{} split at {at}", sample.name);
        }
    }
}

#[test]
fn each_stream_says_the_same_in_pieces_of_any_size() {
    let priced = || -> Cost { Box::new(|usage| Msat::new(cost(Some(*usage), 0)).ok()) };
    for sample in samples(".sse") {
        for strip in [false, true] {
            let whole = play_whole(&sample, strip, priced());
            for size in 1..=48 {
                let pieces = sample.bytes.chunks(size);
                let cut = play(&sample, strip, priced(), pieces);
                assert!(cut == whole, "{} in pieces of {size}", sample.name);
            }
        }
    }
}

#[test]
fn the_client_who_asked_finds_the_cost_of_a_complete_stream_in_it() {
    let mut found = 0;
    for sample in samples(".sse") {
        let expected = &sample.expected;
        let priced = Box::new(|usage: &Usage| Msat::new(cost(Some(*usage), 0)).ok());
        let (out, observed) = play_whole(&sample, false, priced);
        if expected.end != "complete" || expected.usage.is_none() {
            continue;
        }
        let text = String::from_utf8(out).unwrap();
        let told = format!("\"cost_msat\":{}", expected.cost_msat);
        if text.contains("\"cost_msat\"") {
            found += 1;
            let at = text.rfind("\"cost_msat\"").unwrap();
            assert!(text[at..].starts_with(&told), "{}: {text}", sample.name);
        }
        assert!(observed.usage().is_some());
    }
    assert!(found > 20, "{found}");
}

#[test]
fn each_whole_answer_tells_what_it_used_and_costs() {
    for sample in samples(".json") {
        let Sample { name, expected, .. } = &sample;
        let answer = answer::Whole::read(sample.endpoint, &sample.bytes);
        let usage = answer.usage();
        let about = format!("{name}: {}", expected.about);
        assert_eq!(usage, expected.usage.as_ref().map(usage_of), "{about}");
        let seen = answer.content_bytes();
        assert_eq!(seen, expected.output_bytes, "{about}");
        assert_eq!(cost(usage, seen), expected.cost_msat, "{about}");
    }
}

#[test]
fn each_whole_answer_keeps_its_other_members_when_its_cost_is_written() {
    for sample in samples(".json") {
        let answer = answer::Whole::read(sample.endpoint, &sample.bytes);
        let priced = answer.with_cost(Msat::new(1234).unwrap()).unwrap();
        let mut priced: serde_json::Value = serde_json::from_slice(&priced).unwrap();
        let mut plain: serde_json::Value = serde_json::from_slice(&sample.bytes).unwrap();
        assert_eq!(priced["usage"]["cost_msat"], 1234, "{}", sample.name);
        assert_eq!(priced["usage"]["upstream_cost"], plain["usage"]["cost"]);
        for answer in [&mut priced, &mut plain] {
            answer.as_object_mut().unwrap().remove("usage");
        }
        assert_eq!(priced, plain, "{}", sample.name);
    }
}

/// A usage object as a provider documents it, and what it comes to.
#[derive(Deserialize)]
struct Shape {
    about: String,
    endpoint: String,
    usage: serde_json::Value,
    classes: BTreeMap<Unit, u64>,
    msat: u64,
}

/// The prices of `tests/usage-shapes.json`, in msat.
fn shape_price() -> ModelPrice {
    let rows = [
        (Unit::Input, "100"),
        (Unit::CachedInput, "10"),
        (Unit::CacheWrite, "125"),
        (Unit::Output, "1000"),
        (Unit::AudioInput, "300"),
        (Unit::AudioOutput, "3000"),
        (Unit::ImageInput, "150"),
        (Unit::ImageOutput, "4000"),
    ];
    ModelPrice {
        currency: Currency::Msat,
        rows: rows
            .map(|(unit, price)| (unit, price.parse().unwrap()))
            .into(),
        images: BTreeMap::new(),
        context_tokens: None,
        max_output_tokens: None,
        is_free: false,
    }
}

#[test]
fn each_shape_of_usage_that_a_provider_documents_is_read_and_priced() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/usage-shapes.json");
    let shapes: Vec<Shape> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert!(shapes.len() >= 60, "{}", shapes.len());
    let exchange = Exchange::fixed(Currency::Msat).unwrap();
    for shape in shapes {
        let Shape { about, usage, .. } = &shape;
        let endpoint = Endpoint::of("POST", &shape.endpoint).unwrap();
        let body = serde_json::json!({ "usage": usage }).to_string();
        let read = answer::Whole::read(endpoint, body.as_bytes()).usage();
        let expected = usage_of(&shape.classes).with(Unit::Request, 1);
        assert_eq!(read, Some(expected), "{about}: {usage}");
        let cost = shape_price().cost(&expected, &exchange).unwrap();
        assert_eq!(cost.get(), shape.msat, "{about}");
    }
}
