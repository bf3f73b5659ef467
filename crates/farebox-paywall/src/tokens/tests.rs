use std::sync::mpsc;

use super::*;

const SOON: Duration = Duration::from_secs(60);

fn counted(counter: &TokenCounter, vocabulary: Vocabulary, text: &str) -> Option<Counted> {
    let (tell, told) = mpsc::channel();
    let uncounted = Uncounted {
        vocabulary,
        prompt: None,
        text: text.to_owned(),
    };
    counter.count(uncounted, move |counted| tell.send(counted).unwrap());
    told.recv_timeout(SOON).unwrap()
}

#[test]
fn models_are_known_by_their_names() {
    for (name, vocabulary) in [
        ("gpt-4", Some(Vocabulary::Cl100k)),
        ("gpt-4-turbo-2024-04-09", Some(Vocabulary::Cl100k)),
        ("gpt-3.5-turbo-0125", Some(Vocabulary::Cl100k)),
        ("gpt-4o", Some(Vocabulary::O200k)),
        ("openai/gpt-4o-mini", Some(Vocabulary::O200k)),
        ("gpt-4.1-nano", Some(Vocabulary::O200k)),
        ("gpt-5", Some(Vocabulary::O200k)),
        ("gpt-5.1-codex", Some(Vocabulary::O200k)),
        ("o3-mini", Some(Vocabulary::O200k)),
        ("openai/gpt-oss-120b", Some(Vocabulary::O200k)),
        ("gpt-400", None),
        ("o30", None),
        ("small", None),
        ("meta/gpt-4o", None),
        ("gpt-4all", None),
        ("claude-opus-4", None),
        ("", None),
    ] {
        assert_eq!(Vocabulary::of_model(name), vocabulary, "{name}");
    }
}

/// Published by OpenAI (the cookbook's table of examples) and checked against its own tokenizer.
#[test]
fn texts_have_as_many_tokens_as_their_makers_say() {
    let counter = TokenCounter::default();
    for (text, cl100k, o200k) in [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 9, 8),
    ] {
        for (vocabulary, tokens) in [(Vocabulary::Cl100k, cl100k), (Vocabulary::O200k, o200k)] {
            let seen = counted(&counter, vocabulary, text).unwrap();
            assert_eq!(
                (seen.output, seen.input),
                (tokens, None),
                "{text:?} {vocabulary:?}"
            );
        }
    }
    counter.close();
}

#[test]
fn a_prompt_is_its_texts_and_the_marks_around_each_message() {
    use farebox_meter::{Endpoint, ModelRequest};
    let body = br#"{"model": "gpt-4o", "max_tokens": 9, "messages": [
        {"role": "system", "content": "hello world"},
        {"role": "user", "content": [{"type": "text", "text": "hello world"}]}]}"#;
    let request = ModelRequest::read(Endpoint::ChatCompletions, body, &Default::default());
    let prompt = Prompt::of(request.unwrap()).unwrap();
    let mut loaded = Loaded::default();
    let seen = loaded.count(&Uncounted {
        vocabulary: Vocabulary::O200k,
        prompt: Some(Arc::new(prompt)),
        text: String::new(),
    });
    // 3 and the role for each message, and 3 before the answer.
    assert_eq!(seen.unwrap().input, Some(2 * (4 + 2) + 3));
}

#[test]
fn no_text_takes_long() {
    let mut loaded = Loaded::default();
    for letter in ["a", " ", "中", "\u{1f600}", ".\n"] {
        let text = letter.repeat(128 * 1024 / letter.len());
        let uncounted = Uncounted {
            vocabulary: Vocabulary::Cl100k,
            prompt: None,
            text,
        };
        let started = std::time::Instant::now();
        let output = loaded.count(&uncounted).unwrap().output;
        assert!(output > 1000 && output <= 128 * 1024, "{letter:?} {output}");
        assert!(started.elapsed() < SOON);
    }
}

#[test]
fn who_cannot_be_counted_is_told_so() {
    let counter = TokenCounter::default();
    counter.close();
    assert_eq!(counted(&counter, Vocabulary::Cl100k, "hello"), None);
}

#[test]
fn a_full_queue_and_a_closing_one_tell_every_asker_once() {
    let counter = TokenCounter::default();
    let (tell, told) = mpsc::channel();
    let all = 4 * MAX_WAITING;
    for _ in 0..all {
        let (tell, text) = (tell.clone(), "hello world ".repeat(1000));
        let uncounted = Uncounted {
            vocabulary: Vocabulary::O200k,
            prompt: None,
            text,
        };
        counter.count(uncounted, move |counted| tell.send(counted).unwrap());
    }
    counter.close();
    drop(tell);
    let answers: Vec<_> = told.iter().collect();
    assert_eq!(answers.len(), all);
    assert!(answers.contains(&None));
}

/// Digits of this alphabet, the same each time.
fn at_random(alphabet: &str, length: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        alphabet[usize::try_from(state).unwrap() % alphabet.len()]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The vocabularies are those that tiktoken-rs ships. Others, such as those of Llama and Qwen, have one
/// token for each digit, which is counted too.
#[test]
fn what_is_estimated_is_never_less_than_what_vocabularies_count() {
    const SMALL: &str = "abcdefghijklmnopqrstuvwxyz";
    let digits = "0123456789";
    let capitals = SMALL.to_uppercase();
    let base64 = format!("{capitals}{SMALL}{digits}+/");
    let every = |first: u32, step: usize| {
        let characters = (first..first + 11_000).step_by(step);
        characters.filter_map(char::from_u32).collect::<String>()
    };
    let texts = [
        at_random(digits, 900),
        at_random("0123456789abcdef", 900),
        at_random("0123456789ABCDEF", 900),
        at_random(&base64, 900),
        at_random(&format!("{capitals}234567"), 900),
        at_random(&format!("{SMALL}{digits}"), 900),
        at_random(&capitals, 900),
        at_random("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 900),
        "1 2 3\n4\n5\n6 7 8 9 ".repeat(20),
        "3.1415, 2.7182; -1.6180e-19 ".repeat(20),
        "7f9c2ba4-e88f-4327-8cf8-26b4ee1d3b5a\n".repeat(10),
        "{\"a\":[1,22,333],\"b\":{\"c\":\"x1\"}}".repeat(10),
        every(0x4e00, 53),
        every(0x3400, 31),
        every(0xac00, 29),
        every(0x1_f300, 97),
        "人工智能是计算机科学的一个分支,它企图了解智能的实质。".to_owned(),
        "人工知能とは、計算という概念とコンピュータを用いて知能を研究する。".to_owned(),
        "인공지능은 인간의 학습능력, 추론능력을 구현하려는 분야이다.".to_owned(),
        "The quick brown fox jumps over the lazy dog, and nobody minds.".to_owned(),
    ];
    let counter = TokenCounter::default();
    for text in texts {
        let bytes = u64::try_from(text.len()).unwrap();
        let estimate = (bytes + farebox_meter::density::surplus(&text)).div_ceil(4);
        for vocabulary in [Vocabulary::Cl100k, Vocabulary::O200k] {
            let tokens = counted(&counter, vocabulary, &text).unwrap().output;
            assert!(
                (tokens..=bytes).contains(&estimate),
                "{estimate} for {tokens} of {vocabulary:?}: {text}"
            );
        }
    }
}
