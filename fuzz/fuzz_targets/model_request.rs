//! Bytes as a model's request: refused, or forwarded as something that reads alike, for the same
//! model, and never dearer than its payer can pay once its answer is shortened to that.

#![no_main]

use std::collections::BTreeMap;

use farebox_core::Msat;
use farebox_meter::price::{Currency, Exchange};
use farebox_meter::{Decimal, Endpoint, ModelPrice, ModelRequest, RequestRules, Unit};
use libfuzzer_sys::fuzz_target;

const ENDPOINTS: [Endpoint; 9] = [
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Messages,
    Endpoint::CountTokens,
    Endpoint::Embeddings,
    Endpoint::Images,
    Endpoint::Speech,
    Endpoint::Moderations,
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let endpoint = ENDPOINTS[usize::from(*choice) % ENDPOINTS.len()];
    let rules = RequestRules::default();
    let mut request = match ModelRequest::read(endpoint, body, &rules) {
        Ok(request) => request,
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    };
    let forwarded = request.to_body();
    let again = ModelRequest::read(endpoint, &forwarded, &rules).expect("what we forward");
    assert_eq!(again.model, request.model);
    assert_eq!(again.stream, request.stream);
    assert_eq!(again.to_body(), forwarded, "what is forwarded changes");
    shorten(&mut request);
});

/// The answer is made as short as somebody with little money can pay.
fn shorten(request: &mut ModelRequest) {
    let price = price();
    let exchange = Exchange::fixed(Currency::Msat).expect("bitcoin's own");
    let means = Msat::new(500).expect("little");
    let Ok(bound) = request.bound(&price) else {
        return;
    };
    let tokens = request.affordable_output(&bound, &price, &exchange, means);
    let Ok(Some(tokens)) = tokens else { return };
    request.lower_output(tokens);
    let bound = request.bound(&price).expect("bounded before");
    let cost = bound.cost(&price, &exchange).expect("priced before");
    assert!(cost <= means, "{cost} for somebody who has {means}");
}

fn price() -> ModelPrice {
    let units = [Unit::Input, Unit::Output, Unit::Image, Unit::Character];
    let one: Decimal = "1".parse().expect("a number");
    ModelPrice {
        currency: Currency::Msat,
        rows: units.into_iter().map(|unit| (unit, one)).collect(),
        images: BTreeMap::new(),
        context_tokens: Some(10_000),
        max_output_tokens: Some(1000),
        is_free: false,
    }
}
