//! A usage object in any provider's words.

use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::usage::{Unit, Usage};

/// More than any model has ever read at once, by far.
const ABSURD: u64 = 1 << 40;

/// Every name under which somebody reports something. Numbers that are no whole numbers, or below
/// zero, make the whole report unreadable.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    /// DeepSeek's word for tokens read from its cache.
    prompt_cache_hit_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

impl Report {
    /// In classes that do not overlap; nothing where the parts are more than the whole.
    pub(super) fn to_usage(&self, endpoint: Endpoint) -> Option<Usage> {
        let usage = match endpoint {
            Endpoint::Messages => self.anthropic(),
            Endpoint::Images => self.images(),
            _ if self.input_tokens.is_some() || self.output_tokens.is_some() => self.responses(),
            _ => self.chat(),
        }?;
        let sane = usage.iter().all(|(_, count)| count < ABSURD);
        sane.then_some(usage)
    }

    /// OpenAI's chat form, which most others speak: the prompt includes what came from the cache.
    fn chat(&self) -> Option<Usage> {
        let prompt = self.prompt_tokens.or(self.total_tokens)?;
        let completion = self.completion_tokens.unwrap_or(0);
        let input = self.prompt_tokens_details.as_ref();
        let cached = input.and_then(|it| it.cached_tokens);
        let usage = split_input(
            prompt,
            cached.or(self.prompt_cache_hit_tokens),
            input,
            Usage::of_request(),
        )?;
        let (written, apart) = self.thoughts(prompt, completion);
        let output = self.completion_tokens_details.as_ref();
        split_output(written, apart, output, usage)
    }

    /// What was written in all, and how much of it was thought. Some count thoughts apart from the
    /// completion, and only the total tells.
    fn thoughts(&self, prompt: u64, completion: u64) -> (u64, Option<u64>) {
        let details = self.completion_tokens_details.as_ref();
        let told = details.and_then(|details| details.reasoning_tokens);
        let sum = prompt.saturating_add(completion);
        match self.total_tokens.and_then(|total| total.checked_sub(sum)) {
            Some(beyond) if beyond > 0 => (completion.saturating_add(beyond), Some(beyond)),
            _ => (completion, told),
        }
    }

    /// OpenAI's Responses.
    fn responses(&self) -> Option<Usage> {
        let input = self.input_tokens_details.as_ref();
        let cached = input.and_then(|it| it.cached_tokens);
        let read = self.input_tokens.unwrap_or(0);
        let usage = split_input(read, cached, input, Usage::of_request())?;
        let output = self.output_tokens_details.as_ref();
        let thought = output.and_then(|it| it.reasoning_tokens);
        split_output(self.output_tokens.unwrap_or(0), thought, output, usage)
    }

    /// Anthropic's: the input excludes what was read from and written to the cache.
    fn anthropic(&self) -> Option<Usage> {
        if self.input_tokens.is_none() && self.output_tokens.is_none() {
            return None;
        }
        let usage = Usage::of_request()
            .with(Unit::Input, self.input_tokens.unwrap_or(0))
            .with(Unit::CachedInput, self.cache_read_input_tokens.unwrap_or(0))
            .with(
                Unit::CacheWrite,
                self.cache_creation_input_tokens.unwrap_or(0),
            )
            .with(Unit::Output, self.output_tokens.unwrap_or(0));
        Some(usage)
    }

    /// Pictures: the prompt in tokens of text and pictures, the answer in tokens of pictures.
    fn images(&self) -> Option<Usage> {
        let input = self.input_tokens_details.as_ref();
        let usage = split_input(self.input_tokens?, None, input, Usage::of_request())?;
        Some(usage.with(Unit::ImageOutput, self.output_tokens.unwrap_or(0)))
    }
}

fn split_input(
    all: u64,
    cached: Option<u64>,
    details: Option<&Details>,
    usage: Usage,
) -> Option<Usage> {
    let part = |read: fn(&Details) -> Option<u64>| details.and_then(read).unwrap_or(0);
    let cached = cached.unwrap_or(0);
    let written = part(|it| it.cache_write_tokens);
    let audio = part(|it| it.audio_tokens);
    let image = part(|it| it.image_tokens);
    let plain = [cached, written, audio, image]
        .iter()
        .try_fold(all, |rest, part| rest.checked_sub(*part))?;
    Some(
        usage
            .with(Unit::Input, plain)
            .with(Unit::CachedInput, cached)
            .with(Unit::CacheWrite, written)
            .with(Unit::AudioInput, audio)
            .with(Unit::ImageInput, image),
    )
}

fn split_output(
    all: u64,
    thought: Option<u64>,
    details: Option<&Details>,
    usage: Usage,
) -> Option<Usage> {
    let audio = details.and_then(|it| it.audio_tokens).unwrap_or(0);
    let thought = thought.unwrap_or(0);
    let plain = all.checked_sub(thought)?.checked_sub(audio)?;
    Some(
        usage
            .with(Unit::Output, plain)
            .with(Unit::Reasoning, thought)
            .with(Unit::AudioOutput, audio),
    )
}
