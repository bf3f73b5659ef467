use proptest::prelude::*;

use super::*;

fn extract(paths: &[&str], form: Form) -> Extract {
    Extract {
        paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
        form,
    }
}

fn cut(paths: &[&str], form: Form, answer: &str) -> Result<(String, String), NotThere> {
    let extracted = extract(paths, form).apply(answer.as_bytes())?;
    let content_type = extracted.content_type.to_str().unwrap().to_owned();
    Ok((String::from_utf8(extracted.body).unwrap(), content_type))
}

const ANSWER: &str = r#"{"id":"x","choices":[{"text":"a","index":0},
    {"text":"caf\u00e9\n<b>\n\nsecond","index":1.50}],"0":{"~/.":null}}"#;

#[test]
fn a_string_is_given_as_text_and_anything_else_as_json() {
    let only = |path| cut(&[path], Form::Value, ANSWER).unwrap();
    let text = "text/plain; charset=utf-8".to_owned();
    assert_eq!(
        only("choices.1.text"),
        ("café\n<b>\n\nsecond".to_owned(), text)
    );
    let json = "application/json".to_owned();
    assert_eq!(only("choices.1.index"), ("1.50".to_owned(), json.clone()));
    assert_eq!(
        only("/choices/0"),
        (r#"{"text":"a","index":0}"#.to_owned(), json.clone())
    );
    assert_eq!(only("/0/~0~1."), ("null".to_owned(), json));
}

#[test]
fn several_values_are_given_by_their_paths() {
    let paths = ["choices.0.text", "choices.1.index"];
    let (body, content_type) = cut(&paths, Form::Value, ANSWER).unwrap();
    assert_eq!(body, r#"{"choices.0.text":"a","choices.1.index":1.50}"#);
    assert_eq!(content_type, "application/json");
}

#[test]
fn clients_of_lsat_proxy_get_paragraphs() {
    let data = |paths: &[&str]| cut(paths, Form::LsatProxy, ANSWER).unwrap().0;
    assert_eq!(
        data(&["choices.1.text"]),
        r#"{"data":["café\n<b>","second"]}"#
    );
    assert_eq!(
        data(&["choices.0.text", "choices.0.index"]),
        r#"{"data":["a",0]}"#
    );
}

#[test]
fn an_answer_without_the_field_is_a_broken_one() {
    for path in [
        "choices.2.text",
        "choices.text",
        "choice",
        "id.x",
        "choices.0.text.0",
        "choices.-1",
    ] {
        let refused = cut(&[path], Form::Value, ANSWER);
        assert!(matches!(refused, Err(NotThere::Missing(_))), "{path}");
    }
}

#[test]
fn an_answer_that_is_not_json_to_its_end_is_a_broken_one() {
    for answer in [
        "",
        "<html>",
        r#"{"id":"x""#,
        r#"{"id":"x"} trailing"#,
        r#"{"id":"x","a":}"#,
    ] {
        let refused = cut(&["id"], Form::Value, answer);
        assert!(matches!(refused, Err(NotThere::Json(_))), "{answer}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for bad in ["", "a..b", ".a", "a.", "/", "/a//b", &["a"; 17].join(".")] {
        assert_eq!(bad.parse::<Path>(), Err(BadPath), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_answer_panics(answer: Vec<u8>) {
        let _ = extract(&["a.0.b"], Form::Value).apply(&answer);
        let _ = extract(&["a"], Form::LsatProxy).apply(&answer);
    }

    #[test]
    fn any_string_is_given_as_it_is(text: String) {
        let answer = serde_json::json!({ "a": [text] }).to_string();
        prop_assert_eq!(cut(&["a.0"], Form::Value, &answer).unwrap().0, text);
    }
}
