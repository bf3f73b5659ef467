use proptest::prelude::*;

use super::*;
use crate::shape::FieldKind;

fn field(name: &str, kind: FieldKind, to: &str) -> Field {
    Field {
        name: name.to_owned(),
        kind,
        from_text: false,
        required: false,
        to: to.split('/').map(str::to_owned).collect(),
    }
}

fn template(body: &str, fields: Vec<Field>) -> Result<Template, BadTemplate> {
    Template::new(body, fields, OtherFields::Drop, Method::POST)
}

fn completion() -> Template {
    let fields = vec![
        field("prompt", FieldKind::Text, "prompt"),
        field("max_tokens", FieldKind::Integer, "max_tokens"),
        field("temperature", FieldKind::Number, "temperature"),
    ];
    let body = r#"{"model": "m", "prompt": "Say this", "max_tokens": 57, "stop": [ "\u000a" ]}"#;
    template(body, fields).unwrap()
}

fn filled(template: &Template, sent: &str) -> Result<String, BadFields> {
    let body = template.fill(sent.as_bytes())?;
    Ok(String::from_utf8(body).unwrap())
}

#[test]
fn who_sends_nothing_gets_the_template_itself() {
    let whole = r#"{"model":"m","prompt":"Say this","max_tokens":57,"stop":[ "\u000a" ]}"#;
    for nothing in ["", " \r\n", "{}"] {
        assert_eq!(filled(&completion(), nothing).unwrap(), whole);
    }
}

#[test]
fn fields_land_in_their_places_as_they_were_written() {
    let sent =
        r#"{ "temperature": 0.70, "prompt": "caf\u00e9 \"x\"", "max_tokens": 9007199254740993 }"#;
    let expected = r#"{"model":"m","prompt":"caf\u00e9 \"x\"","max_tokens":9007199254740993,"stop":[ "\u000a" ],"temperature":0.70}"#;
    assert_eq!(filled(&completion(), sent).unwrap(), expected);
}

#[test]
fn nothing_else_of_a_body_is_passed_on() {
    let sent = r#"{"model":"dear","prompt":"p","stream":true,"stop":null,"__proto__":{"a":1}}"#;
    let expected = r#"{"model":"m","prompt":"p","max_tokens":57,"stop":[ "\u000a" ]}"#;
    assert_eq!(filled(&completion(), sent).unwrap(), expected);
}

#[test]
fn other_fields_are_refused_by_name_where_the_seller_wants_that() {
    let fields = vec![field("prompt", FieldKind::Text, "prompt")];
    let strict = Template::new("{}", fields, OtherFields::Refuse, Method::POST).unwrap();
    assert_eq!(
        filled(&strict, r#"{"prompt":"p"}"#).unwrap(),
        r#"{"prompt":"p"}"#
    );
    let refused = filled(&strict, r#"{"prompt":"p","model":"dear"}"#);
    assert_eq!(refused, Err(BadFields::NotTaken("model".to_owned())));
}

#[test]
fn a_wrong_kind_names_the_field_and_what_was_expected() {
    let refused = filled(&completion(), r#"{"max_tokens":"57"}"#).unwrap_err();
    assert_eq!(refused.about(), Some(("max_tokens", Some("an integer"))));
    assert_eq!(
        refused.to_string(),
        "\"max_tokens\" in the body has to be an integer"
    );
}

#[test]
fn a_name_twice_and_what_is_no_object_are_refused() {
    for bad in [
        r#"{"prompt":"a","prompt":"b"}"#,
        r#"{"prompt":"a","pr\u006fmpt":"b"}"#,
        r#"{"unknown":{"a":1,"a":2}}"#,
        "[]",
        "\"prompt\"",
        "{",
        "prompt=a",
    ] {
        let refused = filled(&completion(), bad);
        assert!(matches!(refused, Err(BadFields::Json(_))), "{bad}");
    }
    let long = format!("{{\"{0}\":1,\"{0}\":2}}", "n".repeat(5000));
    assert!(filled(&completion(), &long).unwrap_err().to_string().len() < 200);
}

#[test]
fn a_field_that_is_needed_is_missed() {
    let needed = Field {
        required: true,
        ..field("prompt", FieldKind::Text, "prompt")
    };
    let template = template("{}", vec![needed]).unwrap();
    for without in ["", "{}", r#"{"Prompt":"p"}"#] {
        let refused = filled(&template, without).unwrap_err();
        assert_eq!(refused.about(), Some(("prompt", Some("a string"))));
    }
}

#[test]
fn a_field_lands_deep_in_objects_and_lists() {
    let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":""}],
                   "options":{"a":1}}"#;
    let fields = vec![
        field("prompt", FieldKind::Text, "messages/1/content"),
        field("seed", FieldKind::Integer, "options/seed"),
        field("name", FieldKind::Text, "messages/1/name"),
    ];
    let template = template(body, fields).unwrap();
    assert_eq!(
        filled(&template, r#"{"prompt":"hi","seed":7}"#).unwrap(),
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}],"options":{"a":1,"seed":7}}"#
    );
}

#[test]
fn a_whole_item_of_a_list_can_be_a_place() {
    let fields = vec![field("second", FieldKind::Json, "list/1")];
    let template = template(r#"{"list":[1,2,3]}"#, fields).unwrap();
    assert_eq!(filled(&template, "").unwrap(), r#"{"list":[1,2,3]}"#);
    let sent = r#"{"second":{"a":[]}}"#;
    assert_eq!(
        filled(&template, sent).unwrap(),
        r#"{"list":[1,{"a":[]},3]}"#
    );
}

#[test]
fn a_template_has_to_have_room_for_its_fields() {
    let refused = |body: &str, fields: Vec<Field>| template(body, fields).unwrap_err().to_string();
    let deep = field("a", FieldKind::Text, "x/y");
    assert!(refused("{}", vec![deep.clone()]).contains("nothing is at \"/x\""));
    assert!(refused(r#"{"x":"text"}"#, vec![deep.clone()]).contains("\"/x/y\""));
    assert!(refused(r#"{"x":[]}"#, vec![field("a", FieldKind::Text, "x/0")]).contains("\"/x/0\""));
    let same = field("b", FieldKind::Text, "x/y");
    assert!(refused(r#"{"x":{}}"#, vec![deep.clone(), same]).contains("another field"));
    let around = field("b", FieldKind::Json, "x");
    assert!(refused(r#"{"x":{}}"#, vec![deep.clone(), around.clone()]).contains("another field"));
    assert!(refused(r#"{"x":{}}"#, vec![around, deep]).contains("\"/x/y\""));
}

#[test]
fn a_template_is_one_object_with_limits() {
    for bad in ["", "[]", "{\"a\":1,\"a\":2}", "{{prompt}}"] {
        assert!(
            matches!(template(bad, vec![]), Err(BadTemplate::Json(_))),
            "{bad}"
        );
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_TEMPLATE_BYTES));
    assert_eq!(template(&long, vec![]).unwrap_err(), BadTemplate::TooLong);
    let many = |at: usize| field(&format!("f{at}"), FieldKind::Json, &format!("f{at}"));
    let many = (0..=MAX_FIELDS).map(many).collect();
    assert_eq!(
        template("{}", many).unwrap_err(),
        BadTemplate::TooManyFields
    );
}

proptest! {
    #[test]
    fn whatever_is_sent_only_the_places_differ(
        prompt: String,
        tokens: i64,
        other_name in "[a-z_]{1,12}",
        other: String,
    ) {
        prop_assume!(!["prompt", "max_tokens", "temperature"].contains(&other_name.as_str()));
        let sent = serde_json::json!({ "prompt": prompt, "max_tokens": tokens, other_name: other });
        let body = completion().fill(sent.to_string().as_bytes()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "model": "m", "prompt": prompt, "max_tokens": tokens, "stop": ["\n"]
        });
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_panic_and_what_comes_out_is_one_object(sent: Vec<u8>) {
        if let Ok(body) = completion().fill(&sent) {
            prop_assert!(Object::parse(&body).is_ok());
        }
    }
}
