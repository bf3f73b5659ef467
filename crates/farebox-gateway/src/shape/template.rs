//! A JSON body of the seller's with places for what clients send.
//!
//! Everything but those places keeps its text to the letter. A place keeps the template's own value
//! where the client sends none, and vanishes where there is neither.

use std::borrow::Cow;

use farebox_meter::json::{JsonError, Object};
use http::Method;
use serde_json::value::RawValue;

use super::field::Field;
use crate::refusal::BadFields;

/// The longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// The most fields of one template.
pub const MAX_FIELDS: usize = 64;

/// What becomes of fields that the template does not take. Neither way do they reach the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherFields {
    /// They are left out.
    Drop,
    /// The request is refused.
    Refuse,
}

/// How the requests of a route are written.
#[derive(Debug)]
pub struct Template {
    method: Method,
    fields: Vec<Field>,
    others: OtherFields,
    root: Node,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Longer than [`MAX_TEMPLATE_BYTES`].
    #[error("longer than {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
    /// Not one JSON object that everybody reads alike.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// More than [`MAX_FIELDS`].
    #[error("more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// What should lie around a field's place is not in the template.
    #[error("{field:?} has no place in the body: nothing is at {at:?} to put it into")]
    NoPlace {
        /// The field.
        field: String,
        /// Where the template ends.
        at: String,
    },
    /// Two fields for one place, or one inside the other.
    #[error("{field:?} lands where another field does")]
    Taken {
        /// The second of them.
        field: String,
    },
}

/// A part of a template. Names and texts are JSON, as they are written out.
#[derive(Debug)]
enum Node {
    Text(String),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    Place {
        field: usize,
        default: Option<String>,
    },
}

impl Template {
    /// The template `body`, with places for `fields`.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn new(
        body: &str,
        fields: Vec<Field>,
        others: OtherFields,
        method: Method,
    ) -> Result<Self, BadTemplate> {
        if body.len() > MAX_TEMPLATE_BYTES {
            return Err(BadTemplate::TooLong);
        }
        if fields.len() > MAX_FIELDS {
            return Err(BadTemplate::TooManyFields);
        }
        let mut root = Node::of(&Object::parse(body.as_bytes())?);
        for (place, field) in fields.iter().enumerate() {
            root.make_place(place, field)?;
        }
        Ok(Self {
            method,
            fields,
            others,
            root,
        })
    }

    /// The method that the upstream is asked with.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The body to forward for what a client sent. Nothing, or only space, counts as no field.
    pub(crate) fn fill(&self, sent: &[u8]) -> Result<Vec<u8>, BadFields> {
        let sent = if sent.trim_ascii().is_empty() {
            b"{}"
        } else {
            sent
        };
        let object = Object::parse(sent)?;
        self.check_others(&object)?;
        let values: Result<Vec<_>, _> =
            self.fields.iter().map(|it| value_of(it, &object)).collect();
        let mut out = Vec::with_capacity(sent.len() + MAX_TEMPLATE_BYTES / 16);
        self.root.write(&values?, &mut out);
        Ok(out)
    }

    fn check_others(&self, object: &Object) -> Result<(), BadFields> {
        if self.others == OtherFields::Drop {
            return Ok(());
        }
        let taken = |name: &str| self.fields.iter().any(|field| field.name == name);
        match object.names().find(|name| !taken(name)) {
            Some(other) => Err(BadFields::not_taken(other)),
            None => Ok(()),
        }
    }
}

fn value_of<'a>(field: &Field, object: &'a Object) -> Result<Option<Cow<'a, str>>, BadFields> {
    let expected = field.kind.as_str();
    let Some(written) = object.get(&field.name) else {
        if field.required {
            let field = field.name.clone();
            return Err(BadFields::Missing { field, expected });
        }
        return Ok(None);
    };
    let value = field.read(written);
    value.map(Some).ok_or_else(|| BadFields::WrongKind {
        field: field.name.clone(),
        expected,
    })
}

impl Node {
    fn of(object: &Object) -> Self {
        let members = object.names().map(|name| {
            let text = object.get(name).map_or("null", RawValue::get);
            (quoted(name), Self::Text(text.to_owned()))
        });
        Self::Object(members.collect())
    }

    /// Makes a place for a field at the end of its steps.
    fn make_place(&mut self, index: usize, field: &Field) -> Result<(), BadTemplate> {
        let Some((last, way)) = field.to.split_last() else {
            return Err(field.no_place(&[]));
        };
        let mut here = self;
        for (depth, step) in way.iter().enumerate() {
            here.open();
            let around = &field.to[..=depth];
            here = here.child(step).ok_or_else(|| field.no_place(around))?;
        }
        here.open();
        here.place(last, index, field)
    }

    fn place(&mut self, step: &str, index: usize, field: &Field) -> Result<(), BadTemplate> {
        if let Some(child) = self.child(step) {
            let Self::Text(text) = child else {
                let field = field.name.clone();
                return Err(BadTemplate::Taken { field });
            };
            *child = Self::Place {
                field: index,
                default: Some(std::mem::take(text)),
            };
            return Ok(());
        }
        let Self::Object(members) = self else {
            return Err(field.no_place(&field.to));
        };
        let place = Self::Place {
            field: index,
            default: None,
        };
        members.push((quoted(step), place));
        Ok(())
    }

    /// Takes an object or a list apart, so that a part of it can be replaced.
    fn open(&mut self) {
        let Self::Text(text) = self else {
            return;
        };
        if text.starts_with('{')
            && let Ok(object) = Object::parse(text.as_bytes())
        {
            *self = Self::of(&object);
        } else if text.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            let items = items.iter().map(|item| Self::Text(item.get().to_owned()));
            *self = Self::List(items.collect());
        }
    }

    fn child(&mut self, step: &str) -> Option<&mut Self> {
        match self {
            Self::Object(members) => {
                let name = quoted(step);
                let member = members.iter_mut().find(|(known, _)| *known == name);
                member.map(|(_, node)| node)
            }
            Self::List(items) => items.get_mut(step.parse::<usize>().ok()?),
            Self::Text(_) | Self::Place { .. } => None,
        }
    }

    /// What is to be written, if anything.
    fn text<'a>(&'a self, values: &'a [Option<Cow<'_, str>>]) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Place { field, default } => {
                let sent = values.get(*field).and_then(Option::as_deref);
                sent.or(default.as_deref())
            }
            Self::Object(_) | Self::List(_) => None,
        }
    }

    fn write(&self, values: &[Option<Cow<'_, str>>], out: &mut Vec<u8>) {
        match self {
            Self::Object(members) => write_object(members, values, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(values, out);
                }
                out.push(b']');
            }
            Self::Text(_) | Self::Place { .. } => {
                let text = self.text(values).unwrap_or("null");
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn write_object(members: &[(String, Node)], values: &[Option<Cow<'_, str>>], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut is_first = true;
    for (name, node) in members {
        if matches!(node, Node::Place { .. }) && node.text(values).is_none() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        node.write(values, out);
    }
    out.push(b'}');
}

impl Field {
    fn no_place(&self, at: &[String]) -> BadTemplate {
        BadTemplate::NoPlace {
            field: self.name.clone(),
            at: at.iter().flat_map(|step| ["/", step]).collect(),
        }
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

#[cfg(test)]
mod tests;
