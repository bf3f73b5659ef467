//! What is made of a route's requests and answers: templates that can be filled, paths that can be
//! followed, and the combinations that make no sense.

use std::sync::Arc;

use farebox_gateway::shape::{
    BadTemplate, Extract, Field, FieldKind, MAX_PATHS, Path, Shape, Template,
};
use farebox_paywall::sale::{Offer, Sale};
use http::Method;

use super::at::At;
use crate::choice::{FieldSetting, FieldType};
use crate::file::{RequestSection, ResponseSection, RouteSection};

/// The shape of a route, if it has one.
pub(super) fn shape(route: &RouteSection, sale: Option<&Sale>, at: &At<'_>) -> Option<Box<Shape>> {
    check_sale(route, sale, at);
    let request = route.request.as_ref();
    let request = request.and_then(|request| template(request, &at.key("request")));
    let response = route.response.as_ref();
    let response = response.and_then(|response| extract(response, &at.key("response")));
    let shape = Shape {
        request: request.map(Arc::new),
        response: response.map(Arc::new),
    };
    (shape.request.is_some() || shape.response.is_some()).then(|| Box::new(shape))
}

/// Prices by use are found in the very request or answer that a shape would change.
fn check_sale(route: &RouteSection, sale: Option<&Sale>, at: &At<'_>) {
    let models = "makes no sense with model_tokens, which reads and writes the bodies itself";
    let by_answer = "only with a price that is known before the answer: an amount, or one in fiat";
    let (request, response) = match sale.map(|sale| &sale.offer) {
        None | Some(Offer::Flat { .. }) => return,
        Some(offer) if offer.models().is_some() => (Some(models), models),
        Some(_) => (None, by_answer),
    };
    if let Some(reason) = request.filter(|_| route.request.is_some()) {
        at.key("request").note(reason);
    }
    if route.response.is_some() {
        at.key("response").note(response);
    }
}

fn template(section: &RequestSection, at: &At<'_>) -> Option<Template> {
    let method = method(section, at);
    let before = at.mistakes();
    let fields: Vec<_> = section
        .pass_fields
        .iter()
        .filter_map(|(name, setting)| field(name, setting, at))
        .collect();
    if at.mistakes() > before {
        return None;
    }
    let others = section.other_fields.into();
    match Template::new(&section.body, fields, others, method?) {
        Ok(template) => Some(template),
        Err(error) => {
            let key = match &error {
                BadTemplate::NoPlace { field, .. } | BadTemplate::Taken { field } => {
                    at.key("pass_fields").key(field)
                }
                BadTemplate::TooManyFields => at.key("pass_fields"),
                BadTemplate::TooLong | BadTemplate::Json(_) => at.key("body"),
            };
            key.note(error);
            None
        }
    }
}

fn method(section: &RequestSection, at: &At<'_>) -> Option<Method> {
    let sends_body = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let method = sends_body
        .into_iter()
        .find(|method| method.as_str() == section.method);
    if method.is_none() {
        at.key("method")
            .note("expected a method that sends a body: POST, PUT, PATCH or DELETE");
    }
    method
}

fn field(name: &str, setting: &FieldSetting, at: &At<'_>) -> Option<Field> {
    let table = setting.table();
    let key = at.key("pass_fields").key(name);
    let to = match &table.to {
        None => vec![name.to_owned()],
        Some(written) => {
            let steps = pointer(written);
            if steps.is_none() {
                key.key("to")
                    .note("expected a JSON pointer such as /messages/0/content");
            }
            steps?
        }
    };
    Some(Field {
        name: name.to_owned(),
        kind: match table.kind {
            FieldType::String => FieldKind::Text,
            FieldType::Int => FieldKind::Integer,
            FieldType::Float => FieldKind::Number,
            FieldType::Bool => FieldKind::Bool,
            FieldType::Json => FieldKind::Json,
        },
        from_text: table.from_text,
        required: table.required,
        to,
    })
}

fn pointer(written: &str) -> Option<Vec<String>> {
    let steps = written.strip_prefix('/')?.split('/');
    let steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~"));
    Some(steps.collect())
}

fn extract(section: &ResponseSection, at: &At<'_>) -> Option<Extract> {
    let key = at.key("fields");
    let written = section.fields.as_ref();
    if written.is_empty() || written.len() > MAX_PATHS {
        key.note(format!(
            "expected 1 to {MAX_PATHS} paths such as \"choices.0.text\""
        ));
        return None;
    }
    let parse = |path: &String| key.take(path.parse::<Path>());
    let paths: Vec<_> = written.iter().map(parse).collect();
    Some(Extract {
        paths: paths.into_iter().collect::<Option<_>>()?,
        form: section.format.into(),
    })
}
