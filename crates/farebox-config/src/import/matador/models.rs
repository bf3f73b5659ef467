//! What matador sold, at the prices that stand in its code: dollars for a thousand tokens, and for a
//! picture by its size.

use std::collections::BTreeMap;

use farebox_meter::Decimal;

use crate::file::ModelSection;

/// Decimals of a dollar.
const CENTS: u32 = 2;
const MILLS: u32 = 3;

/// Text models: the name, cents for a million tokens, and the longest answer, which is what a
/// request without a limit has to be held for.
const TEXT: [(&str, u128, u64); 8] = [
    ("gpt-4", 6_000, 8_192),
    ("gpt-4-0613", 6_000, 8_192),
    ("gpt-4-32k", 12_000, 32_768),
    ("gpt-4-32k-0613", 12_000, 32_768),
    ("gpt-3.5-turbo", 200, 4_096),
    ("gpt-3.5-turbo-0613", 200, 4_096),
    ("gpt-3.5-turbo-16k", 400, 16_384),
    ("gpt-3.5-turbo-16k-0613", 400, 16_384),
];
/// In cents too.
const EMBEDDING: (&str, u128) = ("text-embedding-ada-002", 10);
/// What OpenAI takes for a request for pictures that names no model, as matador's clients send it.
const PICTURES: &str = "dall-e-2";
/// By quality and size, in mills.
const PICTURE_SIZES: [(&str, u128); 3] = [("*/256x256", 16), ("*/512x512", 18), ("*/*", 20)];

pub(super) fn models() -> Vec<ModelSection> {
    let text = TEXT.into_iter().map(text_model);
    text.chain([embedding(), pictures()]).collect()
}

/// matador charged twice the prompt, whatever the answer: reading and writing have one price.
fn text_model((name, cents, longest): (&str, u128, u64)) -> ModelSection {
    let price = Decimal::new(cents, CENTS).ok();
    ModelSection {
        name: name.to_owned(),
        input: price,
        output: price,
        max_output_tokens: Some(longest),
        ..ModelSection::default()
    }
}

fn embedding() -> ModelSection {
    let (name, cents) = EMBEDDING;
    ModelSection {
        name: name.to_owned(),
        input: Decimal::new(cents, CENTS).ok(),
        ..ModelSection::default()
    }
}

/// The picture is what costs; what describes it does not.
fn pictures() -> ModelSection {
    let size = |(size, price): (&str, u128)| {
        let price = Decimal::new(price, MILLS).ok()?;
        Some((size.to_owned(), price))
    };
    ModelSection {
        name: PICTURES.to_owned(),
        input: Some(Decimal::ZERO),
        images: PICTURE_SIZES
            .into_iter()
            .filter_map(size)
            .collect::<BTreeMap<_, _>>(),
        ..ModelSection::default()
    }
}
