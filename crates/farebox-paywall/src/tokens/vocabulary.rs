//! Which models' vocabularies are public, and counting by them.

use farebox_meter::request::Prompt;
use tiktoken_rs::CoreBPE;

use super::{Counted, Uncounted};

/// A run of letters longer than this, in bytes, is counted in parts: no text has one, and the time
/// for one word grows faster than its length.
const MAX_WORD: usize = 4096;

/// A public vocabulary of OpenAI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// GPT-3.5 and GPT-4.
    Cl100k,
    /// GPT-4o, GPT-4.1, GPT-5, the o series and the open weights.
    O200k,
}

impl Vocabulary {
    /// The vocabulary of a model by its name, with or without the name of its maker.
    pub fn of_model(name: &str) -> Option<Self> {
        /// Longer names first.
        const KNOWN: [(&str, Vocabulary); 11] = [
            ("chatgpt-4o", Vocabulary::O200k),
            ("gpt-oss", Vocabulary::O200k),
            ("gpt-4.1", Vocabulary::O200k),
            ("gpt-4.5", Vocabulary::O200k),
            ("gpt-4o", Vocabulary::O200k),
            ("gpt-5", Vocabulary::O200k),
            ("o1", Vocabulary::O200k),
            ("o3", Vocabulary::O200k),
            ("o4", Vocabulary::O200k),
            ("gpt-3.5-turbo", Vocabulary::Cl100k),
            ("gpt-4", Vocabulary::Cl100k),
        ];
        let name = name.strip_prefix("openai/").unwrap_or(name);
        let is_version = |rest: &str| rest.is_empty() || rest.starts_with(['-', '.', ':']);
        let known = KNOWN
            .iter()
            .find(|(start, _)| name.strip_prefix(start).is_some_and(is_version));
        known.map(|(_, vocabulary)| *vocabulary)
    }

    fn load(self) -> Option<CoreBPE> {
        let loaded = match self {
            Self::Cl100k => tiktoken_rs::cl100k_base(),
            Self::O200k => tiktoken_rs::o200k_base(),
        };
        loaded
            .inspect_err(|error| tracing::error!(%error, "a vocabulary cannot be loaded"))
            .ok()
    }
}

/// The vocabularies that were needed so far.
#[derive(Default)]
pub(super) struct Loaded {
    cl100k: Option<CoreBPE>,
    o200k: Option<CoreBPE>,
}

impl Loaded {
    pub(super) fn count(&mut self, uncounted: &Uncounted) -> Option<Counted> {
        let vocabulary = self.get(uncounted.vocabulary)?;
        Some(Counted {
            input: uncounted
                .prompt
                .as_deref()
                .map(|prompt| count_prompt(vocabulary, prompt)),
            output: count(vocabulary, &uncounted.text),
        })
    }

    fn get(&mut self, vocabulary: Vocabulary) -> Option<&CoreBPE> {
        let place = match vocabulary {
            Vocabulary::Cl100k => &mut self.cl100k,
            Vocabulary::O200k => &mut self.o200k,
        };
        if place.is_none() {
            *place = vocabulary.load();
        }
        place.as_ref()
    }
}

fn count_prompt(vocabulary: &CoreBPE, prompt: &Prompt) -> u64 {
    let mut tokens = prompt.marks();
    prompt.each_text(&mut |text| tokens = tokens.saturating_add(count(vocabulary, text)));
    tokens
}

fn count(vocabulary: &CoreBPE, mut text: &str) -> u64 {
    let mut tokens = 0_u64;
    while !text.is_empty() {
        let (part, rest) = text.split_at(part_end(text));
        let count = vocabulary.count_ordinary(part);
        tokens = tokens.saturating_add(u64::try_from(count).unwrap_or_default());
        text = rest;
    }
    tokens
}

/// Where a text can be cut: nowhere, unless a word in it is too long to be one.
fn part_end(text: &str) -> usize {
    let mut word = 0;
    for (at, letter) in text.char_indices() {
        let is_same = letter.is_whitespace() == text[word..].starts_with(char::is_whitespace);
        if !is_same {
            word = at;
        } else if at - word > MAX_WORD {
            return at;
        }
    }
    text.len()
}
