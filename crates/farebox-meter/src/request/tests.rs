use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::price::{Exchange, ModelPrice, Unpriced};
use crate::usage::Unit;

fn read(endpoint: Endpoint, body: &Value) -> Result<ModelRequest, Refused> {
    let body = body.to_string();
    ModelRequest::read(endpoint, body.as_bytes(), &RequestRules::default())
}

fn refused(endpoint: Endpoint, body: &Value) -> String {
    match read(endpoint, body) {
        Ok(_) => panic!("sold: {body}"),
        Err(error) => error.to_string(),
    }
}

/// A chat request with further members.
fn chat(more: Value) -> Value {
    let mut body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "hello" }],
        "max_tokens": 100
    });
    merge(&mut body, more);
    body
}

fn response(more: Value) -> Value {
    let mut body = json!({ "model": "m", "input": "hello", "max_output_tokens": 100 });
    merge(&mut body, more);
    body
}

fn message(more: Value) -> Value {
    let mut body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "hello" }],
        "max_tokens": 100
    });
    merge(&mut body, more);
    body
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

fn forwarded(request: &ModelRequest) -> Value {
    serde_json::from_slice(&request.to_body()).unwrap()
}

/// One sat a token in, two out.
fn price() -> ModelPrice {
    let row = |text: &str| text.parse().unwrap();
    ModelPrice {
        currency: "sat".parse().unwrap(),
        rows: BTreeMap::from([(Unit::Input, row("1")), (Unit::Output, row("2"))]),
        images: BTreeMap::new(),
        context_tokens: Some(1000),
        max_output_tokens: Some(400),
        is_free: false,
    }
}

fn sat() -> Exchange {
    Exchange::fixed("sat".parse().unwrap()).unwrap()
}

fn bound_sat(endpoint: Endpoint, body: &Value, price: &ModelPrice) -> u64 {
    let bound = read(endpoint, body).unwrap().bound(price).unwrap();
    bound.cost(price, &sat()).unwrap().get() / 1000
}

#[test]
fn what_reaches_into_the_sellers_account_is_refused_by_name() {
    for (more, name) in [
        (json!({ "background": true }), "background"),
        (
            json!({ "previous_response_id": "resp_1" }),
            "previous_response_id",
        ),
        (json!({ "conversation": "conv_1" }), "conversation"),
        (json!({ "prompt": { "id": "pmpt_1" } }), "prompt"),
    ] {
        let error = refused(Endpoint::Responses, &response(more));
        assert!(error.contains(name), "{error}");
    }
    let file =
        json!([{ "role": "user", "content": [{ "type": "input_file", "file_id": "file-1" }] }]);
    let error = refused(Endpoint::Responses, &response(json!({ "input": file })));
    assert!(error.contains("stored file"), "{error}");
    let file =
        json!([{ "role": "user", "content": [{ "type": "file", "file": { "file_id": "f" } }] }]);
    assert!(
        refused(
            Endpoint::ChatCompletions,
            &chat(json!({ "messages": file }))
        )
        .contains("stored")
    );
    let source = json!([{ "role": "user", "content": [
        { "type": "document", "source": { "type": "file", "file_id": "f" } }
    ] }]);
    assert!(
        refused(Endpoint::Messages, &message(json!({ "messages": source }))).contains("stored")
    );
    let item = json!([{ "type": "item_reference", "id": "msg_1" }]);
    assert!(
        refused(Endpoint::Responses, &response(json!({ "input": item })))
            .contains("item_reference")
    );
    let audio = json!([{ "role": "assistant", "audio": { "id": "audio_1" } }]);
    assert!(
        refused(
            Endpoint::ChatCompletions,
            &chat(json!({ "messages": audio }))
        )
        .contains("audio")
    );
}

#[test]
fn work_at_the_provider_is_refused_by_name() {
    for kind in [
        "web_search",
        "web_search_preview",
        "file_search",
        "code_interpreter",
        "computer_use_preview",
        "image_generation",
        "mcp",
        "local_shell",
    ] {
        let tools = json!({ "tools": [{ "type": kind }] });
        let error = refused(Endpoint::Responses, &response(tools.clone()));
        assert!(error.contains(kind), "{error}");
        refused(Endpoint::ChatCompletions, &chat(tools));
    }
    for kind in [
        "web_search_20250305",
        "code_execution_20250522",
        "computer_20250124",
    ] {
        let tools = json!({ "tools": [{ "type": kind, "name": "x" }] });
        assert!(refused(Endpoint::Messages, &message(tools)).contains(kind));
    }
    refused(
        Endpoint::ChatCompletions,
        &chat(json!({ "web_search_options": {} })),
    );
    refused(
        Endpoint::ChatCompletions,
        &chat(json!({ "plugins": [{ "id": "web" }] })),
    );
    refused(Endpoint::Messages, &message(json!({ "mcp_servers": [] })));
    refused(Endpoint::Messages, &message(json!({ "container": "c" })));
    let choice = json!({ "tool_choice": { "type": "web_search" } });
    refused(Endpoint::Responses, &response(choice));
}

#[test]
fn another_model_than_the_priced_one_cannot_be_slipped_in() {
    for more in [
        json!({ "models": ["dear"] }),
        json!({ "provider": { "order": ["x"] } }),
        json!({ "route": "fallback" }),
        json!({ "Model": "dear" }),
        json!({ "MAX_TOKENS": 100_000 }),
        json!({ "extra_body": { "model": "dear" } }),
    ] {
        refused(Endpoint::ChatCompletions, &chat(more));
    }
    let twice = br#"{"model":"cheap","messages":[],"model":"dear"}"#;
    let read = ModelRequest::read(Endpoint::ChatCompletions, twice, &RequestRules::default());
    assert!(matches!(
        read.err(),
        Some(Refused::Json(JsonError::Duplicate(_)))
    ));
}

#[test]
fn dearer_lanes_are_refused_and_usual_ones_pass() {
    for tier in ["priority", "scale", "fast"] {
        let error = refused(
            Endpoint::ChatCompletions,
            &chat(json!({ "service_tier": tier })),
        );
        assert!(error.contains(tier), "{error}");
    }
    for tier in ["auto", "default", "flex"] {
        read(
            Endpoint::Responses,
            &response(json!({ "service_tier": tier })),
        )
        .ok()
        .unwrap();
    }
    refused(Endpoint::Messages, &message(json!({ "speed": "fast" })));
}

#[test]
fn what_is_unknown_is_refused_until_the_seller_allows_it() {
    let body = chat(json!({ "brand_new": 1 }));
    assert!(refused(Endpoint::ChatCompletions, &body).contains("brand_new"));
    let rules = RequestRules {
        allow_fields: ["brand_new".to_owned()].into(),
        ..RequestRules::default()
    };
    let text = body.to_string();
    let read = ModelRequest::read(Endpoint::ChatCompletions, text.as_bytes(), &rules);
    assert_eq!(forwarded(&read.ok().unwrap())["brand_new"], 1);
}

#[test]
fn nothing_is_stored_and_a_stream_tells_its_usage() {
    let request = read(Endpoint::Responses, &response(json!({})))
        .ok()
        .unwrap();
    assert_eq!(forwarded(&request)["store"], false);
    let request = read(
        Endpoint::ChatCompletions,
        &chat(json!({ "store": true, "stream": true })),
    );
    let request = request.ok().unwrap();
    assert_eq!(forwarded(&request)["store"], false);
    assert_eq!(forwarded(&request)["stream_options"]["include_usage"], true);
    assert!(request.stream && !request.wants_usage);
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true, "x": 1 } });
    let request = read(Endpoint::ChatCompletions, &chat(asked)).ok().unwrap();
    assert!(request.wants_usage);
    assert_eq!(forwarded(&request)["stream_options"]["x"], 1);
}

#[test]
fn a_body_without_wishes_is_forwarded_as_it_is_written() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"\u00e9  1.50"}],"temperature":0.70}"#;
    let request = ModelRequest::read(Endpoint::ChatCompletions, body, &RequestRules::default());
    assert_eq!(request.ok().unwrap().to_body(), body);
}

#[test]
fn the_bound_counts_bytes_in_and_the_limit_out() {
    let body = chat(json!({}));
    let length = u64::try_from(body.to_string().len()).unwrap();
    let bound = bound_sat(Endpoint::ChatCompletions, &body, &price());
    assert_eq!(bound, length + 64 + 2 * 100);
    let thrice = bound_sat(
        Endpoint::ChatCompletions,
        &chat(json!({ "n": 3 })),
        &price(),
    );
    assert_eq!(thrice, length + 6 + 64 + 2 * 300);
}

#[test]
fn both_spellings_of_the_limit_count_and_the_larger_one_binds() {
    let body = chat(json!({ "max_completion_tokens": 200 }));
    let request = read(Endpoint::ChatCompletions, &body).ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().output.0, 200);
}

#[test]
fn without_a_limit_the_models_own_binds_and_without_both_nothing_is_sold() {
    let body = json!({ "model": "m", "messages": [] });
    let request = read(Endpoint::ChatCompletions, &body).ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().output.0, 400);
    let boundless = ModelPrice {
        context_tokens: None,
        max_output_tokens: None,
        ..price()
    };
    assert_eq!(request.bound(&boundless), Err(Refused::NoLimit));
}

#[test]
fn media_may_fill_the_context_whatever_its_bytes() {
    let picture = json!([{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "https://example.com/x.png" } }
    ] }]);
    let request = read(
        Endpoint::ChatCompletions,
        &chat(json!({ "messages": picture })),
    );
    let request = request.ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().input.0, 1000);
    let unknown = ModelPrice {
        context_tokens: None,
        ..price()
    };
    assert_eq!(request.bound(&unknown), Err(Refused::NoMediaLimit));
}

#[test]
fn the_dearest_class_that_could_be_counted_is_held() {
    let mut dear = price();
    dear.rows.insert(Unit::CacheWrite, "5".parse().unwrap());
    dear.rows.insert(Unit::Reasoning, "7".parse().unwrap());
    let plain = message(json!({}));
    let cached = message(json!({ "cache_control": { "type": "ephemeral" } }));
    let length = |body: &Value| u64::try_from(body.to_string().len()).unwrap() + 64;
    let held = bound_sat(Endpoint::Messages, &plain, &dear);
    assert_eq!(held, length(&plain) + 7 * 100);
    let held = bound_sat(Endpoint::Messages, &cached, &dear);
    assert_eq!(held, 5 * length(&cached) + 7 * 100);
}

#[test]
fn sound_without_a_price_is_not_sold() {
    let body = chat(json!({ "modalities": ["text", "audio"], "audio": { "voice": "alloy" } }));
    let request = read(Endpoint::ChatCompletions, &body).ok().unwrap();
    let bound = request.bound(&price()).unwrap();
    let cost = bound.cost(&price(), &sat());
    assert_eq!(cost, Err(Unpriced::Unit(Unit::AudioOutput)));
}

#[test]
fn many_answers_and_many_prompts_are_limited() {
    let error = refused(Endpoint::ChatCompletions, &chat(json!({ "n": 17 })));
    assert!(error.contains("16"), "{error}");
    let body = json!({ "model": "m", "prompt": ["a", "b"], "n": 3, "max_tokens": 10 });
    let request = read(Endpoint::Completions, &body).ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().output.0, 60);
    let body = json!({ "model": "m", "prompt": vec!["a"; 17], "max_tokens": 10 });
    refused(Endpoint::Completions, &body);
    let tokens = json!({ "model": "m", "prompt": vec![7; 500], "max_tokens": 10 });
    let request = read(Endpoint::Completions, &tokens).ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().output.0, 10);
}

#[test]
fn a_payer_with_less_gets_a_shorter_answer_or_none() {
    let mut request = read(Endpoint::ChatCompletions, &chat(json!({ "n": 2 })))
        .ok()
        .unwrap();
    let bound = request.bound(&price()).unwrap();
    let input = bound.input.0;
    let with = |sat: u64| farebox_core::Msat::from_sat(sat).unwrap();
    let afford = |most: u64| request.affordable_output(&bound, &price(), &sat(), with(most));
    assert_eq!(afford(input + 4 * 25), Ok(Some(25)));
    assert_eq!(afford(input + 4 * 25 + 3), Ok(Some(25)));
    assert_eq!(afford(input - 1), Ok(None));
    assert_eq!(afford(1_000_000), Ok(Some(100)));
    request.lower_output(25);
    assert_eq!(forwarded(&request)["max_tokens"], 25);
    let lowered = request
        .bound(&price())
        .unwrap()
        .cost(&price(), &sat())
        .unwrap();
    assert!(lowered <= with(input + 4 * 25));
}

#[test]
fn the_limit_is_lowered_under_the_name_that_the_endpoint_knows() {
    let mut request = read(Endpoint::Responses, &response(json!({})))
        .ok()
        .unwrap();
    request.lower_output(5);
    assert_eq!(forwarded(&request)["max_output_tokens"], 5);
    let body = json!({ "model": "m", "messages": [], "max_completion_tokens": 9 });
    let mut request = read(Endpoint::ChatCompletions, &body).ok().unwrap();
    request.lower_output(5);
    assert_eq!(forwarded(&request)["max_completion_tokens"], 5);
    assert_eq!(forwarded(&request)["max_tokens"], 5);
}

#[test]
fn a_limit_that_only_openais_servers_obey_is_written_for_others_too() {
    let limits = |model: &str, more: Value| {
        let mut body = json!({ "model": model, "messages": [] });
        let (Value::Object(all), Value::Object(more)) = (&mut body, more) else {
            panic!("an object");
        };
        all.extend(more);
        let body = forwarded(&read(Endpoint::ChatCompletions, &body).ok().unwrap());
        let limit = |name: &str| body.get(name).and_then(Value::as_u64);
        (limit("max_tokens"), limit("max_completion_tokens"))
    };
    let new = || json!({ "max_tokens": null, "max_completion_tokens": 1 });
    for model in ["llama-3", "mistral/gpt-j", "gpt-oss-120b"] {
        assert_eq!(limits(model, new()), (Some(1), Some(1)), "{model}");
    }
    for model in [
        "gpt-4o",
        "openai/o3-mini",
        "ft:gpt-5:me",
        "chatgpt-4o-latest",
    ] {
        assert_eq!(limits(model, new()), (None, Some(1)), "{model}");
    }
    assert_eq!(
        limits("llama-3", json!({ "max_tokens": 2 })),
        (Some(2), None)
    );
    assert_eq!(limits("llama-3", json!({})), (None, None));
}

#[test]
fn the_words_for_a_picture_are_priced_and_forwarded_in_one_spelling() {
    let body = json!({ "model": "m", "prompt": "a dog", "quality": " HD", "size": "1024X1024" });
    let request = read(Endpoint::Images, &body).ok().unwrap();
    assert_eq!(request.image_kind(), Some("hd/1024x1024"));
    let body = forwarded(&request);
    assert_eq!(
        (&body["quality"], &body["size"]),
        (&json!("hd"), &json!("1024x1024"))
    );
}

#[test]
fn a_limit_beyond_the_listed_one_is_not_forwarded() {
    let kept = |more: Value, price: &ModelPrice| {
        let mut body = json!({ "model": "m", "messages": [] });
        merge(&mut body, more);
        let mut request = read(Endpoint::ChatCompletions, &body).unwrap();
        request.keep_to(price);
        let body = forwarded(&request);
        let limit = |name: &str| body.get(name).and_then(Value::as_u64);
        (limit("max_tokens"), limit("max_completion_tokens"))
    };
    let old = |limit: u64| json!({ "max_tokens": limit });
    let roomy = ModelPrice {
        context_tokens: Some(100_000),
        ..price()
    };
    assert_eq!(kept(old(50_000), &roomy), (Some(400), None));
    assert_eq!(kept(old(399), &roomy), (Some(399), None));
    let new = json!({ "max_completion_tokens": 50_000 });
    assert_eq!(kept(new, &roomy), (Some(400), Some(400)));
    // Where the client sets none, the listed one is set if all of it fits into the context.
    assert_eq!(kept(json!({}), &roomy), (Some(400), None));
    assert_eq!(kept(json!({}), &price()), (None, None));
    let by_context = ModelPrice {
        max_output_tokens: None,
        ..price()
    };
    assert_eq!(kept(old(50_000), &by_context), (Some(1000), None));
    assert_eq!(kept(json!({}), &by_context), (None, None));
    let mut request = read(
        Endpoint::Responses,
        &response(json!({ "max_output_tokens": 9000 })),
    );
    request.as_mut().unwrap().keep_to(&roomy);
    assert_eq!(forwarded(&request.unwrap())["max_output_tokens"], 400);
}

#[test]
fn what_nobody_looks_at_is_not_sold() {
    let picture = json!({ "type": "image_url", "image_url": { "url": "https://example.com/x" } });
    let text = |more: Value| {
        let mut part = json!({ "type": "text", "text": "x" });
        merge(&mut part, more);
        json!([part])
    };
    for messages in [
        json!([{ "role": "user", "content": picture }]),
        json!([[{ "role": "user", "content": "x" }]]),
        json!([{ "role": "user", "content": "x", "images": ["https://example.com/x"] }]),
        json!([{ "role": "user", "content": "x", "Content": [picture] }]),
        json!([{ "role": "user", "content": text(json!({ "TYPE": "image_url" })) }]),
        json!([{ "role": "user", "content": [[picture]] }]),
    ] {
        refused(
            Endpoint::ChatCompletions,
            &chat(json!({ "messages": messages })),
        );
        refused(
            Endpoint::Messages,
            &message(json!({ "messages": messages })),
        );
        refused(Endpoint::Responses, &response(json!({ "input": messages })));
    }
    let tool = json!([{ "type": "function", "function": {}, "Type": "web_search" }]);
    refused(Endpoint::ChatCompletions, &chat(json!({ "tools": tool })));
    let tool = json!([{ "type": ["web_search_20250305"], "name": "web_search" }]);
    refused(Endpoint::Messages, &message(json!({ "tools": tool })));
    for input in [
        json!({ "role": "user", "content": [picture] }),
        json!([{ "type": "message", "id": "msg_1" }]),
        json!([{ "type": "reasoning", "id": "rs_1", "summary": [] }]),
        json!([{ "type": ["message"], "content": "x" }]),
    ] {
        refused(Endpoint::Responses, &response(json!({ "input": input })));
    }
    for input in [
        json!([{ "image": "https://example.com/x" }]),
        json!([{ "content": [picture] }]),
        json!({ "text": "x" }),
    ] {
        refused(
            Endpoint::Embeddings,
            &json!({ "model": "m", "input": input }),
        );
        let prompt = json!({ "model": "m", "prompt": input, "max_tokens": 5 });
        refused(Endpoint::Completions, &prompt);
    }
}

#[test]
fn what_sdks_give_back_of_an_answer_is_sold_and_the_seller_may_allow_more() {
    let call =
        json!([{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } }]);
    let said = json!({
        "role": "assistant", "content": null, "refusal": null, "audio": null, "function_call": null,
        "annotations": [], "tool_calls": call, "reasoning_content": "hm", "images": null
    });
    let answer = json!({ "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "x" }] });
    let messages = json!({ "messages": [said, answer] });
    read(Endpoint::ChatCompletions, &chat(messages)).unwrap();
    let input = json!([
        { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" },
        { "type": "reasoning", "content": [{ "type": "reasoning_text", "text": "x" }] },
        { "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
          "content": [{ "type": "output_text", "text": "x", "annotations": [], "logprobs": [] }] },
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "x" }
    ]);
    read(Endpoint::Responses, &response(json!({ "input": input }))).unwrap();
    let odd = chat(json!({ "messages": [{ "role": "user", "content": "x", "mood": "good" }] }));
    let error = refused(Endpoint::ChatCompletions, &odd);
    assert!(error.contains("messages.mood"), "{error}");
    let rules = RequestRules {
        allow_fields: ["messages.mood".to_owned()].into(),
        ..RequestRules::default()
    };
    let body = odd.to_string();
    ModelRequest::read(Endpoint::ChatCompletions, body.as_bytes(), &rules).unwrap();
}

#[test]
fn classes_that_a_model_may_count_unasked_are_held() {
    let mut painter = price();
    painter.rows.insert(Unit::ImageOutput, "9".parse().unwrap());
    painter.rows.insert(Unit::CacheWrite, "5".parse().unwrap());
    let length = |body: &Value| u64::try_from(body.to_string().len()).unwrap() + 64;
    let plain = chat(json!({}));
    let held = bound_sat(Endpoint::ChatCompletions, &plain, &painter);
    assert_eq!(held, length(&plain) + 9 * 100);
    let part = json!([{ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }]);
    let cached = chat(json!({ "messages": [{ "role": "user", "content": part }] }));
    let held = bound_sat(Endpoint::ChatCompletions, &cached, &painter);
    assert_eq!(held, 5 * length(&cached) + 9 * 100);
    let pictures = chat(json!({ "modalities": ["text", "image"] }));
    let bound = read(Endpoint::ChatCompletions, &pictures).unwrap();
    let cost = bound.bound(&price()).unwrap().cost(&price(), &sat());
    assert_eq!(cost, Err(Unpriced::Unit(Unit::ImageOutput)));
    refused(
        Endpoint::ChatCompletions,
        &chat(json!({ "modalities": ["video"] })),
    );
}

#[test]
fn speech_costs_all_its_characters_and_needs_no_price_of_tokens() {
    let body = json!({ "model": "m", "input": "abc", "instructions": "low", "voice": "alloy" });
    let of_characters = |row: &str| ModelPrice {
        rows: BTreeMap::from([(Unit::Character, row.parse().unwrap())]),
        ..price()
    };
    assert_eq!(bound_sat(Endpoint::Speech, &body, &of_characters("2")), 12);
    let bound = read(Endpoint::Speech, &body)
        .unwrap()
        .bound(&price())
        .unwrap();
    let unpriced = Err(Unpriced::Unit(Unit::Character));
    assert_eq!(bound.cost(&price(), &sat()), unpriced);
    assert_eq!(bound.cost(&of_characters("0"), &sat()), unpriced);
}

#[test]
fn some_models_think_unless_they_are_told_not_to() {
    let thinks = |model: &str, more: Value| {
        let mut body = chat(more);
        merge(&mut body, json!({ "model": model }));
        read(Endpoint::ChatCompletions, &body)
            .unwrap()
            .asks_to_think()
    };
    for model in [
        "gpt-5-mini",
        "openai/o3",
        "deepseek-ai/DeepSeek-R1",
        "Qwen3-8B",
        "gemini-2.5-pro",
    ] {
        assert!(thinks(model, json!({})), "{model}");
        assert!(
            !thinks(model, json!({ "reasoning_effort": "none" })),
            "{model}"
        );
    }
    assert!(!thinks("gpt-4o", json!({})));
    let both = json!({ "reasoning": { "effort": "none", "max_tokens": 4000 } });
    assert!(thinks("gpt-4o", both));
}

#[test]
fn rejected_predictions_have_no_bound_and_are_not_sold() {
    let body = chat(json!({ "prediction": { "type": "content", "content": "a" } }));
    let refused = read(Endpoint::ChatCompletions, &body).err().unwrap();
    assert_eq!(refused, Refused::Feature("prediction".to_owned()));
}

#[test]
fn pictures_are_priced_by_kind_and_number() {
    let mut priced = price();
    priced
        .images
        .insert("hd/1024x1024".to_owned(), "80".parse().unwrap());
    priced
        .images
        .insert("*/256x256".to_owned(), "16".parse().unwrap());
    let body = |size: &str, quality: &str| json!({ "model": "m", "prompt": "a cat", "n": 2, "size": size, "quality": quality });
    assert_eq!(input_apart(&body("1024x1024", "hd"), &priced), Ok(160));
    assert_eq!(input_apart(&body("256x256", "standard"), &priced), Ok(32));
    assert!(input_apart(&body("512x512", "standard"), &priced).is_err());
}

/// What the pictures of a request cost in sat, without its words.
fn input_apart(body: &Value, price: &ModelPrice) -> Result<u64, Unpriced> {
    let mut bound = read(Endpoint::Images, body).unwrap().bound(price).unwrap();
    bound.input.0 = 0;
    bound.cost(price, &sat()).map(|cost| cost.get() / 1000)
}

#[test]
fn speech_is_counted_by_character() {
    let body = json!({ "model": "m", "input": "äöü", "voice": "alloy" });
    let request = read(Endpoint::Speech, &body).ok().unwrap();
    assert_eq!(request.known_usage().get(Unit::Character), 3);
}

#[test]
fn embeddings_do_not_stream_and_need_no_limit() {
    let body = json!({ "model": "m", "input": ["a", "b"] });
    let request = read(Endpoint::Embeddings, &body).ok().unwrap();
    assert_eq!(request.bound(&price()).unwrap().output.0, 0);
    refused(
        Endpoint::Embeddings,
        &json!({ "model": "m", "input": "a", "stream": true }),
    );
}

#[test]
fn wrong_types_are_named() {
    for (more, name) in [
        (json!({ "n": -1 }), "n"),
        (json!({ "max_tokens": "many" }), "max_tokens"),
        (json!({ "max_tokens": 1.5 }), "max_tokens"),
        (json!({ "stream": 1 }), "stream"),
        (json!({ "model": 7 }), "model"),
        (json!({ "messages": "hello" }), "messages"),
    ] {
        let error = refused(Endpoint::ChatCompletions, &chat(more));
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_stored_item_is_not_reached_by_leaving_out_its_type() {
    for item in [
        json!({ "id": "msg_1" }),
        json!({ "id": "msg_1", "type": null }),
        json!({ "id": "msg_1", "type": "item_reference" }),
    ] {
        let body = json!({ "model": "m", "max_output_tokens": 5, "input": [item] });
        refused(Endpoint::Responses, &body);
    }
    let message = json!([{ "role": "user", "content": "hello" }]);
    let body = json!({ "model": "m", "max_output_tokens": 5, "input": message });
    assert!(read(Endpoint::Responses, &body).is_ok());
}

#[test]
fn an_answer_is_made_shorter_under_every_name_of_its_limit() {
    let limits = json!({
        "model": "m", "messages": [], "max_tokens": 900, "max_completion_tokens": 900
    });
    let mut request = read(Endpoint::ChatCompletions, &limits).unwrap();
    request.lower_output(20);
    let body: Value = serde_json::from_slice(&request.to_body()).unwrap();
    assert_eq!(body["max_tokens"], 20);
    assert_eq!(body["max_completion_tokens"], 20);
}

#[test]
fn a_cache_that_lasts_longer_than_its_price_is_refused_wherever_it_stands() {
    let long = json!({ "type": "ephemeral", "ttl": "1h" });
    let block = json!([{ "type": "text", "text": "x", "cache_control": long }]);
    for more in [
        json!({ "cache_control": long }),
        json!({ "system": block }),
        json!({ "messages": [{ "role": "user", "content": block }] }),
        json!({ "tools": [{ "name": "t", "input_schema": {}, "cache_control": long }] }),
    ] {
        let error = refused(Endpoint::Messages, &message(more));
        assert!(error.contains("1h"), "{error}");
    }
    let usual = json!({ "cache_control": { "type": "ephemeral", "ttl": "5m" } });
    read(Endpoint::Messages, &message(usual)).ok().unwrap();
}

#[test]
fn pictures_of_no_named_model_are_those_of_the_model_that_is_meant() {
    let request = read(Endpoint::Images, &json!({ "prompt": "A coin" }))
        .ok()
        .unwrap();
    assert_eq!(request.model, "dall-e-2");
    let forwarded: Value = serde_json::from_slice(&request.to_body()).unwrap();
    assert_eq!(forwarded["model"], "dall-e-2");
    assert!(
        read(
            Endpoint::Images,
            &json!({ "prompt": "A coin", "model": "" })
        )
        .is_err()
    );
    assert!(read(Endpoint::Embeddings, &json!({ "input": "A coin" })).is_err());
}

#[test]
fn a_chats_limit_stands_where_its_server_looks_for_it() {
    let forwarded = |field, limits: &str, lower: Option<u64>| {
        let rules = RequestRules {
            limit_fields: [("m".to_owned(), field)].into(),
            ..RequestRules::default()
        };
        let body = format!(r#"{{"model":"m","messages":[]{limits}}}"#);
        let request = ModelRequest::read(Endpoint::ChatCompletions, body.as_bytes(), &rules);
        let mut request = request.unwrap();
        if let Some(tokens) = lower {
            request.lower_output(tokens);
        }
        let body: Value = serde_json::from_slice(&request.to_body()).unwrap();
        (
            body["max_tokens"].as_u64(),
            body["max_completion_tokens"].as_u64(),
        )
    };
    let (old, new) = (r#","max_tokens":9"#, r#","max_completion_tokens":9"#);
    for limits in [old, new] {
        assert_eq!(
            forwarded(LimitField::MaxTokens, limits, None),
            (Some(9), None)
        );
        assert_eq!(
            forwarded(LimitField::MaxCompletionTokens, limits, Some(5)),
            (None, Some(5))
        );
        assert_eq!(
            forwarded(LimitField::Both, limits, Some(5)),
            (Some(5), Some(5))
        );
    }
    for field in [
        LimitField::MaxTokens,
        LimitField::MaxCompletionTokens,
        LimitField::Both,
    ] {
        assert_eq!(forwarded(field, "", None), (None, None));
    }
    assert_eq!(
        forwarded(LimitField::MaxTokens, "", Some(5)),
        (Some(5), None)
    );
    assert_eq!(
        forwarded(LimitField::AsWritten, old, Some(5)),
        (Some(5), None)
    );
    assert_eq!(
        forwarded(LimitField::AsWritten, "", Some(5)),
        (None, Some(5))
    );
}

#[test]
fn a_context_may_be_cleared_but_not_summarised() {
    let edit = |kind: &str| {
        let edits = json!([{ "type": kind }]);
        message(json!({ "context_management": { "edits": edits } }))
    };
    for kind in ["clear_tool_uses_20250919", "clear_thinking_20251015"] {
        read(Endpoint::Messages, &edit(kind)).ok().unwrap();
    }
    assert!(refused(Endpoint::Messages, &edit("compact_20260112")).contains("compact_20260112"));
    refused(
        Endpoint::ChatCompletions,
        &chat(json!({ "context_management": {} })),
    );
}

#[test]
fn a_limit_of_zero_is_refused_by_its_name() {
    for (name, endpoint, body) in [
        (
            "max_tokens",
            Endpoint::ChatCompletions,
            chat(json!({ "max_tokens": 0 })),
        ),
        (
            "max_completion_tokens",
            Endpoint::ChatCompletions,
            chat(json!({ "max_completion_tokens": 0 })),
        ),
        (
            "max_output_tokens",
            Endpoint::Responses,
            response(json!({ "max_output_tokens": 0 })),
        ),
        (
            "max_tokens",
            Endpoint::Messages,
            message(json!({ "max_tokens": 0 })),
        ),
        (
            "max_tokens",
            Endpoint::Completions,
            json!({ "model": "m", "prompt": "hello", "max_tokens": 0 }),
        ),
    ] {
        let refused = refused(endpoint, &body);
        assert_eq!(refused, format!("{name} must be 1 at least"));
    }
}

#[test]
fn usage_is_not_asked_for_where_the_server_refuses_that() {
    let rules = RequestRules {
        asks_for_usage: false,
        ..RequestRules::default()
    };
    let options = json!({ "include_usage": true });
    let body = chat(json!({ "stream": true, "stream_options": options })).to_string();
    let request = ModelRequest::read(Endpoint::ChatCompletions, body.as_bytes(), &rules).unwrap();
    assert!(request.wants_usage);
    assert_eq!(forwarded(&request)["stream_options"], Value::Null);
}

#[test]
fn a_request_tells_whether_it_asks_for_thoughts() {
    for (more, asks) in [
        (json!({}), false),
        (json!({ "reasoning_effort": "low" }), true),
        (json!({ "reasoning_effort": "none" }), false),
        (json!({ "reasoning": { "effort": "high" } }), true),
        (json!({ "reasoning": { "enabled": false } }), false),
        (json!({ "reasoning": null }), false),
    ] {
        let request = read(Endpoint::ChatCompletions, &chat(more.clone())).unwrap();
        assert_eq!(request.asks_to_think(), asks, "{more}");
    }
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } });
    let request = read(Endpoint::Messages, &message(thinking)).unwrap();
    assert!(request.asks_to_think());
}

#[test]
fn a_prompt_is_estimated_by_what_its_texts_weigh_but_for_media() {
    let estimated = |content: Value| {
        let body =
            json!({ "model": "gpt-4o-2024", "messages": [{ "role": "user", "content": content }] });
        let body = body.to_string();
        let request = ModelRequest::read(
            Endpoint::ChatCompletions,
            body.as_bytes(),
            &RequestRules::default(),
        );
        let bytes = u64::try_from(body.len()).unwrap();
        request.unwrap().estimated_input() - bytes.div_ceil(4)
    };
    assert_eq!(estimated(json!("plain words of a prompt")), 0);
    // Three bytes more for each of forty digits.
    assert_eq!(estimated(json!("1234567890".repeat(4))), 30);
    let picture = format!("data:image/png;base64,{}", "aB1".repeat(400));
    let picture = json!([{ "type": "image_url", "image_url": { "url": picture } }]);
    assert_eq!(estimated(picture), 0);
}
