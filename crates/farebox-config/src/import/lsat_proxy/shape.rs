//! The body that lsat-proxy filled in, the field that it sold, and the capabilities that it named.

use std::collections::BTreeMap;

use yaml_rust2::Yaml;

use crate::choice::{CapabilitiesSetting, FieldSetting, FieldTable, FieldType, Texts};
use crate::file::{FormatSetting, RequestSection, ResponseSection};
use crate::import::Notes;

/// The body, with its fields. lsat-proxy sent it with POST, whatever the client's method was.
pub(super) fn request(backend: &Yaml, notes: &mut Notes<'_>) -> Option<RequestSection> {
    let Some(body) = backend["body"].as_str() else {
        if !backend["pass_fields"].is_badvalue() {
            let text =
                "nothing to put them into without a body; the client's own body is forwarded";
            notes.add("pass_fields", text);
        }
        return None;
    };
    Some(RequestSection {
        body: body.to_owned(),
        pass_fields: pass_fields(backend, body, notes),
        ..RequestSection::default()
    })
}

/// The fields, from text too: lsat-proxy read nothing else. It needed all of them; those that the
/// body has a value for are not.
fn pass_fields(
    backend: &Yaml,
    body: &str,
    notes: &mut Notes<'_>,
) -> BTreeMap<String, FieldSetting> {
    let template: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let Some(written) = backend["pass_fields"].as_hash() else {
        let text = "there are none, so the body is sent as it is, whatever the client sends; name the \
                    fields that clients may fill in";
        notes.add("pass_fields", text);
        return BTreeMap::new();
    };
    let mut fields = BTreeMap::new();
    for (field, kind) in written {
        let (Some(field), Some(kind)) = (field.as_str(), kind.as_str().and_then(field_type)) else {
            let field = field.as_str().unwrap_or("a field without a name");
            let text = format!("{field} is of no type that lsat-proxy knew, and was left out");
            notes.add("pass_fields", text);
            continue;
        };
        let table = FieldTable {
            kind,
            to: None,
            required: template.get(field).is_none(),
            from_text: kind != FieldType::String,
        };
        fields.insert(field.to_owned(), FieldSetting::Table(table));
    }
    fields
}

fn field_type(written: &str) -> Option<FieldType> {
    match written {
        "string" => Some(FieldType::String),
        "int" => Some(FieldType::Int),
        "float" => Some(FieldType::Float),
        _ => None,
    }
}

/// The field that is sold, in the form that lsat-proxy's clients read.
pub(super) fn response(backend: &Yaml, notes: &mut Notes<'_>) -> Option<ResponseSection> {
    let path = backend["response_fields"].as_str()?.trim();
    if path.is_empty() {
        notes.add("response_fields", "empty; the whole answer is returned");
        return None;
    }
    Some(ResponseSection {
        fields: Texts::One(path.to_owned()),
        format: FormatSetting::LsatProxy,
    })
}

/// The capabilities, which lsat-proxy never looked at.
pub(super) fn capabilities(backend: &Yaml, notes: &mut Notes<'_>) -> Option<CapabilitiesSetting> {
    let written = ["capabilties", "capabilities"].map(|key| backend[key].as_str());
    let written = written.into_iter().flatten().next()?;
    let names = written.split(',').map(str::trim);
    let names: Vec<_> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return None;
    }
    let text = "every request needs all of them now, which lsat-proxy never checked; say which requests \
                need which with { name = { http_methods = […], paths = […] } }";
    notes.add("capabilities", text);
    Some(CapabilitiesSetting::Listed(names))
}
