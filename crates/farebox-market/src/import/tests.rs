//! Price lists of others, each in a small piece written after its form.

use farebox_meter::Unit;

use super::{BadList, ListForm, PriceList, Selection};

const MODELS_DEV: &str = r#"{
  "openai": {"id": "openai", "name": "OpenAI", "models": {
    "gpt-mini": {"id": "gpt-mini", "cost": {"input": 0.15, "output": 0.6, "cache_read": 0.075}, "limit": {"context": 128000, "output": 16384}},
    "gpt-audio": {"cost": {"input": 2.5, "output": 10, "input_audio": 40, "output_audio": 80}, "limit": {"context": 128000, "output": 16384}},
    "embed": {"cost": {"input": 0.02, "output": 0}, "limit": {"context": 8191, "output": 1536}},
    "gift": {"cost": {"input": 0, "output": 0}},
    "unpriced": {"limit": {"context": 1}}
  }},
  "other": {"models": {
    "gpt-mini": {"cost": {"input": 0.30, "output": 0.6}},
    "tiers": {"cost": {"input": 1.25, "output": 10, "context_over_200k": {"input": 2.5, "output": 15}}},
    "odd": {"cost": {"input": -1, "output": 1}},
    "slip": {"cost": {"input": 150000, "output": 1}},
    "broken": {"cost": "dear"}
  }}
}"#;

const LITELLM: &str = r#"{
  "sample_spec": {"mode": "one of: chat, …", "input_cost_per_token": 0.0},
  "small": {"mode": "chat", "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08, "input_cost_per_token_batches": 7.5e-08, "output_cost_per_token_priority": 1e-06, "max_input_tokens": 128000, "max_output_tokens": 16384, "litellm_provider": "openai", "search_context_cost_per_query": {"search_context_size_low": 0.03}},
  "claude": {"mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06, "output_cost_per_reasoning_token": 1.5e-05},
  "long": {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_cost_per_token_above_200k_tokens": 2e-06},
  "paint": {"mode": "image_generation", "output_cost_per_image": 0.04},
  "fallback_generalizations": {"rules": [{"name": "x"}]},
  "comment": "not a model",
  "rank": {"mode": "rerank", "input_cost_per_query": 0.002},
  "per-million": {"mode": "chat", "input_cost_per_token": 0.15, "output_cost_per_token": 0.6}
}"#;

const OPENROUTER: &str = r#"{"data": [
  {"id": "openai/gpt-mini", "context_length": 128000, "top_provider": {"max_completion_tokens": 16384}, "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "request": "0.001", "image": "0.000217", "web_search": "0", "internal_reasoning": "0", "input_cache_read": "0.000000075", "input_cache_write": "0.0000002"}},
  {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
  {"id": "free:free", "pricing": {"prompt": "0", "completion": "0"}},
  {"id": "node", "pricing": {"prompt": 1.1e-07, "completion": 4.4e-07, "max_prompt_cost": 0.01, "max_cost": 0.02}},
  {"id": "plain", "object": "model"},
  {"pricing": {"prompt": "0.000001"}},
  {"id": "strange", "pricing": {"prompt": "0.000001", "completion": "0.000001", "per_thought": "0.1"}}
]}"#;

fn read(form: ListForm, list: &str, selection: &Selection) -> PriceList {
    PriceList::read(form, list.as_bytes(), selection).unwrap()
}

fn all(form: ListForm, list: &str) -> PriceList {
    read(form, list, &Selection::default())
}

fn row(list: &PriceList, model: &str, unit: Unit) -> Option<String> {
    let price = list.table.find(model).unwrap_or_else(|| panic!("{model}"));
    price.rows.get(&unit).map(ToString::to_string)
}

#[track_caller]
fn why(list: &PriceList, model: &str) -> String {
    let left = list.left_out.iter().find(|left| left.model == model);
    left.unwrap_or_else(|| panic!("{model} is not left out"))
        .reason
        .clone()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn models_dev_prices_a_million_tokens() {
    let list = all(ListForm::ModelsDev, MODELS_DEV);
    assert_eq!(row(&list, "gpt-audio", Unit::AudioOutput), some("0.00008"));
    assert_eq!(row(&list, "gpt-audio", Unit::Input), some("0.0000025"));
    // Nothing for the answer of an embedding is no price, and no chat can be sold by it.
    assert_eq!(row(&list, "embed", Unit::Input), some("0.00000002"));
    assert_eq!(row(&list, "embed", Unit::Output), None);
    assert!(why(&list, "openai/gift").contains("free = true"));
    assert!(why(&list, "openai/unpriced").contains("no price"));
    assert!(why(&list, "other/tiers").contains("context_over_200k"));
    assert!(why(&list, "other/odd").contains("-1"));
    assert!(why(&list, "other/slip").contains("absurd"));
    why(&list, "other/broken");
}

#[test]
fn another_name_for_the_cached_price_leaves_no_model_out() {
    let list = r#"{"deepseek-v4-flash": {"mode": "chat", "input_cost_per_token": 1.4e-07, "output_cost_per_token": 2.8e-07, "cache_read_input_token_cost": 2.8e-09, "input_cost_per_token_cache_hit": 2.8e-09, "cache_creation_input_token_cost": 0.0}}"#;
    let list = all(ListForm::LiteLlm, list);
    let row = |unit| row(&list, "deepseek-v4-flash", unit);
    assert_eq!(row(Unit::CachedInput), some("0.0000000028"));
    assert_eq!(row(Unit::CacheWrite), None);
}

#[test]
fn a_token_of_thousands_of_dollars_a_million_is_not_on_sale() {
    let list = r#"{"new": {"mode": "chat", "input_cost_per_token": 0.0056, "output_cost_per_token": 0.0056},
                   "dear": {"mode": "chat", "input_cost_per_token": 0.00015, "output_cost_per_token": 0.0006}}"#;
    let list = all(ListForm::LiteLlm, list);
    assert!(why(&list, "new").contains("absurd"));
    assert_eq!(row(&list, "dear", Unit::Output), some("0.0006"));
}

#[test]
fn a_name_with_two_prices_is_sold_at_neither_until_one_is_selected() {
    let list = all(ListForm::ModelsDev, MODELS_DEV);
    assert!(list.table.find("gpt-mini").is_none());
    assert!(why(&list, "other/gpt-mini").contains("select one"));
    let selection = Selection {
        only: vec!["openai/*".to_owned()],
        ..Selection::default()
    };
    let list = read(ListForm::ModelsDev, MODELS_DEV, &selection);
    assert_eq!(
        row(&list, "gpt-mini", Unit::CachedInput),
        some("0.000000075")
    );
    let price = list.table.find("gpt-mini").unwrap();
    assert_eq!(price.context_tokens, Some(128_000));
    assert_eq!(price.max_output_tokens, Some(16_384));
    assert!(
        list.left_out
            .iter()
            .all(|left| left.model.starts_with("openai/"))
    );
}

#[test]
fn litellm_prices_a_token_and_tiers_that_are_sold_are_not_passed_over() {
    let list = all(ListForm::LiteLlm, LITELLM);
    assert_eq!(list.table.len(), 3);
    assert_eq!(row(&list, "small", Unit::Input), some("0.00000015"));
    assert_eq!(row(&list, "small", Unit::Output), some("0.0000006"));
    // Requests to keep it for an hour are refused.
    assert_eq!(row(&list, "claude", Unit::CacheWrite), some("0.00000375"));
    assert_eq!(row(&list, "paint", Unit::Image), some("0.04"));
    assert!(why(&list, "long").contains("above_200k"));
    why(&list, "fallback_generalizations");
    why(&list, "comment");
    assert!(why(&list, "rank").contains("rerank"));
    assert!(why(&list, "per-million").contains("absurd"));
}

#[test]
fn openrouter_and_upstreams_price_a_token_in_text_or_numbers() {
    let list = all(ListForm::OpenRouter, OPENROUTER);
    assert_eq!(list.table.len(), 2);
    assert_eq!(row(&list, "openai/gpt-mini", Unit::Request), some("0.001"));
    assert_eq!(
        row(&list, "openai/gpt-mini", Unit::CacheWrite),
        some("0.0000002")
    );
    assert_eq!(row(&list, "openai/gpt-mini", Unit::Reasoning), None);
    assert_eq!(row(&list, "node", Unit::Output), some("0.00000044"));
    for model in [
        "openrouter/auto",
        "free:free",
        "plain",
        "data[5]",
        "strange",
    ] {
        why(&list, model);
    }
}

#[test]
fn a_markup_and_new_names_are_applied_while_reading() {
    let selection = Selection {
        only: vec!["openai/*".to_owned()],
        rename: vec![("openai/*".to_owned(), "*".to_owned())],
        markup: 200_000,
    };
    let list = read(ListForm::OpenRouter, OPENROUTER, &selection);
    assert_eq!(list.table.len(), 1);
    assert_eq!(row(&list, "gpt-mini", Unit::Output), some("0.00000072"));
}

#[test]
fn what_is_no_list_is_an_error() {
    for (form, list) in [
        (ListForm::ModelsDev, "[]"),
        (ListForm::LiteLlm, "[1]"),
        (ListForm::OpenRouter, "{\"error\": \"no\"}"),
        (ListForm::OpenRouter, "<html>"),
    ] {
        let read = PriceList::read(form, list.as_bytes(), &Selection::default());
        assert!(matches!(read, Err(BadList::Form(_))), "{list}");
    }
}
