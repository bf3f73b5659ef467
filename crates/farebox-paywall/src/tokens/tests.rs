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
